import errno
import os
from pathlib import Path

import pytest

from tests.pictures import new_collection, picture
from transfer_utils.errors import UserError
from transfer_utils.teach.collection import (
    BESIDE,
    MAX_ARCHIVE_BYTES,
    check_upload,
    checked_name,
    collections,
    create_collection,
)


@pytest.mark.fault(24, 39)
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "needs a name"),
        (" . ", "needs a name"),
        ("\u200d \u200d", "needs a name"),
        ("x" * 300, "at most 60 characters, got 300"),
        ("漢" * 60 + "字" * 7, "at most 60 characters, got 67"),
        ("🐕" * 55, "at most 200 bytes in UTF-8, got 220"),
        ("../etc", "must not begin with"),
        ("..\\etc", "must not begin with"),
        ("a/b", "must not begin with"),
        ("/etc", "must not begin with"),
        ("C:x", "must not begin with"),
        (".teach", "must not begin with"),
        ("__MACOSX", "must not begin with"),
        ("a\0b", "must not begin with"),
        ("a\nb", "must not begin with"),
        ("\u202ecup", "must not begin with"),
        ("nul", "Windows keeps this name"),
        ("Com1.txt", "Windows keeps this name"),
    ],
)
def test_a_name_that_cannot_be_that_of_a_folder_is_refused(tmp_path, name, problem):
    for create in (lambda: create_collection(tmp_path, name), lambda: new_collection(tmp_path, (name,))):
        with pytest.raises(UserError, match=problem):
            create()
    assert not (tmp_path / "teach").exists() or os.listdir(tmp_path / "teach") == []


def test_a_classifier_whose_folder_cannot_be_filled_leaves_nothing_behind(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def full(self, *args, **options):
        if self.name == BESIDE:
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(OSError, match="No space left"):
            create_collection(tmp_path, "kitchen")
    assert create_collection(tmp_path, "kitchen").classes() == {}


def test_names_in_any_script_are_taken_without_the_spaces_around_them():
    assert checked_name("  Tasse groß ", "class") == "Tasse groß"
    for name in ("茶碗", "می\u200cخواند", "👩\u200d🏫"):  # joiners belong to words and emoji
        assert checked_name(name, "class") == name
    for name in ("cat .", "cat. .", "cat\u200d", "\u200d cat"):
        assert checked_name(name, "class") == "cat"
    assert checked_name("e\u0301", "class") == "\u00e9", "both spellings are one folder"


def test_a_class_is_added_once_and_there_are_at_most_ten(tmp_path):
    collection = new_collection(tmp_path, ("cup", "plate"))
    with pytest.raises(UserError, match="There is a class 'CUP' already"):
        collection.add_class("CUP")
    with pytest.raises(UserError, match="There is a class"):
        collection.add_class("c\u200dup")
    for number in range(8):
        collection.add_class(f"class {number}")
    with pytest.raises(UserError, match="at most 10 classes"):
        collection.add_class("one more")
    with pytest.raises(UserError, match="There is a classifier 'kitchen' already"):
        create_collection(tmp_path, "kitchen")


def test_what_is_missing_before_training_is_named(tmp_path):
    assert "at least 2 classes" in new_collection(tmp_path / "one", ("cup",)).missing()
    assert new_collection(tmp_path / "enough", n=5).missing() == ""


@pytest.mark.fault(25, 39)
def test_links_are_neither_classes_nor_pictures_nor_collections(tmp_path):
    collection = new_collection(tmp_path, n=1)
    outside = tmp_path / "outside"
    outside.mkdir()
    name = "0" * 24 + ".png"
    (outside / name).write_bytes(picture())
    (collection.folder / "linked").symlink_to(outside)
    (collection.folder / "cup" / name).symlink_to(outside / name)
    (collection.folder / "cup" / "run.json").write_text("{}")
    (tmp_path / "teach" / "elsewhere").symlink_to(outside)
    assert [(name, len(pictures)) for name, pictures in collection.classes().items()] == [("cup", 1), ("plate", 1)]
    assert collections(tmp_path) == ["kitchen"]
    collection.remove("cup", name)
    collection.remove("linked", name)
    collection.remove_class("linked")
    assert (outside / name).exists(), "nothing outside is removed"
    [kept] = collection.classes()["plate"]
    collection.thumbnail_path(kept).unlink()
    collection.thumbnail_path(kept).symlink_to(outside / name)
    assert collection.read_thumbnail(kept) == b""
    other = tmp_path / "other"
    other.mkdir()
    (other / "teach").symlink_to(outside)
    assert collections(other) == []
    with pytest.raises(UserError, match="is a link"):
        create_collection(other, "new")


def test_a_picture_and_a_class_can_be_removed(tmp_path):
    collection = new_collection(tmp_path, n=2)
    before, [first, second] = collection.digest(), collection.classes()["cup"]
    newest, at = collection.newest("cup"), (collection.folder / "cup").stat().st_mtime
    assert sorted(newest) == [first, second]
    os.utime(collection.folder / "cup" / newest[1], (at + 9, at + 9))
    assert collection.newest("cup") == newest[::-1]
    assert collection.read_thumbnail(first).startswith(b"\xff\xd8")
    collection.remove("cup", first)
    assert collection.classes()["cup"] == [second] and collection.read_thumbnail(first) == b""
    assert collection.digest() != before
    collection.remove_class("cup")
    assert list(collection.classes()) == ["plate"] and len(list((collection.beside / "thumbnails").iterdir())) == 2


def test_a_class_that_is_removed_meanwhile_has_no_pictures(tmp_path, monkeypatch):
    collection = new_collection(tmp_path, n=1)
    real, scanned = os.scandir, []

    def scandir(folder):
        if scanned:  # after the list of classes
            (collection.folder / "cup").rename(tmp_path / "removed")
            scanned.clear()
        scanned.append(folder)
        return real(folder)

    monkeypatch.setattr("transfer_utils.teach.collection.os.scandir", scandir)
    assert collection.classes()["cup"] == []


@pytest.mark.fault(39)
def test_an_upload_of_too_many_or_too_large_files_is_refused():
    check_upload([1] * 2000)
    with pytest.raises(UserError, match="at most 2,000 files, got 10,000"):
        check_upload([1] * 10_000)
    for sizes in ([MAX_ARCHIVE_BYTES + 1], [MAX_ARCHIVE_BYTES] * 11):
        with pytest.raises(UserError, match=r"at most 200\.0 MB for one file and 2\.0 GB for all"):
            check_upload(sizes)


@pytest.mark.fault(33)
def test_damaged_original_names_count_as_none(tmp_path):
    collection = new_collection(tmp_path, n=1)
    assert sorted(collection.original_names().values()) == ["0.png", "0.png"]
    for content in (b"", b"[1]", b'"a"', b"\xff"):
        collection.names.write_bytes(content)
        assert collection.original_names() == {}
