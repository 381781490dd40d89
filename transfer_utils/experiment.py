"""One run, from options to record: claim a folder, compute, and write down what came of it, whatever happens."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from transfer_utils.config import MODEL_SUFFIXES, NAMED_WEIGHTS, NO_COPY, RunConfig
from transfer_utils.errors import Diverged, UserError
from transfer_utils.files import lock
from transfer_utils.machine import machine, peak_memory_mb, versions
from transfer_utils.records import RECORD_NAME, Run, RunRecord, Status, load_runs, read_record, timestamp

RESUMABLE: tuple[Status, ...] = ("running", "interrupted", "failed")

# As long as what temporary files and notes beside a file add to its name.
ADDED = ".4194304-4194304.tmp.classes.json.lock"

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass
class Sitting:
    """A run while it is computed: its options, folder and record, and where it reports to."""

    config: RunConfig
    folder: Path
    record: RunRecord
    progress: Progress | None = None
    say: Say = print
    _lock: FileLock | None = None
    _started: float = field(default_factory=time.monotonic)
    _earlier: float = 0.0

    def save(self) -> None:
        """Write the record, with the time spent so far, to the run's folder and to ``json_output_path``."""
        self.record.timing_sec["total"] = round(self._earlier + time.monotonic() - self._started, 3)
        self.record.machine["peak_memory_mb"] = peak_memory_mb()
        self.record.save(self.folder / RECORD_NAME)
        if self.config.json_output_path:
            self.record.save(self.config.json_output_path)

    def goes_on_with(self, what: str, began: str | None, now: str) -> None:
        """Forget what earlier sittings trained where it was on something else; ``began`` is None in the first."""
        if began in (None, now):
            return
        self.drop_checkpoints()
        self.record.curves, self.record.metrics, self.record.timing_sec = {}, {}, {}
        self._earlier = 0.0
        self.say(f"{what} are not those that this run began with: training starts again.")

    def drop_checkpoints(self) -> None:
        for checkpoint in self.folder.glob("checkpoint-*"):
            checkpoint.unlink()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to ``timing_sec[name]``, on top of what earlier sittings spent on it."""
        before = self.record.timing_sec.get(name) or 0.0
        started = time.monotonic()
        try:
            yield
        finally:
            self.record.timing_sec[name] = round(before + time.monotonic() - started, 3)


def run_experiment(
    config: RunConfig, *, reuse: bool = False, progress: Progress | None = None, say: Say = print
) -> Run:
    """Do what ``config`` asks: load, train, evaluate, save the model and the record. Resumes a run that was cut off.

    Args:
        reuse: return the completed run of the same options in ``output_dir``, where there is one with its model; where
            another process that reuses is at it, wait for that.
        progress: called with (title, done, total) during long steps.
        say: called with each line worth telling.

    Returns:
        The completed run.

    Raises:
        UserError: an option or file that the user can put right; ``Diverged``: the loss became NaN or infinite.
        Whatever is raised, the record says ``failed``, ``diverged`` or ``interrupted`` first.
    """
    _check_places(config)
    with _alone(config, say) if reuse else nullcontext():
        if reuse and (done := finished_run(config)):
            say(f"{done.name} is on record with these options: used again.")
            _hand_out(done, config, say)
            return done
        return _run(_claim(config, progress, say))


def _run(sitting: Sitting) -> Run:
    try:
        sitting.save()
        from transfer_utils.phases import compute  # loads TensorFlow: seconds, in which an interrupt is noted already

        compute(sitting)
        _close(sitting, "completed")
    except Diverged as error:
        _close(sitting, "diverged", str(error))
        raise
    except (KeyboardInterrupt, SystemExit):
        _close(sitting, "interrupted")
        raise
    except Exception as error:
        _close(sitting, "failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        sitting._lock.release()
    # Not before: whatever stops this, the run is completed. Sixty runs of a sweep would keep gigabytes.
    sitting.drop_checkpoints()
    return Run(sitting.record, sitting.folder / RECORD_NAME)


@contextmanager
def _alone(config: RunConfig, say: Say) -> Iterator[None]:
    """Keep others that reuse runs away from runs of these options; wait where somebody else does."""
    held = lock(Path(config.output_dir) / f".{config.fingerprint}", timeout=0)
    try:
        held.acquire()
    except Timeout:
        say("Another process is at a run of these options: waiting for it.")
        held.acquire(timeout=-1)
    try:
        yield
    finally:
        held.release()


def finished_run(config: RunConfig) -> Run | None:
    """Return the newest completed run of the same options, images and weights file that still has its model."""
    runs = load_runs(config.output_dir).runs if Path(config.output_dir).is_dir() else []
    began_with = functools.cache(lambda: _fingerprints(config))
    for run in reversed(runs):
        record, model = run.record, run.record.files.get("model")
        same = record.status == "completed" and record.fingerprint == config.fingerprint
        if same and model and (run.folder / model).is_file():
            images, weights = began_with()
            if record.dataset.get("fingerprint") == images and weights in (None, record.weights.get("sha256")):
                return run
    return None


def _hand_out(run: Run, config: RunConfig, say: Say) -> None:
    """Write the record and the model of a run that is used again where the options want them."""
    if config.json_output_path:
        run.record.save(config.json_output_path)
    if config.model_path not in ("", NO_COPY):
        from transfer_utils.model_files import load_model
        from transfer_utils.phases import copy_model

        copy_model(load_model(run.folder / run.record.files["model"]), run.record, Path(config.model_path), say)


def _fingerprints(config: RunConfig) -> tuple[str, str | None]:
    """Return those of the images and of a user's own weights file; None where there is no such file."""
    from transfer_utils.data import load_dataset  # here: what only claims a folder needs neither
    from transfer_utils.models import build_backbone

    own = config.model == "transfer" and config.weights not in NAMED_WEIGHTS
    return load_dataset(config).fingerprint, build_backbone(config)[1]["sha256"] if own else None


def _claim(config: RunConfig, progress: Progress | None, say: Say) -> Sitting:
    """Take over a run of the same options that was cut off, or claim a new folder; nobody else can have either."""
    root = Path(config.output_dir)
    root.mkdir(parents=True, exist_ok=True)
    options = {"base_model": config.backbone, **config.model_dump()}  # base_model: what old logs call the backbone
    for run in load_runs(root).runs:
        if not _cut_off(run.record, config) or run.path.name != RECORD_NAME:
            continue
        held = lock(run.path, timeout=0)
        try:
            held.acquire()
        except Timeout:
            continue  # it is not cut off: another process is at it
        record = read_record(run.path)  # again: who had the lock may have completed the run in the meantime
        if not _cut_off(record, config):
            held.release()
            continue
        say(f"Resuming {run.name}.")
        record.status, record.error, record.config = "running", "", options
        earlier = record.timing_sec.get("total") or 0.0
        return Sitting(config, run.folder, record, progress, say, held, _earlier=earlier)
    record = RunRecord(
        fingerprint=config.fingerprint,
        status="running",
        created=timestamp(),
        command=config.command(),
        config=options,
        versions=versions(),
        machine=machine(),
    )
    folder, held = _new_folder(root, config)  # last: a folder without a record would tell nobody anything
    record.run_id = folder.name
    return Sitting(config, folder, record, progress, say, held)


def _check_places(config: RunConfig) -> None:
    """Refuse names that results cannot have before hours are spent on the results.

    Raises:
        UserError: a file where a folder must be, a folder where a file must be, a name that the system refuses, such as
            one that is too long, or a model file of unknown format.
    """
    model = "" if config.model_path == NO_COPY else config.model_path
    if model and Path(model).suffix not in MODEL_SUFFIXES:
        raise UserError(f"model_path must end in {' or '.join(MODEL_SUFFIXES)}, got {model!r}.")
    files = {"json_output_path": config.json_output_path, "model_path": model}
    folders = {"output_dir": config.output_dir, "figures_dir": config.figures_dir}
    folders["cache_dir"] = os.path.expanduser(config.cache_dir)
    for name, place in (files | folders).items():
        if not place:
            continue
        if name in files and os.path.isdir(place):
            raise UserError(f"{name} must be a file, got {place!r}, which is a folder.")
        path = Path(place) if name in files else Path(place, RECORD_NAME)
        for folder in path.parents:
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise UserError(f"{name} must lie in a folder, and {str(folder)!r} is a file.")
        try:
            with suppress(FileNotFoundError):
                os.stat(f"{path}{ADDED}")
        except (OSError, ValueError) as error:
            raise UserError(f"{name} cannot be {place!r}: {getattr(error, 'strerror', None) or error}.") from None


def _cut_off(record: RunRecord, config: RunConfig) -> bool:
    return record.status in RESUMABLE and record.fingerprint == config.fingerprint


def _new_folder(root: Path, config: RunConfig) -> tuple[Path, FileLock]:
    """Make the run's folder: a number that counts up, not a time, so that order survives a clock set back."""
    start = config.preset if config.preset != "none" else config.dataset_name
    while True:
        numbers = [name.split("-")[0] for name in os.listdir(root)]
        number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
        folder = root / f"{number:04d}-{start}-{config.model}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # somebody was quicker: the next number
        held = lock(folder / RECORD_NAME)
        held.acquire()
        return folder, held


def _close(sitting: Sitting, status: Status, error: str = "") -> None:
    sitting.record.status, sitting.record.error = status, error
    try:
        sitting.save()
    except OSError as problem:
        # On a full disk the record cannot say so; the error that is on its way up will.
        sitting.say(f"The record could not be written: {problem}")
        if status == "completed":
            raise
