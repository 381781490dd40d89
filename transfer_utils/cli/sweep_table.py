"""The output of a sweep: the plan that ``--dry-run`` prints and the table that a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Column, Table

from transfer_utils.evaluation.percent import percent
from transfer_utils.results.formatting import duration, plain_text
from transfer_utils.studies.cost import disk
from transfer_utils.studies.sweep import ENDED_BADLY, ON_RECORD, WAITING, Job, OnUpdate, Sweep
from transfer_utils.utils.progress import Log, open_terminal
from transfer_utils.utils.text import as_text, counted, format_bytes

# Limits for the rows of the table, so that it fits on a screen.
MAX_ENDED, MAX_WAITING = 8, 6

STYLES = {"running": "bold", "completed": "green", ON_RECORD: "green", WAITING: "dim"}
STYLES |= dict.fromkeys(ENDED_BADLY, "red")


def dry_run(sweep: Sweep) -> str:
    """Return the plan of a sweep as plain text: every run with its status and estimated time, and the totals."""
    columns = (Column(name, overflow="fold") for name in ("run", "status", "time", "groups"))
    table = Table(*columns, box=None, pad_edge=False)
    to_do = [job for job in sweep.jobs if not job.ended]
    for job in sweep.jobs:
        time = "" if job.ended else duration(sweep.forecast.seconds(job.config))
        status = f"{job.status} as {job.run.name}" if job.run else job.status
        table.add_row(as_text(job.label), status, time, ", ".join(job.groups))
    left_out = "".join(f"{line}\n" for line in sweep.left_out)
    return (
        f"{left_out}{plain_text(200, table)}\n\n{counted(len(sweep.jobs), 'run')}, {len(to_do)} to do: about "
        f"{duration(sweep.seconds_left)} with {sweep.workers} at a time, "
        f"{format_bytes(disk(job.config for job in to_do))} of cache."
    )


@contextmanager
def watching(quiet: bool) -> Iterator[tuple[Log, OnUpdate | None]]:
    """Yield (log, on_update): a printer of lines, and a function that draws the table on a terminal, else None."""
    terminal, log = open_terminal(quiet)
    if terminal is None:
        yield log, None
    else:
        with Live(console=terminal, auto_refresh=False, transient=True) as live:
            yield log, lambda sweep: live.update(draw(sweep), refresh=True)


def draw(sweep: Sweep) -> Table:
    """Return the table of a sweep in progress: the jobs that run, that come next, and that ended last or badly."""
    ended = sum(job.ended for job in sweep.jobs)
    caption = f"{ended} of {len(sweep.jobs)} ended, about {duration(sweep.seconds_left)} left"
    sides = {"run": "left", "status": "left", "validation": "right", "time left": "right"}
    columns = (Column(name, justify=side, overflow="fold") for name, side in sides.items())
    table = Table(*columns, caption=caption, caption_justify="left", expand=False)
    for job in _shown(sweep.jobs):
        validation = "" if job.validation is None else percent(job.validation)
        left = "" if job.ended else duration(sweep.time_left(job))
        table.add_row(as_text(job.label), job.status, validation, left, style=STYLES.get(job.status, ""))
    return table


def _shown(jobs: list[Job]) -> list[Job]:
    ended = [job for job in jobs if job.ended and job.status not in (*ENDED_BADLY, ON_RECORD)]
    bad = [job for job in jobs if job.status in ENDED_BADLY]
    running = [job for job in jobs if job.status == "running"]
    waiting = [job for job in jobs if job.status == WAITING]
    return bad[-MAX_ENDED:] + ended[-MAX_ENDED:] + running + waiting[:MAX_WAITING]
