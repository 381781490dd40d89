"""Many runs: leave out what is on record, hand the rest to the workers of a Dask cluster, and say what came of it.

By default the cluster is on this machine and lasts as long as the sweep. What is true of a run is always read from its
record, never from what a worker says; so it does not matter who computed it, nor how often the sweep was stopped.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transfer_utils.config import NO_COPY, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.records import Run, load_runs
from transfer_utils.studies.cost import Forecast
from transfer_utils.studies.spec import Planned, Study, find_run
from transfer_utils.utils.progress import Log
from transfer_utils.utils.supervised import PROGRAM, run_child, stop_children

SECONDS_BETWEEN_UPDATES = 0.5  # seconds between two looks at the records
WORKERS_TO_APPEAR = 60  # seconds
MAX_CELL_SECONDS = str(7 * 24 * 3600)  # seconds: in notebook 04 a whole training is one cell

NOTEBOOKS = "notebooks"  # folder of the executed copies, in that of the runs

WAITING, ON_RECORD = "waiting", "on record"
ENDED_BADLY = ("failed", "diverged", "interrupted")

OnUpdate = Callable[["Sweep"], None]


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        label: what tells it from the others of its group.
        status: ``waiting``, ``on record``, or that of its record.
        run: its record as it was last read; None before there is one.
        error: why it ended badly.
    """

    config: RunConfig
    groups: list[str]
    label: str
    status: str = WAITING
    run: Run | None = None
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.status not in (WAITING, "running")

    @property
    def validation(self) -> float | None:
        """The validation accuracy of its model, or of its last epoch while it runs."""
        if self.run is None:
            return None
        record = self.run.record
        epochs = [value for stage in record.curves.values() for value in stage.get("val_accuracy", [])]
        return record.metrics.get("val_end2end", epochs[-1] if epochs else None)

    @property
    def seconds(self) -> float:
        """How long it has been computed so far."""
        return self.run.record.timing_sec.get("total") or 0.0 if self.run else 0.0


@dataclass
class Sweep:
    """All jobs of a study, how long each is expected to take, and how many are done at a time."""

    jobs: list[Job]
    forecast: Forecast
    workers: int = 1
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """About how long the rest takes."""
        rest = sum(max(0.0, self.forecast.seconds(job.config) - job.seconds) for job in self.jobs if not job.ended)
        return rest / max(1, self.workers)


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
    """Do every run of ``study`` that is not on record in its ``output_dir``.

    Each is a process of its own. One that was cut off is resumed; one that fails does not stop the others. A model
    stays in its run's folder.

    Args:
        workers: how many runs at a time on this machine; each uses all of its cores.
        scheduler: address of a Dask scheduler, whose workers are used instead; they must share this folder.
        notebook: do each run that has two stages as notebook 04, executed into ``<output_dir>/notebooks``.
        say: called with a line for each run that has ended, and with the summary.
        complain: called with what failed, in the end; ``say`` by default.
        look: called with the sweep again and again while it goes on.
        program: what Python runs instead of this command line.

    Returns:
        Exit status: 0, or 1 when a run has failed or diverged; each is named with its reason.

    Raises:
        UserError: the scheduler cannot be reached, or has no workers.
    """
    sweep = plan(study)
    sweep.workers = workers
    to_do = [job for job in sweep.jobs if not job.ended]
    log(f"{len(sweep.jobs)} runs: {len(sweep.jobs) - len(to_do)} on record, {len(to_do)} to do.")
    if to_do:
        with _cluster(workers, scheduler) as client:
            sweep.workers = sum(client.nthreads().values())
            _do(sweep, to_do, client, notebook, program, log, on_update)
    return _summary(sweep, log, log_error or log)


def plan(study: Study) -> Sweep:
    """Return the sweep of a study: which runs are on record in its ``output_dir``, and which are to do."""
    planned = study.planned()
    runs = _runs(planned[0].config.output_dir) if planned else []
    jobs = []
    for one in planned:
        job = Job(one.config.model_copy(update={"model_path": NO_COPY}), one.groups, label(one, study))
        done = find_run(one.config, runs)
        if done:
            job.status, job.run = ON_RECORD, done
        elif lost := find_run(one.config, runs, "diverged"):  # it would again
            job.status, job.run, job.error = "diverged", lost, lost.record.error
        jobs.append(job)
    return Sweep(jobs, Forecast(runs))


def label(one: Planned, study: Study) -> str:
    """Return a run's group, what it has of the group's grid, and its seed: ``depth: n_unfreeze 10, seed 1``."""
    group = next(group for group in study.groups if group.name == one.groups[0])
    varied = [f"{name} {getattr(one.config, name)}" for name in group.grid]
    return f"{group.name}: " + ", ".join([*varied, f"seed {one.config.seed}"])


def _do(
    sweep: Sweep,
    to_do: list[Job],
    client: Any,
    notebook: bool,
    program: Sequence[str],
    log: Log,
    on_update: OnUpdate | None,
) -> None:
    import dask

    # Dask holds its own workers to one thread by these; a run is to be as fast as without Dask.
    without = list(dask.config.get("distributed.nanny.pre-spawn-environ", {}))
    once = uuid.uuid4().hex  # a scheduler that is shared must not give us what it remembers
    futures = {
        client.submit(
            run_child,
            _arguments(job.config, notebook),
            os.getcwd(),
            tuple(program),
            without,
            once,
            key=f"{job.config.fingerprint}-{once}",
            priority=-number,
        ): job
        for number, job in enumerate(to_do)
    }
    try:
        while futures:
            ended = [future for future in futures if future.done()]
            _read(sweep, to_do)
            for future in ended:
                job = futures.pop(future)
                _settle(job, future)
                log(_line(job, sweep))
            if on_update:
                on_update(sweep)
            if not ended:
                time.sleep(SECONDS_BETWEEN_UPDATES)
    except BaseException:
        client.cancel(list(futures))
        client.run(stop_children, once)
        raise


def _arguments(config: RunConfig, notebook: bool) -> list[str]:
    """Return the command that does a run: ``train``, or ``course`` where notebook 04 can tell of it."""
    if not notebook or not _is_told_by_the_notebook(config):
        return ["train", "--supervised", "--quiet", *config.arguments()]
    folder = f"{config.output_dir}/{NOTEBOOKS}/{config.fingerprint}"
    words = ["course", "--supervised", "--quiet", "--timeout", MAX_CELL_SECONDS, "--preset", config.preset]
    words += ["--notebook", "04", "--output_dir", folder]
    options = {**config.changes(), "output_dir": config.output_dir}
    return [*words, "--parameter", "seed", str(config.seed), "--parameter", "options", repr(options)]


def _is_told_by_the_notebook(config: RunConfig) -> bool:
    two_stages = config.model == "transfer" and config.n_unfreeze > 0 and config.epochs_stage2 > 0
    linear = config.head == "batchnorm" and not config.hidden_units
    return two_stages and linear and config.strategy == "none"


def _read(sweep: Sweep, jobs: list[Job]) -> None:
    """Look up what the records say of the jobs that have not ended."""
    runs = _runs(jobs[0].config.output_dir)
    sweep.forecast = Forecast(runs)
    for job in jobs:
        if not job.ended and (run := _newest(job.config, runs)):
            job.run = run
            job.status = "running" if run.record.status == "running" else job.status


def _settle(job: Job, future: Any) -> None:
    """Note how a job ended: as its record says, or else as its process or its worker did."""
    problem = future.exception() if future.status == "error" else None
    status, last_words = (1, str(problem)) if problem else (1, "its worker is gone")
    if future.status == "finished":
        status, last_words = future.result()
    job.run = _newest(job.config, _runs(job.config.output_dir))
    recorded = job.run.record.status if job.run else ""
    if status == 0 and recorded == "completed":
        job.status = "completed"
        return
    job.status = recorded if recorded in ENDED_BADLY else "failed"
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else last_words
    job.error = (job.run.record.error if job.run else "") or how
    if status == 0:
        job.error = f"its record is not in {job.config.output_dir}: do the workers share this folder?"


def _line(job: Job, sweep: Sweep) -> str:
    done = sum(other.ended for other in sweep.jobs)
    found = f", validation {100 * job.validation:.1f} %" if job.validation is not None else ""
    name = f" ({job.run.name})" if job.run else ""
    return f"[{done}/{len(sweep.jobs)}] {job.label}{name}: {job.status}{found}, {job.seconds:.0f} s"


def _summary(sweep: Sweep, log: Log, log_error: Log) -> int:
    bad = [job for job in sweep.jobs if job.status in ENDED_BADLY]
    for job in bad:
        name = f" ({job.run.folder})" if job.run else ""
        log_error(f"{job.label}{name} {job.status}: {job.error or 'no reason was given'}")
        log_error(f"  {job.config.command()}")
    log(f"{len(sweep.jobs) - len(bad)} of {len(sweep.jobs)} runs are on record.")
    return 1 if bad else 0


def _runs(output_dir: str) -> list[Run]:
    return load_runs(output_dir).runs if Path(output_dir).is_dir() else []


def _newest(config: RunConfig, runs: list[Run]) -> Run | None:
    """Return the newest run of exactly these options, whatever became of it."""
    return next((run for run in reversed(runs) if run.record.fingerprint == config.fingerprint), None)


@contextmanager
def _cluster(workers: int, scheduler: str) -> Iterator[Any]:
    """Yield a client of the Dask cluster at ``scheduler``, or of one on this machine that ends with the block."""
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=WORKERS_TO_APPEAR, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(f"scheduler must be the address of a Dask scheduler, got {scheduler!r}: {error}") from None
        with client:
            try:
                client.wait_for_workers(1, timeout=WORKERS_TO_APPEAR)
            except TimeoutError:
                raise UserError(f"The scheduler {scheduler} has no workers: start some with `dask worker`.") from None
            yield client
        return
    quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": "127.0.0.1:0"}
    alone = {"processes": True, "threads_per_worker": 1, "memory_limit": None, "host": "127.0.0.1"}
    with _interrupts_ignored():
        cluster = LocalCluster(n_workers=workers, **alone, **quiet)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that the block starts ignore Ctrl-C: a terminal sends it to all, and we end them in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
