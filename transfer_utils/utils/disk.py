"""Full and read-only disks: try the places that will be written to, measure them, say in a sentence what is wrong."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from transfer_utils.errors import UserError
from transfer_utils.utils.files import nearest_existing
from transfer_utils.utils.text import format_bytes, printable

# EFBIG: the limit of the process on the size of its files.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)

TRIED_BYTES = 1 << 20  # a run needs more than this, but a disk that is full has less


def check_writable(option: str, folder: str | os.PathLike) -> None:
    """Write a megabyte into ``folder``, or into the folder in which it would be created, and leave nothing there.

    Raises:
        UserError: the disk is full or read-only, or the folder belongs to somebody else; the message names ``option``.
    """
    path = Path(os.path.abspath(folder))
    existing = nearest_existing(path) or path  # on a drive that is not there, the attempt says so
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(TRIED_BYTES))
    except OSError as error:
        reason, advice = (error.strerror or str(error)).lower(), "Choose"
        if error.errno in FULL:
            reason = f"the disk is full: {_room(existing)}, and at least {format_bytes(TRIED_BYTES)} are needed"
            advice = "Free some space there, or choose"
        place = printable(str(path))
        raise UserError(f"{option} cannot be in {place}: {reason}. {advice} another folder with --{option}.") from None


def check_disk(folder: Path, needed: int, advice: str, reserve: int = 0, what: str = "The cache") -> None:
    """Check that ``needed`` bytes fit on the disk of ``folder``, which is created if necessary.

    Raises:
        UserError: they would leave less than ``reserve`` bytes free; the message ends with ``advice``.
    """
    free = free_bytes(folder)
    if needed > free - reserve:
        reserved = f", of which {format_bytes(reserve)} are kept in reserve" if reserve else ""
        raise UserError(
            f"{what} in {folder} needs {format_bytes(needed)} more, but only {format_bytes(free)} are free"
            f"{reserved}. {advice}"
        )


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of ``folder``, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


def as_sentence(error: UserError | OSError) -> str:
    """Return what was wrong with a change of files, for a page, which shows it instead of ending."""
    if isinstance(error, UserError):
        return str(error)
    return explain(error) or f"The files could not be changed: {error.strerror}."


def explain(error: OSError) -> str:
    """Return a sentence about a file that could not be written, and what to do; empty for any other error."""
    # HDF5 reports a full disk in its own words.
    full = error.errno in FULL or "No space left on device" in str(error)
    if not full and error.errno not in REFUSED:
        return ""
    if not error.filename:
        place, room = "A file", ""
    else:
        path = Path(os.path.abspath(os.fsdecode(error.filename)))
        folder = nearest_existing(path.parent)
        place, room = printable(str(path)), f": {_room(folder)} in {printable(str(folder))}" if folder else ""
    if not full:
        return f"{place}: {error.strerror}. Change who may use it, or choose another place."
    needed = f", and {format_bytes(error.needed)} are needed" if getattr(error, "needed", 0) else ""
    return (
        f"{place} could not be written, because the disk is full{room}{needed}. Free some space, or choose a folder on "
        "another disk; then run the same command again to continue."
    )


def _room(folder: Path) -> str:
    return f"{format_bytes(shutil.disk_usage(folder).free)} are free"
