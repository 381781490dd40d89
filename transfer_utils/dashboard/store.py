"""Read the runs folder, and read it again only when a file in it has changed."""

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
    """Return path, modification time in nanoseconds and size in bytes of every JSON file below ``folder``.

    Opens no file, and takes milliseconds for hundreds of runs. Equal stamps mean that no file has changed.
    """
    entries = []
    for here, names, files in os.walk(folder):
        deepest = len(Path(here).relative_to(folder).parts) == MAX_FOLDER_DEPTH
        names[:] = [] if deepest else sorted(name for name in names if not name.startswith("."))
        for path in (os.path.join(here, name) for name in sorted(files) if name.endswith(".json")):
            try:
                status = os.lstat(path)
            except OSError:  # deleted since it was listed, or in a folder without search permission
                continue
            entries.append((path, status.st_mtime_ns, status.st_size))
    return tuple(entries)


@dataclass(eq=False)
class View:
    """The data of every page: the runs of a folder as rows, and the unreadable files with the reason.

    A view never changes, so pages cache in it what they compute from it.
    """

    folder: Path
    rows: list[Row]
    unreadable: dict[Path, str]
    cache: dict[Hashable, Any] = field(default_factory=dict)

    def cached(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return the result of ``compute``, which is called once for this view and key."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def named(self, names: Iterable[str]) -> list[Row]:
        """Return the rows with these names, in the order of the names; names without a row are skipped."""
        rows = {row.name: row for row in self.rows}
        return [rows[name] for name in names if name in rows]


@functools.lru_cache(maxsize=4)
def read(folder: Path, version: Stamp) -> View:
    """Return the view of a folder, reading its records only if ``version``, its stamp, is new."""
    listing = load_runs(folder)
    return View(folder, make_rows(listing, folder), listing.unreadable)
