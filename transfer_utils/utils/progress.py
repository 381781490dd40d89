"""Progress bars with the time left, for people who look; silence for everybody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars_of_rich
from rich.console import Console

Progress = Callable[[str, int, int], None]  # called with (title, done, total) during long steps
Log = Callable[[str], None]  # called with each line worth telling

SHOWN_AFTER = 2.0  # seconds a step may take before it gets a bar


@contextmanager
def reporting(quiet: bool) -> Iterator[tuple[Progress | None, Log]]:
    """Yield (progress, say): a bar for each long step on a terminal, and a function that prints a line.

    With ``quiet`` neither does anything; without a terminal there are lines, but no bars.
    """
    console = Console(stderr=False, highlight=False, soft_wrap=True)
    if quiet:
        yield None, lambda line: None
    elif not console.is_terminal:
        yield None, lambda line: print(line, flush=True)
    else:
        columns = [
            bars_of_rich.TextColumn("{task.description}"),
            bars_of_rich.BarColumn(),
            bars_of_rich.MofNCompleteColumn(),
            bars_of_rich.TimeRemainingColumn(),
        ]
        with bars_of_rich.Progress(*columns, console=console, transient=True) as bars:
            yield _one_bar(bars), lambda line: console.print(line, markup=False)


def _one_bar(bars: bars_of_rich.Progress) -> Progress:
    """Return a function that shows one bar at a time, and none for what is over in a moment."""
    current: tuple[str, bars_of_rich.TaskID] | None = None
    started: dict[str, float] = {}

    def progress(title: str, done: int, total: int) -> None:
        nonlocal current
        if current and current[0] != title:
            bars.remove_task(current[1])
            current = None
        if current is None:
            first = started.setdefault(title, time.monotonic())
            elapsed = time.monotonic() - first
            if done >= total or (elapsed < SHOWN_AFTER and done * SHOWN_AFTER > elapsed * total):
                return
            current = title, bars.add_task(title, total=total)
        bars.update(current[1], completed=done, total=total)

    return progress
