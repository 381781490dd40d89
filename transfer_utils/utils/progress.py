"""Progress bars with the remaining time, and lines of output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from transfer_utils.utils.text import as_lines

Progress = Callable[[str, int, int], None]  # called with (title, done, total) during long steps
Log = Callable[[str], None]  # called with each line of output

MIN_SECONDS = 2.0  # a shorter step gets no bar


@contextmanager
def reporting(quiet: bool) -> Iterator[tuple[Progress | None, Log]]:
    """Yield ``(progress, log)``: the first shows a bar for each long step, the second prints a line.

    With ``quiet`` nothing is shown; without a terminal, only the lines are.
    """
    terminal, log = open_terminal(quiet)
    if terminal is None:
        yield None, log
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with RichProgress(*columns, console=terminal, transient=True) as bars:
            yield _one_bar(bars), log


def open_terminal(quiet: bool) -> tuple[Console | None, Log]:
    """Return the terminal and a function that prints a line; no terminal if output is redirected or ``quiet``.

    Control characters in a line, which come from names of files and classes, are printed as escapes.
    """
    console = Console(highlight=False, soft_wrap=True)
    if quiet:
        return None, lambda line: None
    if not console.is_terminal:
        return None, lambda line: print(as_lines(line), flush=True)
    return console, lambda line: console.print(as_lines(line), markup=False)


def _one_bar(bars: RichProgress) -> Progress:
    """Return a function that shows one bar at a time, and no bar for steps that finish quickly."""
    current: tuple[str, TaskID] | None = None
    started: dict[str, float] = {}

    def progress(title: str, done: int, total: int) -> None:
        nonlocal current
        if current and current[0] != title:
            bars.remove_task(current[1])
            current = None
        if current is None:
            elapsed = time.monotonic() - started.setdefault(title, time.monotonic())
            if done >= total or (elapsed < MIN_SECONDS and done * MIN_SECONDS > elapsed * total):
                return
            current = title, bars.add_task(title, total=total)
        bars.update(current[1], completed=done, total=total)

    return progress
