"""Progress bars with the remaining time, and lines of output."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from transfer_utils.utils.text import as_lines, format_bytes

Progress = Callable[..., None]  # called with (title, done, total) during long steps; a download adds "bytes"
Log = Callable[[str], None]  # called with each line of output

MIN_SECONDS = 2.0  # a shorter step gets no bar
REFRESH_SECONDS = 0.5  # between two updates of the line in a notebook


@contextmanager
def reporting(quiet: bool) -> Iterator[tuple[Progress | None, Log]]:
    """Yield ``(progress, log)``: the first shows a bar for each long step, the second prints a line.

    With ``quiet`` nothing is shown; without a terminal, only the lines are.
    """
    terminal, log = open_terminal(quiet)
    if terminal is None:
        yield None, log
    else:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), _AmountColumn(), TimeRemainingColumn())
        with RichProgress(*columns, console=terminal, transient=True) as bars:
            yield _one_bar(bars), log


def open_terminal(quiet: bool) -> tuple[Console | None, Log]:
    """Return the terminal and a function that prints a line; no terminal if output is redirected or ``quiet``.

    Control characters in a line, which come from names of files and classes, are printed as escapes.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # a folder may be named [old]
    if quiet:
        return None, lambda line: None
    if not console.is_terminal:
        return None, _print
    return console, lambda line: console.print(as_lines(line))


def _print(line: str) -> None:
    try:
        print(as_lines(line), flush=True)
    except OSError as error:
        # As after ``| head``: nobody reads on, but the work is still wanted. Windows has the second number for it.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def notebook_progress() -> Progress | None:
    """Return a function that shows a download in one line below the cell; None outside of a Jupyter kernel."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import display

    if getattr(get_ipython(), "kernel", None) is None:
        return None
    line, current, started, first, shown = None, "", 0.0, 0, 0.0

    def progress(title: str, done: int, total: int, unit: str) -> None:
        nonlocal line, current, started, first, shown
        now = time.monotonic()
        if title != current:
            current, started, first = title, now, done
        elif done < total and now - shown < REFRESH_SECONDS:
            return
        shown = now
        text = {"text/plain": f"{title}: {_transferred(done, total, done - first, now - started)}"}
        if line:
            line.update(text, raw=True)
        else:
            line = display(text, raw=True, display_id=True)

    return progress


def _transferred(done: int, total: int, gained: int, seconds: float) -> str:
    """Return the bytes done, the rate, and the remaining time in minutes and seconds."""
    text = f"{format_bytes(done)} of {format_bytes(total)}"
    if gained and seconds:
        text += f", {format_bytes(gained / seconds)}/s"
        minutes, rest = divmod(round((total - done) * seconds / gained), 60)
        text += f", {minutes}:{rest:02} left" if done < total else ""
    return text


class _AmountColumn(ProgressColumn):
    """The number of things done of all, or of a download the bytes and their rate."""

    COUNT = (MofNCompleteColumn(),)
    BYTES = (DownloadColumn(), TransferSpeedColumn())

    def render(self, task: Task) -> Text:
        columns = self.BYTES if task.fields["unit"] == "bytes" else self.COUNT
        return Text(" ").join(column.render(task) for column in columns)


def _one_bar(bars: RichProgress) -> Progress:
    """Return a function that shows one bar at a time, and no bar for steps that finish quickly."""
    current: tuple[str, TaskID] | None = None
    started: dict[str, float] = {}

    def progress(title: str, done: int, total: int, unit: str = "") -> None:
        nonlocal current
        if current and current[0] != title:
            bars.remove_task(current[1])
            current = None
        if current is None:
            elapsed = time.monotonic() - started.setdefault(title, time.monotonic())
            if done >= total or (elapsed < MIN_SECONDS and done * MIN_SECONDS > elapsed * total):
                return
            current = title, bars.add_task(title, total=total, unit=unit)
        bars.update(current[1], completed=done, total=total)

    return progress
