"""The runs folder, read again only when a file in it changed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transfer_utils.records import MAX_FOLDER_DEPTH, load_runs
from transfer_utils.results.table import Row, make_rows

RUNS_VARIABLE = "TRANSFER_UTILS_RUNS"
DEFAULT_RUNS = "runs"

Stamp = tuple[tuple[str, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Return path, time of change in nanoseconds and size in bytes of every JSON file below ``folder``, opening none.

    Two equal stamps mean that nothing needs to be read again. It takes milliseconds for hundreds of runs.
    """
    seen = []
    for here, names, files in os.walk(folder):
        deepest = len(Path(here).relative_to(folder).parts) == MAX_FOLDER_DEPTH
        names[:] = [] if deepest else sorted(name for name in names if not name.startswith("."))
        for path in (os.path.join(here, name) for name in sorted(files) if name.endswith(".json")):
            try:
                status = os.lstat(path)
            except OSError:  # vanished since it was listed, or in a folder that only lists its files
                continue
            seen.append((path, status.st_mtime_ns, status.st_size))
    return tuple(seen)


@dataclass(eq=False)
class View:
    """What every page draws from: the runs of a folder as rows, and the files that could not be read.

    The same view means the same files, so that what a page works out from it can be kept with it, in ``kept``.
    """

    folder: Path
    rows: list[Row]
    unreadable: dict[Path, str]
    kept: dict[Hashable, Any] = field(default_factory=dict)

    def keep(self, name: Hashable, work_out: Callable[[], Any]) -> Any:
        """Return what ``work_out`` gives, worked out once for this view."""
        if name not in self.kept:
            self.kept[name] = work_out()
        return self.kept[name]

    def named(self, names: Iterable[str]) -> list[Row]:
        """Return the rows of these names that are there, in the order of the names."""
        rows = {row.name: row for row in self.rows}
        return [rows[name] for name in names if name in rows]


@functools.lru_cache(maxsize=4)
def read(folder: Path, seen: Stamp) -> View:
    """Return the view of an absolute ``folder`` as of the stamp ``seen``; the same stamp reads nothing again."""
    listing = load_runs(folder)
    return View(folder, make_rows(listing, folder), listing.unreadable)
