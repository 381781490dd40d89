import re
import stat
import zipfile
from pathlib import Path

import pytest

from tests.memory import memory_below
from tests.pictures import picture, zipped
from transfer_utils.data import archives
from transfer_utils.data.archives import Member, is_archive, read_archive
from transfer_utils.errors import UserError

LIMITS = {"max_files": 100, "max_file_bytes": 10_000, "max_bytes": 50_000}


def opened(content: bytes):
    """Write a zip file and read it: its folders, and the iterator over its files."""
    path = Path("a.zip")
    path.write_bytes(content)
    return read_archive(path, path.name, **LIMITS)


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def encrypted() -> bytes:
    content = bytearray(zipped({"a.png": b"x"}))
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + place] |= 1
    return bytes(content)


def with_locator() -> bytes:
    content = zipped({"a.png": b"x"})
    end = content.rindex(b"PK\5\6")
    return content[:end] + b"PK\6\7" + bytes(16) + content[end:]


HOSTILE = {
    "parent": (zipped({"../../evil.png": b"x"}), "leads out of it, ../../evil.png"),
    "inside": (zipped({"cup/../../evil.png": b"x"}), "leads out of it"),
    "backslash": (zipped({"..\\evil.png": b"x"}), "leads out of it"),
    "absolute": (zipped({"/etc/evil.png": b"x"}), "leads out of it"),
    "drive": (zipped({"C:evil.png": b"x"}), "leads out of it"),
    "link": (zipped({link("cup/a.png"): b"/etc/passwd"}), "cup/a.png, a link and not a file"),
    "nested": (zipped({"cup/inner.zip": zipped({"a.png": b"x"})}), "another archive, cup/inner.zip: unpack it first"),
    "encrypted": (encrypted(), "is encrypted"),
    "lzma": (zipped({"a.png": b"x"}, zipfile.ZIP_LZMA), "compressed by a method that is not supported"),
    "many": (zipped({f"{i}.png": b"" for i in range(101)}), "holds 101 files; the limit is 100"),
    "directory": (zipped({f"{i}{'x' * 65_000}": b"" for i in range(70)}), "their list alone has 4.6 MB"),
    "large": (zipped({f"{i}.png": bytes(9000) for i in range(6)}), "unpacks to 54.0 kB; the limit is 50.0 kB"),
    "64-bit": (with_locator(), "in the ZIP64 format"),
    "cut": (zipped({"a.png": picture()})[:-30], "is damaged: it does not end like a zip file"),
    "nonsense": (b"PK\3\4" + bytes(100), "is damaged"),
    "end": (zipped({"a.png": b"x"})[-22:], "is damaged"),
}


@pytest.mark.fault(12, 39)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_zip_file_is_refused_before_anything_is_read(name, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a member was read"))
    content, problem = HOSTILE[name]
    with pytest.raises(UserError, match=problem):
        opened(content)


@pytest.mark.fault(39)
def test_a_long_list_of_members_is_never_read_into_memory(monkeypatch):
    commented = zipped({"a.png": b"x"})[:-2] + b"\4\0abcd"
    assert opened(commented)[0] == [""]
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(UserError, match="list alone"):
        opened(HOSTILE["directory"][0])
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 40)
    with pytest.raises(UserError, match="list alone"):
        opened(commented)


@pytest.mark.fault(39)
def test_no_more_is_unpacked_than_the_limit_whatever_a_member_declares():
    bomb = zipped({"cup/a.png": bytes(20_000), "cup/b.png": b"good"})
    refused, good = opened(bomb)[1]
    assert refused == "cup/a.png: 20.0 kB; the limit for a picture is 10.0 kB."
    assert good == Member("cup", "b.png", b"good")
    lying = bytearray(zipped({"cup/a.png": bytes(20_000_000), "cup/b.png": b"good"}))
    for mark, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = lying.index(mark) + place
        lying[at : at + 4] = (100).to_bytes(4, "little")
    with memory_below(1e6):
        refused, good = opened(bytes(lying))[1]
    assert refused.startswith("cup/a.png: damaged in the archive") and good.content == b"good"


def test_a_member_whose_name_is_damaged_in_one_of_its_two_places_is_named_and_the_others_are_read():
    content = bytearray(zipped({"tasse/größe.png": b"x", "tasse/b.png": b"good"}))
    content[content.index("ö".encode())] = 0xFF
    refused, good = opened(bytes(content))[1]
    assert refused.startswith("tasse/größe.png: damaged in the archive") and good.content == b"good"


def test_folders_are_named_and_files_of_the_system_are_left_out():
    names = [
        "my/cup/12:30.png",
        "my/plate/b.png",
        "__MACOSX/my/cup/._a.png",
        "my/.DS_Store",
        "my/cup/Thumbs.db",
        "top.png",
    ]
    folders, files = opened(zipped(dict.fromkeys(names, b"x")))
    assert folders == ["", "cup", "plate"]
    assert [f"{file.folder}/{file.name}" for file in files] == ["cup/12:30.png", "plate/b.png", "/top.png"]


def test_names_in_utf_8_are_read_even_without_the_flag_that_says_so():
    content = zipped(dict.fromkeys(("Vögel/ü.png", "cup/b.png"), b"x"))
    unflagged = bytearray(content)
    for mark, place in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        for found in re.finditer(re.escape(mark), content):
            unflagged[found.start() + place] &= ~8
    assert unflagged != content
    for each in (content, bytes(unflagged)):
        folders, files = opened(each)
        assert folders == ["Vögel", "cup"]
        assert [(file.name, file.content) for file in files] == [("ü.png", b"x"), ("b.png", b"x")]


def test_a_file_is_known_as_an_archive_by_its_first_bytes(tmp_path):
    for content, expected in ((zipped({}), True), (zipped({"a": b""}), True), (picture(), False), (b"", False)):
        (tmp_path / "a").write_bytes(content)
        assert is_archive(tmp_path / "a") is expected


def test_hidden_files_do_not_count_and_only_folders_with_pictures_are_named():
    pictures = {f"cup/{i}.png": b"" for i in range(60)}
    hidden = {f"__MACOSX/cup/._{i}.png": b"" for i in range(60)}
    others = {"README.txt": b"about", "docs/license.txt": b"mine", "plate/a.heic": b""}
    folders, members = opened(zipped(pictures | hidden | others))
    assert folders == ["cup", "plate"]
    assert len(list(members)) == 63
