"""Run a study: skip the runs that are recorded, run the others in child processes, and report the result of each.

The state of a run is always read from its record, so it does not matter which worker ran it or how often the sweep was
interrupted.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from transfer_utils.config.options import RunConfig
from transfer_utils.config.recorded import Identity, identity
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.folder import Listing, Run, load_runs
from transfer_utils.studies.cost import Forecast
from transfer_utils.studies.spec import Planned, Study, find_run
from transfer_utils.studies.workers import open_workers
from transfer_utils.utils.progress import Log
from transfer_utils.utils.supervised import PROGRAM
from transfer_utils.utils.text import command_line, counted

SECONDS_BETWEEN_UPDATES = 5.0  # reading all records more often would take time from the runs
MAX_CELL_SECONDS = str(7 * 24 * 3600)  # in notebook 04 a whole training is one cell

NOTEBOOKS = "notebooks"  # folder of the executed notebooks, inside the folder of the runs

WAITING, ON_RECORD = "waiting", "on record"
ENDED_BADLY = ("failed", "diverged", "interrupted")
REACHED = {"running": 1, "completed": 2}  # how far a run has come; others have ended badly

OnUpdate = Callable[["Sweep"], None]


@dataclass
class Job:
    """One run of a sweep."""

    config: RunConfig
    groups: list[str]
    label: str  # the group, the options that vary in the group, and the seed
    status: str = WAITING  # or "on record", or the status of the run record
    run: Run | None = None  # the run record as last read
    error: str = ""  # the reason if the run failed, diverged or was interrupted
    earlier: str = ""  # when the record of an attempt before this sweep was last updated

    @property
    def ended(self) -> bool:
        """Whether the run is over or was recorded before."""
        return self.status not in (WAITING, "running")

    @property
    def validation(self) -> float | None:
        """The validation accuracy of the final model, or of the latest epoch during training."""
        if self.run is None:
            return None
        record = self.run.record
        epochs = [value for stage in record.curves.values() for value in stage.get("val_accuracy", [])]
        return record.metrics.get("val_end2end", epochs[-1] if epochs else None)

    @property
    def seconds(self) -> float:
        """The computing time so far, in seconds."""
        return self.run.record.timing_sec.get("total") or 0.0 if self.run else 0.0


@dataclass
class Sweep:
    """All jobs of a study, the forecast of their time, the number of workers, and a line for each unreadable record."""

    jobs: list[Job]
    forecast: Forecast
    workers: int = 1
    left_out: Sequence[str] = ()

    @property
    def seconds_left(self) -> float:
        """The estimated time until all jobs have ended."""
        return sum(self.time_left(job) for job in self.jobs if not job.ended) / self.workers

    def time_left(self, job: Job) -> float:
        """Return the estimated seconds until a job ends."""
        return max(0.0, self.forecast.seconds(job.config) - job.seconds)


def run_sweep(
    study: Study,
    *,
    workers: int = 1,
    scheduler: str = "",
    notebook: bool = False,
    log: Log = print,
    log_error: Log | None = None,
    on_update: OnUpdate | None = None,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run every run of ``study`` that is not recorded in its ``output_dir``.

    Each run is a child process. An interrupted run resumes, and a failed run does not stop the others. The model stays
    in the folder of its run.

    Args:
        workers: number of runs at a time on this machine; each uses all cores.
        scheduler: address of a Dask scheduler whose workers are used instead; they must share the working folder.
        notebook: do each run with notebook 04 whose options it supports, executed in ``<output_dir>/notebooks``.
        log: called with a line for each run that has ended, and with the summary.
        log_error: called with the errors at the end; the default is ``log``.
        on_update: called with the sweep whenever the records have been read, every few seconds.
        program: the arguments of Python that start the command line.

    Returns:
        Exit status: 0, or 1 if a run failed, diverged or was interrupted.

    Raises:
        UserError: the scheduler cannot be reached, or it has no workers.
    """
    sweep = plan(study)
    to_do = [job for job in sweep.jobs if not job.ended]
    for line in sweep.left_out:
        log(line)
    log(f"{counted(len(sweep.jobs), 'run')}: {len(sweep.jobs) - len(to_do)} on record, {len(to_do)} to do.")
    if to_do:
        with open_workers(workers, scheduler) as pool:
            sweep.workers = pool.count
            futures = {pool.submit(_arguments(job.config, notebook), program): job for job in to_do}
            _follow(sweep, futures, log, on_update)
    return _summary(sweep, log, log_error or log)


def plan(study: Study) -> Sweep:
    """Return the jobs of a study; those that are recorded in its ``output_dir`` have ended."""
    planned = study.planned()
    listing = load_runs(planned[0].config.output_dir) if planned else Listing()
    runs = listing.runs
    latest, jobs = _latest(runs), []
    for item in planned:
        job = Job(item.started_with, item.groups, label(item, study))
        if completed := find_run(item.config, runs):
            job.status, job.run = ON_RECORD, completed
        elif diverged := find_run(item.config, runs, "diverged"):  # it would diverge again
            job.status, job.run, job.error = "diverged", diverged, diverged.record.error
        elif before := latest.get(identity(item.config)):
            job.earlier = before.record.updated
        jobs.append(job)
    return Sweep(jobs, Forecast(runs), left_out=listing.left_out())


def label(planned: Planned, study: Study) -> str:
    """Return a run's first group, the values of the group's grid, and the seed: ``depth: n_unfreeze 10, seed 1``."""
    group = next(group for group in study.groups if group.name == planned.groups[0])
    values = [f"{name} {getattr(planned.config, name)}" for name in group.grid]
    return f"{group.name}: " + ", ".join([*values, f"seed {planned.config.seed}"])


def _follow(sweep: Sweep, running: dict[Future, Job], log: Log, on_update: OnUpdate | None) -> None:
    """Update the jobs from their records until all have ended."""
    while running:
        ended, _ = wait(running, timeout=SECONDS_BETWEEN_UPDATES, return_when=FIRST_COMPLETED)
        if ended or on_update:
            _read_records(sweep, list(running.values()), learn=bool(ended))
        for future in [future for future in running if future in ended]:
            job = running.pop(future)
            _finish(job, future)
            log(_line(job, sweep))
        if on_update:
            on_update(sweep)


def _arguments(config: RunConfig, notebook: bool) -> list[str]:
    """Return the arguments of the command line: ``train``, or ``course`` if notebook 04 supports these options."""
    two_stages = config.model == "transfer" and config.fine_tunes and config.n_unfreeze > 0
    backbone = (config.backbone, config.alpha) == ("MobileNetV2", 0.35)
    if not (notebook and two_stages and config.solves_head and backbone and config.strategy == "none"):
        return ["train", "--supervised", "--quiet", *config.arguments()]
    folder = f"{config.output_dir}/{NOTEBOOKS}/{config.fingerprint}"
    arguments = ["course", "--supervised", "--quiet", "--timeout", MAX_CELL_SECONDS, "--preset", config.preset]
    arguments += ["--notebook", "04", "--output_dir", folder]
    options = {**config.changes(), "output_dir": config.output_dir}
    return [*arguments, "--parameter", "seed", str(config.seed), "--parameter", "options", repr(options)]


def _read_records(sweep: Sweep, jobs: list[Job], *, learn: bool) -> None:
    runs = load_runs(jobs[0].config.output_dir).runs
    if learn:
        sweep.forecast = Forecast(runs)
    latest = _latest(runs)
    for job in jobs:
        job.run = latest.get(identity(job.config), job.run)  # a record that cannot be read for a moment is not gone
        # The record of an attempt that was killed says "running" until a child resumes it.
        if job.run and job.run.record.status == "running" and job.run.record.updated != job.earlier:
            job.status = "running"


def _latest(runs: Sequence[Run]) -> dict[Identity, Run]:
    """Return one run of each configuration: that of several which has come furthest, else the newest.

    A child resumes the first attempt that it can, so the newest may be one that nobody has resumed.
    """
    by_status = sorted(runs, key=lambda run: REACHED.get(run.record.status, 0))
    return {identity(run.record.config): run for run in by_status if run.record.fingerprint and run.record.config}


def _finish(job: Job, future: Future) -> None:
    """Set the final status of a job from its record, or from its process if it left no record."""
    try:
        exit_status, last_line = future.result()
    except Exception as error:  # of the worker
        exit_status, last_line = 1, str(error) or "its worker is gone"
    recorded = job.run.record.status if job.run else ""
    if exit_status == 0 and recorded == "completed":
        job.status = "completed"
        return
    # If the child died before it resumed an earlier attempt, the record still says what happened then.
    attempted = job.run is not None and job.run.record.updated != job.earlier
    job.status = recorded if attempted and recorded in ENDED_BADLY else "failed"
    reason = f"killed by {signal.Signals(-exit_status).name}" if exit_status < 0 else last_line
    job.error = (job.run.record.error if attempted else "") or reason
    if exit_status == 0:
        job.error = f"its record is not in {job.config.output_dir}: do the workers share this folder?"


def _line(job: Job, sweep: Sweep) -> str:
    done = sum(other.ended for other in sweep.jobs)
    accuracy = f", validation {percent(job.validation)}" if job.validation is not None else ""
    name = f" ({job.run.name})" if job.run else ""
    return f"[{done}/{len(sweep.jobs)}] {job.label}{name}: {job.status}{accuracy}, {job.seconds:.0f} s"


def _summary(sweep: Sweep, log: Log, log_error: Log) -> int:
    bad = [job for job in sweep.jobs if job.status in ENDED_BADLY]
    for job in bad:
        name = f" ({job.run.folder})" if job.run else ""
        log_error(f"{job.label}{name} {job.status}: {job.error or 'no reason is recorded'}")
        log_error(f"  {command_line(['transfer-utils', 'train', *job.config.arguments()])}")  # into the same folder
    completed = len(sweep.jobs) - len(bad)
    log(f"{completed} of {counted(len(sweep.jobs), 'run')} {'is' if completed == 1 else 'are'} completed.")
    return 1 if bad else 0
