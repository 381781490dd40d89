"""Commands that run in the background while pages are drawn: each is a child process that a thread waits for.

A child ends when the dashboard ends, because it reads a pipe that the dashboard holds (``utils.supervised``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from transfer_utils.utils.supervised import PROGRAM, run_child, stop_children


@dataclass
class BackgroundJob:
    """A command in the background.

    Attributes:
        kind: what it does, for the page that started it.
        stopping: whether somebody has asked it to end.
        status: its exit status; None while it runs.
        message: the last line that it wrote to standard error.
    """

    kind: str
    stopping: bool = False
    status: int | None = None
    message: str = ""


_jobs: dict[str, BackgroundJob] = {}
_guard = threading.Lock()


def start(owner: str, kind: str, arguments: Sequence[str]) -> None:
    """Start ``transfer-utils`` with these arguments, unless a job of this owner is running."""
    with _guard:
        if running(owner):
            return
        job = _jobs[owner] = BackgroundJob(kind)
    threading.Thread(target=_run, args=(job, owner, [*arguments, "--supervised"]), daemon=True).start()


def running(owner: str) -> BackgroundJob | None:
    """Return the job of this owner if it is running."""
    job = _jobs.get(owner)
    if job is None or job.status is not None:
        return None
    if job.stopping:  # again, because its process may not have started at the first request
        stop_children(owner)
    return job


def stop(owner: str) -> None:
    """Ask the job of this owner to end."""
    if job := running(owner):
        job.stopping = True
        stop_children(owner)


def ended(owner: str) -> BackgroundJob | None:
    """Return the last job of this owner if it has ended."""
    job = _jobs.get(owner)
    return job if job and job.status is not None else None


def _run(job: BackgroundJob, owner: str, arguments: Sequence[str]) -> None:
    try:
        status, job.message = run_child(arguments, os.getcwd(), PROGRAM, owner=owner)
    except OSError as error:
        status, job.message = 1, f"It could not be started: {error.strerror}."
    job.status = status
