"""A folder of run records: which runs it holds, and why the others cannot be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from transfer_utils.errors import UserError
from transfer_utils.records.record import RECORD_NAME, RunRecord, read_record
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.utils.files import why_no_folder
from transfer_utils.utils.text import without_surrogates

MAX_FOLDER_DEPTH = 3  # runs/<study>/<run>/run.json


@dataclass
class Run:
    """A run record and the file it was read from."""

    record: RunRecord
    path: Path

    @property
    def has_folder(self) -> bool:
        """Whether the run has a folder of its own; a log of other software is a single file beside others."""
        return self.path.name == RECORD_NAME

    @property
    def name(self) -> str:
        """The name of the run's folder, or of the file if it is not called ``run.json``."""
        return without_surrogates(self.path.parent.name if self.has_folder else self.path.stem)

    @property
    def folder(self) -> Path:
        """The folder that contains the record."""
        return self.path.parent


@dataclass
class Listing:
    """The runs of a folder, sorted by path, and the reason for each file that could not be read."""

    runs: list[Run] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def left_out(self) -> list[str]:
        """Return a sentence for each file that could not be read."""
        return [f"{path} cannot be read ({why}) and does not count." for path, why in sorted(self.unreadable.items())]


def check_folder(folder: Path) -> None:
    """Refuse a path that is not a folder of run records.

    Raises:
        UserError: it is a file, or does not exist.
    """
    if problem := why_no_folder(folder):
        raise UserError(f"runs must be a folder of run records, got {str(folder)!r}, which {problem}.")


def load_runs(folder: str | os.PathLike, read: Callable[[Path], RunRecord] | None = None) -> Listing:
    """Read every record under ``folder``: ``run.json`` up to three folders down, and ``*.json`` logs at the top level.

    Links that lead out of ``folder`` and files that are not regular (pipes, devices) are listed as unreadable and never
    opened. A file that vanishes during reading is skipped, and so is a copy of a ``run.json`` at the top level.

    Args:
        read: reads one record; by default ``read_stable``. It may raise ``UnreadableRecord`` or ``OSError``.
    """
    root, listing, read = Path(folder), Listing(), read or read_stable
    for path in record_paths(root, listing.unreadable):
        try:
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root.resolve()):
                raise UnreadableRecord("a link that leads out of the runs folder")
            listing.runs.append(Run(read(path), path))
        except FileNotFoundError:
            continue
        except UnreadableRecord as error:
            listing.unreadable[path] = str(error)
        except OSError as error:
            listing.unreadable[path] = error.strerror or type(error).__name__  # its text would name the whole path
    below = {_id(run) for run in listing.runs if run.folder != root}
    with_folder = {_id(run) for run in listing.runs if run.has_folder}

    def is_copy(run: Run) -> bool:
        # At the top level even a run.json may be a copy, that of a run below it.
        return run.folder == root and (_id(run) in below or (not run.has_folder and _id(run) in with_folder))

    listing.runs = [run for run in listing.runs if not is_copy(run)]
    return listing


def record_paths(root: Path, unreadable: dict[Path, str]) -> list[Path]:
    """List the candidate files below ``root``, without following links, and note folders that cannot be listed."""
    paths, errors = [], []
    for name, subfolders, files in os.walk(root, onerror=errors.append):
        folder = Path(name)
        depth = len(folder.relative_to(root).parts)
        subfolders[:] = [sub for sub in subfolders if not sub.startswith(".") and depth < MAX_FOLDER_DEPTH]
        paths += [folder / file for file in files if file == RECORD_NAME or (depth == 0 and file.endswith(".json"))]
    errors = [error for error in errors if not isinstance(error, FileNotFoundError)]
    unreadable |= {Path(error.filename): error.strerror or type(error).__name__ for error in errors}
    return sorted(paths)


def _id(run: Run) -> tuple[str, str]:
    # Numbers alone are the same in every folder of runs. A run without one is known by its path.
    return (run.record.run_id, run.record.created) if run.record.run_id else ("", str(run.path))


def read_stable(path: Path) -> RunRecord:
    """Read a record that another process may be rewriting in place: retry twice before reporting it as unreadable."""
    for _ in range(2):
        before = path.stat()
        try:
            return read_record(path)
        except UnreadableRecord:
            if time.time() - before.st_mtime >= 1 and path.stat().st_mtime_ns == before.st_mtime_ns:
                raise
            time.sleep(0.05)
    return read_record(path)
