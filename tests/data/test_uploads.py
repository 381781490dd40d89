import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import bomb, new_collection, picture, uploaded, zipped
from transfer_utils.data import uploads
from transfer_utils.data.image_folder import list_image_folder
from transfer_utils.data.images import decode_image
from transfer_utils.data.uploads import take_upload
from transfer_utils.errors import UserError
from transfer_utils.teach.messages import Receipt, Upload, read_model, write_model
from transfer_utils.utils import files


@pytest.fixture
def collection(tmp_path):
    return new_collection(tmp_path / "runs")


def around(folder: Path, *without: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, except below some others."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not any(w in path.parents for w in without)]
    return {str(path): path.read_bytes() for path in paths}


def test_pictures_are_kept_as_they_are_under_names_from_their_content(collection):
    files = {"my cup.JPG": picture(form="JPEG"), "Tasse ß.png": picture(number=1)}
    files["x.webp"] = picture(number=2, form="WEBP")
    folder = uploaded(collection, "cup", files)
    receipt = take_upload(folder)
    assert receipt == Receipt(added={"cup": 3}) == read_model(folder / "receipt.json", Receipt)
    kept = collection.classes()["cup"]
    for name, content in files.items():
        stored = hashlib.sha256(content).hexdigest()[:24] + Path(name).suffix.lower()
        assert stored in kept and (collection.folder / "cup" / stored).read_bytes() == content
        assert collection.original_names()[stored] == name
        with Image.open(collection.thumbnail_path(stored)) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (160, 160))
            difference = np.asarray(thumbnail, int) - decode_image(content, 160)
            assert np.abs(difference).mean() < 12
    take_upload(uploaded(collection, "plate", {"a.png": picture("plate")}))
    listing = list_image_folder(collection.folder)
    assert listing.class_names == ["cup", "plate"] and listing.notes == []
    assert listing.splits["train"].counts.tolist() == [3, 1]


def test_the_name_of_a_picture_goes_with_it_also_if_it_is_removed_during_an_upload(collection, monkeypatch):
    names = {"cup": ("a.png", "b.png"), "plate": ("c.png",)}
    for number, (class_name, (first, *others)) in enumerate(names.items()):
        files = {name: picture(number=10 * number + at) for at, name in enumerate((first, *others))}
        take_upload(uploaded(collection, class_name, files))
    stored = {name: key for key, name in collection.original_names().items()}
    collection.remove("cup", stored["a.png"])
    assert sorted(collection.original_names().values()) == ["b.png", "c.png"]
    collection.remove_class("plate")
    assert list(collection.original_names().values()) == ["b.png"]
    keep, removed = uploads._thumbnail, []

    def remove(content, name):
        removed.append(collection.remove("cup", stored["b.png"]))
        return keep(content, name)

    monkeypatch.setattr(uploads, "_thumbnail", remove)
    take_upload(uploaded(collection, "cup", {"d.png": picture(number=30)}))
    assert removed and list(collection.original_names().values()) == ["d.png"]


REFUSED = {
    "icon.png": (picture(form="ICO"), "not a picture that can be read"),
    "text.png": (b"no picture", "not a picture that can be read"),
    "empty.png": (b"", "the file is empty"),
    "cut.png": (picture()[:-400], "cut.png: "),
    "bomb.png": (bomb(), "60000 x 60000 pixels; the limit is 64 million"),
    "program.exe": (picture(), "not a picture that can be read, such as JPEG"),
    "page.svg": (b"<svg onload='alert(1)'/>", "not a picture that can be read, such as JPEG"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0", "not a picture that can be read"),
    "no extension": (picture(), "not a picture that can be read, such as JPEG"),
    "phone.HEIC": (b"\0\0\0\x18ftypheic", "convert them to JPEG first"),
    "x" * 296 + ".png": (picture(), "a name of 300 characters; the limit is 200"),
    "large.png": (picture() + bytes(60_000), "the limit for a picture is 50.0 kB"),
    "inner.zip": (zipped({"a.zip": zipped({})}), "another archive, a.zip"),
    "out.zip": (zipped({"../../../evil.png": picture()}), "leads out of it"),
}


@pytest.mark.fault(20, 39)
@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:12])
def test_a_hostile_file_is_refused_with_a_sentence_and_the_others_are_kept(collection, tmp_path, name, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 50_000)
    before, (content, problem) = around(tmp_path, collection.folder), REFUSED[name]
    receipt = take_upload(uploaded(collection, "cup", {name: content, "good.png": picture(number=7)}))
    [sentence] = receipt.refused
    assert problem in sentence and sentence.startswith(name[:12]) and receipt.added == {"cup": 1}
    assert around(tmp_path, collection.folder) == before, "nothing is written outside of the collection"
    assert len(collection.classes()["cup"]) == len(os.listdir(collection.folder / "cup")) == 1


@pytest.mark.fault(5, 39)
def test_a_full_disk_leaves_the_pictures_before_it_with_their_names(collection, monkeypatch):
    written = []

    def write(path, content):
        if len(written) == 2:  # the first picture and its thumbnail
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        files.write_bytes(path, content)

    monkeypatch.setattr(uploads, "write_bytes", write)
    with pytest.raises(OSError, match="No space left"):
        take_upload(uploaded(collection, "cup", {"a.png": picture(), "b.png": picture(number=1)}))
    assert list(collection.original_names().values()) == ["a.png"]


@pytest.mark.fault(39)
def test_a_zip_file_of_10000_files_is_refused(collection):
    receipt = take_upload(uploaded(collection, "cup", {"a.zip": zipped({f"{i}.png": b"" for i in range(10_000)})}))
    assert receipt.refused == ["a.zip holds 10,000 files; the limit is 2,000. Nothing was kept."]


def test_a_picture_is_kept_once(collection):
    take_upload(uploaded(collection, "cup", {"a.png": picture()}))
    files = {"b.png": picture(), "c.png": picture("plate"), "d.png": picture()}
    receipt = take_upload(uploaded(collection, "plate", files))
    assert receipt.added == {"plate": 1}
    assert receipt.refused == [f"{name}.png: the same picture is in cup already." for name in "bd"]


@pytest.mark.fault(39)
def test_a_full_collection_takes_no_more(collection, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    receipt = take_upload(uploaded(collection, "cup", {f"{i}.png": picture(number=i) for i in range(5)}))
    assert receipt.added == {"cup": 3} and len(receipt.refused) == 2
    assert "the classifier is full; it may have at most 3 pictures" in receipt.refused[0]
    monkeypatch.setattr(uploads, "MAX_FILES", 9)
    monkeypatch.setattr(uploads, "MAX_BYTES", 12_000)
    assert take_upload(uploaded(collection, "plate", {"p.png": picture("plate")})).added == {}


def test_the_folders_of_a_zip_file_become_classes(collection):
    files = {f"my pictures/CUP/{i}.png": picture("cup", i) for i in (1, 2)} | {"my pictures/CUP/notes.txt": b"hi"}
    files |= {f"my pictures/Teller/{i}.png": picture("plate", i) for i in (1, 2)}
    receipt = take_upload(uploaded(collection, "", {"all.zip": zipped(files)}))
    assert receipt.added == {"cup": 2, "Teller": 2}, "an existing class is found in any case of its letters"
    assert receipt.refused == ["notes.txt: not a picture that can be read, such as JPEG, PNG or WebP."]
    assert {name: len(found) for name, found in collection.classes().items()} == {"Teller": 2, "cup": 2, "plate": 0}


def test_what_is_no_picture_neither_prevents_classes_nor_becomes_one(collection):
    files = {"README.txt": b"about", "docs/license.txt": b"mine", "cup/a.png": picture()}
    receipt = take_upload(uploaded(collection, "", {"all.zip": zipped(files)}))
    assert receipt.added == {"cup": 1} and list(collection.classes()) == ["cup", "plate"]
    assert [line.split(":")[0] for line in receipt.refused] == ["README.txt", "license.txt"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.png": b"x", "cup/b.png": b"x"}, "must hold a folder for each class and no picture outside"),
        ({}, "must hold a folder for each class"),
        ({f"class {i}/a.png": b"x" for i in range(9)}, "holds 9 classes; there may be at most 10 in all"),
        ({"a|b/a.png": b"x"}, "name of a class must not"),
    ],
)
def test_a_zip_file_that_cannot_name_the_classes_is_refused(collection, files, problem):
    receipt = take_upload(uploaded(collection, "", {"all.zip": zipped(files), "a.png": picture()}))
    assert problem in receipt.refused[0] and receipt.refused[1] == "a.png is not a zip file."
    assert list(collection.classes()) == ["cup", "plate"] and not receipt.added


@pytest.mark.fault(25, 39)
def test_a_class_that_is_a_link_or_leads_out_is_not_written_to(collection, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (collection.folder / "linked").symlink_to(outside)
    for name in ("linked", "../../outside", "/etc", "gone", ".teach"):
        folder = collection.beside / "upload"
        folder.mkdir(exist_ok=True)
        (folder / "0").write_bytes(picture())
        write_model(folder / "request.json", Upload(class_name=name, names=["a.png"]))
        assert "There is no class" in take_upload(folder).refused[0]
    assert os.listdir(outside) == []


@pytest.mark.fault(39)
def test_a_folder_that_is_no_upload_is_refused(collection, tmp_path):
    write_model(tmp_path / "request.json", Upload(class_name="cup", names=[]))
    (collection.beside / "empty").mkdir()
    for folder in (tmp_path, collection.beside / "empty", Path("/"), tmp_path / "none"):
        with pytest.raises(UserError, match="is not the folder of an upload"):
            take_upload(folder)


def test_a_class_that_was_removed_during_an_upload_does_not_come_back(collection, monkeypatch):
    keep = uploads._thumbnail

    def removing(content, name):
        collection.remove_class("cup")
        return keep(content, name)

    monkeypatch.setattr(uploads, "_thumbnail", removing)
    receipt = take_upload(uploaded(collection, "cup", {"a.png": picture(), "b.png": picture(number=1)}))
    assert receipt.refused == 2 * ["There is no class 'cup' any more."] and list(collection.classes()) == ["plate"]


def test_a_member_without_a_name_does_not_end_an_upload(tmp_path):
    content = bytearray(zipped({"a.png": picture(number=1), "b.png": picture(number=2)}))
    content[content.index(b"PK\1\2") + 46] = 0  # the name of the first member ends before it begins
    collection = new_collection(tmp_path)
    receipt = take_upload(uploaded(collection, "cup", {"odd.zip": bytes(content), "c.png": picture(number=3)}))
    assert receipt.added == {"cup": 2}


def test_a_zip_file_of_which_nothing_is_kept_leaves_no_classes(tmp_path):
    collection = new_collection(tmp_path, ())
    photos = {"cup/1.heic": b"x", "plate/2.heic": b"x", "bowl/3.png": picture("cup", 3)}
    receipt = take_upload(uploaded(collection, "", {"phone.zip": zipped(photos)}))
    assert receipt.added == {"bowl": 1} and list(collection.classes()) == ["bowl"]


def test_a_picture_that_another_window_removes_does_not_end_an_upload(tmp_path, monkeypatch):
    collection = new_collection(tmp_path, n=2)
    listed = collection.classes()
    collection.remove("cup", listed["cup"][0])
    monkeypatch.setattr(type(collection), "classes", lambda self: listed)  # as it was just before
    receipt = take_upload(uploaded(collection, "cup", {"new.png": picture(number=9)}))
    assert receipt.added == {"cup": 1}
