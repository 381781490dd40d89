"""Progress bars with the time left, for people who look; silence for everybody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds a step may take before it gets a bar


@contextmanager
def reporting(quiet: bool) -> Iterator[tuple[Callable[[str, int, int], None] | None, Callable[[str], None]]]:
    """Yield (progress, say): a bar for each long step on a terminal, and a function that prints a line.

    With ``quiet`` neither does anything; without a terminal there are lines, but no bars.
    """
    console = Console(stderr=False, highlight=False, soft_wrap=True)
    if quiet:
        yield None, lambda line: None
    elif not console.is_terminal:
        yield None, lambda line: print(line, flush=True)
    else:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bars:
            yield _one_bar(bars), lambda line: console.print(line, markup=False)


def _one_bar(bars: Progress) -> Callable[[str, int, int], None]:
    """Return a function that shows one bar at a time, and none for what is over in a moment."""
    current: tuple[str, TaskID] | None = None
    started: dict[str, float] = {}

    def progress(title: str, done: int, total: int) -> None:
        nonlocal current
        if current and current[0] != title:
            bars.remove_task(current[1])
            current = None
        if current is None:
            first = started.setdefault(title, time.monotonic())
            elapsed = time.monotonic() - first
            if done >= total or (elapsed < PATIENCE and done * PATIENCE > elapsed * total):
                return
            current = title, bars.add_task(title, total=total)
        bars.update(current[1], completed=done, total=total)

    return progress
