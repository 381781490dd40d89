"""Read the runs folder: each record once, and again only when its file has changed."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transfer_utils.records.folder import load_runs, read_stable, record_paths
from transfer_utils.records.record import RunRecord
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.results.table import Row, make_rows
from transfer_utils.utils.files import is_locked

Stamp = tuple[tuple[str, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Return path, modification time in nanoseconds and size in bytes of every file that ``load_runs`` would read.

    Opens no file, and takes milliseconds for hundreds of runs. Equal stamps mean that no file has changed.
    """
    entries = []
    for path in record_paths(folder, {}):
        try:
            status = os.lstat(path)
        except OSError:  # deleted since it was listed, or in a folder without search permission
            continue
        entries.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(entries)


@dataclass(eq=False)
class View:
    """The data of every page: the runs of a folder as rows, and the unreadable files with the reason.

    A view never changes, so pages cache in it what they compute from it. A later view takes over these results if only
    runs in progress have changed.
    """

    folder: Path
    rows: list[Row]
    unreadable: dict[Path, str]
    stamp: Stamp = ()
    cache: dict[Hashable, Any] = field(default_factory=dict)

    def cached(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return the result of ``compute``, which is called once for this key; it must use finished runs only."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def named(self, names: Iterable[str]) -> list[Row]:
        """Return the rows with these names, in the order of the names; names without a row are skipped."""
        rows = {row.name: row for row in self.rows}
        return [rows[name] for name in names if name in rows]


def read(folder: Path) -> View:
    """Return the view of a folder as it is now. Only records of changed files are read."""
    return _Reader(folder).view(stamp(folder))


def is_outdated(view: View) -> bool:
    """Return whether a file has changed since the view was made, or the process of a run has ended."""
    return stamp(view.folder) != view.stamp or _Reader(view.folder).has_stopped(view)


@functools.lru_cache(maxsize=4)
class _Reader:
    """The records of a folder, kept in memory until their files change; the sessions of all readers share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._view: View | None = None
        self._records: dict[str, tuple[tuple[int, int], RunRecord | UnreadableRecord]] = {}
        self._free: dict[Path, tuple[int, int]] = {}  # running by their records, but the lock of this file was free

    def view(self, version: Stamp) -> View:
        with self._lock:
            before = self._view
            if before and before.stamp == version and not self.has_stopped(before):
                return before
            files = {path: (modified, size) for path, modified, size in version}
            listing = load_runs(self._folder, functools.partial(self._read, files))
            self._records = {path: known for path, known in self._records.items() if path in files}
            known = {row.name: row for row in before.rows} if before else {}
            rows = [self._with_liveness(row, files) for row in make_rows(listing, self._folder, known)]
            cache = before.cache if before and _same_results(before.rows, rows) else {}
            self._view = View(self._folder, rows, listing.unreadable, version, cache)
            return self._view

    def has_stopped(self, view: View) -> bool:
        """Return whether a run of the view that was in progress no longer is."""
        return any(row.status == "running" and _lock_is_free(row) for row in view.rows)

    def _read(self, files: dict[str, tuple[int, int]], path: Path) -> RunRecord:
        key, state = str(path), files.get(str(path))
        known = self._records.get(key)
        if state is None or known is None or known[0] != state:
            try:
                record: RunRecord | UnreadableRecord = read_stable(path)
            except UnreadableRecord as error:
                record = error
            known = self._records[key] = (state or (0, 0), record)
        if isinstance(known[1], UnreadableRecord):
            raise known[1]
        return known[1]

    def _with_liveness(self, row: Row, files: dict[str, tuple[int, int]]) -> Row:
        """Return the row, marked as stopped if its run is in progress by its record and no process holds its lock.

        The lock of a stopped run is not tested again before its record changes: a test takes the lock for an instant,
        in which the command that resumes the run would not get it.
        """
        if row.record.status != "running":
            return row
        path, state = row.run.path, files.get(str(row.run.path), (0, 0))
        is_live = self._free.get(path) != state and not _lock_is_free(row)
        if not is_live:
            self._free[path] = state
        return row if row.is_live == is_live else replace(row, is_live=is_live)


def _lock_is_free(row: Row) -> bool:
    """Return whether no process works on a run; False for a log, which has no lock beside it."""
    return row.run.has_folder and not is_locked(row.run.path)


def newest_first(rows: Iterable[Row]) -> list[Row]:
    """Return rows by run number, the highest first: run numbers increase, while the clock may have been set back."""
    return sorted(rows, key=lambda row: row.record.run_id, reverse=True)


def file_beside(row: Row, name: str) -> Path | None:
    """Return a file in the folder of a run; None if there is none, or if the name or a link leads out of the folder."""
    path = row.run.folder / name
    # os.path.isfile accepts whatever a record says; Path.is_file may raise.
    return path if os.path.isfile(path) and path.resolve().is_relative_to(row.run.folder.resolve()) else None


def _same_results(before: list[Row], after: list[Row]) -> bool:
    """Return whether two lists of rows differ at most in runs that are in progress and have no results yet."""
    return len(before) == len(after) and all(
        old is new or (old.name == new.name and _in_progress(old) and _in_progress(new))
        for old, new in zip(before, after, strict=True)
    )


def _in_progress(row: Row) -> bool:
    return row.status == "running" and row.metric("val_end2end") is None
