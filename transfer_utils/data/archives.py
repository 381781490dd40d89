"""Read the pictures of an uploaded zip file without writing anything by a name that the file gives."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from transfer_utils.data.image_folder import has_picture_suffix, is_hidden
from transfer_utils.errors import UserError
from transfer_utils.utils.text import as_text, format_bytes

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that any system writes; LZMA may ask for gigabytes

# The record at the end of a zip file (PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.15 and 4.3.16).
END, END_BYTES, LOCATOR, LOCATOR_BYTES, MAX_COMMENT = b"PK\5\6", 22, b"PK\6\7", 20, 65_535
UTF8_FLAG = 1 << 11  # of a member whose name is UTF-8 (section 4.4.4)
MAX_DIRECTORY_BYTES = 4 << 20  # of the list of members, which zipfile reads as a whole


class Member(NamedTuple):
    """A picture of an archive: the name of the innermost folder (empty at the top), its own name, and its content."""

    folder: str
    name: str
    content: bytes


def is_archive(path: Path) -> bool:
    """Return whether a file begins like a zip file."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\3\4", END)


def read_archive(
    path: Path, name: str, max_files: int, max_file_bytes: int, max_bytes: int
) -> tuple[list[str], Iterator[Member | str]]:
    """Check a zip file, and read its files one after the other. Hidden files and those of the system are left out.

    Args:
        name: of the archive, for messages.
        max_files: members of the archive that are not hidden.
        max_file_bytes, max_bytes: the unpacked size of one file, and of all.

    Returns:
        The names of the innermost folders of all pictures, sorted (empty for those at the top); and an iterator over
        the files, or a sentence for each that cannot be read or is too large.

    Raises:
        UserError: it is damaged or encrypted, exceeds ``max_files`` or ``max_bytes``, or holds a link, another archive,
            or a path that leads out of it.
    """
    name = as_text(name)
    _check_directory(path, name)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise UserError(f"{name} is damaged: {as_text(str(error))}.") from None
    # A damaged entry may have no name, which is_dir of Python 3.11 does not expect and no message could show.
    members = [member for member in archive.infolist() if member.filename and not member.is_dir()]
    for member in members:
        if not member.flag_bits & UTF8_FLAG:  # macOS writes UTF-8 without the flag, and zipfile reads it as cp437
            with suppress(UnicodeError):
                member.filename = member.filename.encode("cp437").decode()
    # macOS adds a hidden file for each picture, so these do not count.
    members = [member for member in members if not any(map(is_hidden, _parts(member, name)))]
    if len(members) > max_files:
        raise UserError(f"{name} holds {len(members):,} files; the limit is {max_files:,}. Nothing was kept.")
    for member in members:
        _check_member(member, name)
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        limit = format_bytes(max_bytes)
        raise UserError(f"{name} unpacks to {format_bytes(total)}; the limit is {limit}. Nothing was kept.")
    folders = {path.parent.name for path in map(_path, members) if has_picture_suffix(path.name)}
    return sorted(folders), _members(archive, members, max_file_bytes)


def _members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], limit: int) -> Iterator[Member | str]:
    with archive:
        for member in members:
            yield _read(archive, member, limit)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> Member | str:
    path, shown = _path(member), as_text(member.filename)
    if member.file_size > limit:
        return f"{shown}: {format_bytes(member.file_size)}; the limit for a picture is {format_bytes(limit)}."
    try:
        with archive.open(member) as file:
            content = file.read(limit)  # no more, whatever is declared
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        return f"{shown}: damaged in the archive ({as_text(str(error))})."
    return Member(path.parent.name, path.name, content)


def _check_directory(path: Path, name: str) -> None:
    """Refuse a zip file whose list of members is huge, which zipfile would read into memory.

    The record at the end is found as zipfile finds it: at the very end, else before a comment.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES - MAX_COMMENT - LOCATOR_BYTES))
        tail = file.read()
    start = len(tail) - END_BYTES
    if tail[start : start + 4] != END or tail[-2:] != b"\0\0":
        start = tail.rfind(END)
    end = tail[start : start + END_BYTES] if start >= 0 else b""
    if len(end) < END_BYTES:
        raise UserError(f"{name} is damaged: it does not end like a zip file.")
    if tail[max(0, start - LOCATOR_BYTES) : start].startswith(LOCATOR):
        raise UserError(f"{name} is in the ZIP64 format, which is not supported: pack fewer files into it.")
    listed = int.from_bytes(end[12:16], "little")
    if listed > MAX_DIRECTORY_BYTES:
        raise UserError(f"{name} holds too many files: their list alone has {format_bytes(listed)}.")


def _path(member: zipfile.ZipInfo) -> PureWindowsPath:
    return PureWindowsPath(member.filename)  # which knows both separators, and drives


def _parts(member: zipfile.ZipInfo, name: str) -> tuple[bytes, ...]:
    """Return the folders and the name of a member; refuse one that leads out of the archive."""
    path = _path(member)
    if path.anchor or ".." in path.parts:
        raise UserError(f"{name} holds a path that leads out of it, {as_text(member.filename)}. Nothing was kept.")
    return tuple(os.fsencode(part) for part in path.parts)


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    shown = as_text(member.filename)
    kind = member.external_attr >> 16
    if stat.S_IFMT(kind) not in (0, stat.S_IFREG):
        raise UserError(f"{name} holds {shown}, a link and not a file. Nothing was kept.")
    if member.filename.lower().endswith(ARCHIVES):
        raise UserError(f"{name} holds another archive, {shown}: unpack it first. Nothing was kept.")
    if member.flag_bits & 1:
        raise UserError(f"{name} is encrypted: pack it without a password.")
    if member.compress_type not in METHODS:
        raise UserError(f"{name} is compressed by a method that is not supported: create it with your system's tool.")
