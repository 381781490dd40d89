"""A run in progress: the folder and lock that no other process can have, its record, and the time spent on it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from transfer_utils.config.options import MODEL_SUFFIXES, NO_COPY, RunConfig
from transfer_utils.config.recorded import identity
from transfer_utils.data.image_folder import check_image_folder
from transfer_utils.errors import UserError
from transfer_utils.records.folder import load_runs
from transfer_utils.records.record import RECORD_NAME, RESUMABLE, RunRecord, Status, read_record, timestamp
from transfer_utils.utils.disk import check_disk, check_writable
from transfer_utils.utils.files import cache_folder, lock
from transfer_utils.utils.machine import machine, peak_memory_mb, versions
from transfer_utils.utils.progress import Log, Progress
from transfer_utils.utils.revision import source_revision
from transfer_utils.utils.text import finite_number, printable

# The fields of the record that are emptied where training starts again.
OF_TRAINING = ("curves", "metrics", "timing_sec", "inference", "confusion_matrix", "per_class", "calibration")
OF_TRAINING += ("not_sure", "cross_validation", "test_correct", "files", "sessions", "peak_memory_mb")

# What the temporary file of the longest note adds to the name of a model.
MAX_SUFFIX = "..classes.json.4194304-4194304.tmp.json"

# Of the machine in the record, what holds for all sessions and not for the last one alone.
OF_SESSIONS = ("gpus", "peak_memory_mb")

CHECKPOINTS = "checkpoint-*"

MAX_NAME = 60  # characters of an image folder's name in that of a run's folder; 255 bytes are allowed


@dataclass
class RunSession:
    """A run while it is computed: its options, folder and record, and where it reports to.

    A run that was interrupted has several sessions, one after the other, and one record.
    """

    config: RunConfig
    folder: Path
    record: RunRecord
    progress: Progress | None
    log: Log
    _lock: FileLock
    _started: float = field(default_factory=time.monotonic)
    _seconds_before: float = 0.0  # of earlier sessions
    _counted_until: dict[str, float] = field(default_factory=dict)  # by phase in progress: its time is in the record

    def save(self) -> None:
        """Write the record, with the time spent so far, to the run's folder and to ``json_output_path``."""
        for phase in self._counted_until:
            self._count(phase)  # if the run is killed, its next session resumes from here
        self.record.timing_sec["total"] = round(self._seconds_before + time.monotonic() - self._started, 3)
        peaks = finite_number(self.record.machine.get("peak_memory_mb")), peak_memory_mb()
        self.record.machine["peak_memory_mb"] = max((int(peak) for peak in peaks if peak is not None), default=None)
        self.record.save(self.folder / RECORD_NAME)
        if self.config.json_output_path:
            self.record.save(self.config.json_output_path)

    def close(self, status: Status, error: str = "") -> None:
        """Write the final status into the record.

        Raises:
            OSError: a completed run could not be recorded.
        """
        self.record.status, self.record.error = status, error
        try:
            self.save()
        except OSError as problem:
            # On a full disk the record cannot hold the status; the error that is being raised will.
            self.log(f"The record could not be written: {problem}")
            if status == "completed":
                raise

    def release(self) -> None:
        """Let other processes have the run's folder."""
        self._lock.release()

    def restart_if_changed(self, what: str, before: str | None, now: str) -> None:
        """Discard what earlier sessions trained if it was trained on something else.

        Args:
            what: the inputs in words, such as "The images".
            before: their fingerprint in the earlier sessions; None in the first one.
            now: their fingerprint now.
        """
        if before in (None, now):
            return
        self.drop_checkpoints()
        empty = RunRecord()
        for name in OF_TRAINING:
            setattr(self.record, name, getattr(empty, name))
        for name in OF_SESSIONS:
            self.record.machine.pop(name, None)
        self._seconds_before = 0.0
        self.log(f"{what} have changed since this run began, so training starts again.")

    def check_room(self, parameters: int, trained: int) -> None:
        """Check before training that a model of so many parameters, its checkpoints and its copy fit on their disks.

        Args:
            trained: the parameters of the part that is trained, at most.

        Raises:
            UserError: one of the disks has too little free space.
        """
        # A checkpoint holds the weights, two moments of Adam and the best weights, all in float32. There are two while
        # one is replaced. A resumed run has one already.
        model, checkpoints = 4 * parameters, 2 * 4 * 4 * trained
        written = sum(checkpoint.stat().st_size for checkpoint in self.folder.glob(CHECKPOINTS))
        needs = [("output_dir", self.folder, model + max(0, checkpoints - written), "The training")]
        if copy := copy_path(self.config):
            needs.append(("model_path", copy.parent, model, "The trained model"))
        for option, folder, needed, what in needs:
            check_disk(folder, needed, f"Free some space there, or choose another disk with --{option}.", what=what)

    def drop_checkpoints(self) -> None:
        """Delete the checkpoints of the run."""
        for checkpoint in self.folder.glob(CHECKPOINTS):
            checkpoint.unlink()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to those of earlier sessions, and record the peak memory at its end."""
        self._counted_until[name] = time.monotonic()
        try:
            yield
        finally:
            self._count(name)
            del self._counted_until[name]

    def _count(self, phase: str) -> None:
        now, before = time.monotonic(), self.record.timing_sec.get(phase) or 0.0
        self.record.timing_sec[phase] = round(before + now - self._counted_until[phase], 3)
        self._counted_until[phase] = now
        if (peak := peak_memory_mb()) is not None:
            peaks = self.record.peak_memory_mb
            peaks[phase] = max(peak, peaks.get(phase, 0))


def add_note(note: str, session: RunSession) -> None:
    """Keep a note in the record of a run, and log it."""
    session.record.notes.append(note)
    session.log(note)


def claim_session(config: RunConfig, progress: Progress | None, log: Log) -> RunSession:
    """Take over an interrupted run of the same options, or claim a new folder; no other process can have either."""
    root = Path(config.output_dir)
    root.mkdir(parents=True, exist_ok=True)
    facts = {
        "status": "running",
        "error": "",
        "fingerprint": config.fingerprint,  # options without effect on this model may differ from those of before
        "command": config.command(),
        "config": {"base_model": config.backbone, **config.model_dump()},  # base_model: what old logs call the backbone
        "versions": versions(),
        "machine": machine(),
        "source": source_revision(),
    }
    listing = load_runs(root)
    for line in listing.left_out():
        log(line)
    for run in listing.runs:
        if not _resumes(run.record, config) or not run.has_folder:
            continue
        run_lock = lock(run.path, timeout=0)
        try:
            run_lock.acquire()
        except (Timeout, PermissionError):
            continue  # not interrupted, another process is working on it; or it is another user's
        record = read_record(run.path)  # again: the process that had the lock may have completed the run meanwhile
        if not _resumes(record, config):
            run_lock.release()
            continue
        log(f"Resuming {run.name}.")
        earlier = {name: getattr(record, name) for name in ("versions", "source", "machine")}
        if any(earlier[name] | facts[name] != earlier[name] for name in earlier):
            log("Its last session had another machine, revision or versions; the record has both.")
            record.sessions.append(earlier)
        known = {name: record.machine[name] for name in OF_SESSIONS if name in record.machine}
        record = record.model_copy(update=facts | {"machine": facts["machine"] | known})
        seconds = record.timing_sec.get("total") or 0.0
        return RunSession(config, run.folder, record, progress, log, run_lock, _seconds_before=seconds)
    record = RunRecord(created=timestamp(), **facts)
    folder, run_lock = _new_folder(root, config)  # last, so that an error above leaves no folder without a record
    record.run_id = folder.name
    return RunSession(config, folder, record, progress, log, run_lock)


def copy_path(config: RunConfig) -> Path | None:
    """Return the path of the model's copy outside the run's folder, or None if there is to be none."""
    if config.model_path == NO_COPY:
        return None
    suffix = "" if config.model == "transfer" else "_baseline"
    return Path(config.model_path or f"{config.dataset_name}{suffix}.h5")


def check_paths(config: RunConfig) -> None:
    """Refuse what cannot be read or written before hours are spent on what would be written there.

    A megabyte is written to, and removed from, every folder that the run will write to.

    Raises:
        UserError: there is no such image folder or weights file; a file where a folder must be, a folder where a file
            must be; a name that the system refuses, such as one that is too long; a model file of unknown format; a
            full or read-only disk.
    """
    if config.data_dir:
        check_image_folder(config.data_dir)
    if config.model == "transfer":
        config.weights_file()
    model = str(copy_path(config) or "")
    if model and Path(model).suffix not in MODEL_SUFFIXES:
        raise UserError(f"model_path must end in {' or '.join(MODEL_SUFFIXES)}, got {model!r}.")
    files = {"json_output_path": config.json_output_path, "model_path": model}
    folders = {"output_dir": config.output_dir, "figures_dir": config.figures_dir, "cache_dir": config.cache_dir}
    for name, value in (files | folders).items():
        if not value:
            continue
        if name in files and os.path.isdir(value):
            raise UserError(f"{name} must be a file, got {value!r}, which is a folder.")
        path = Path(value) if name in files else Path(value, RECORD_NAME)
        for folder in path.parents:
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise UserError(f"{name} must lie in a folder, but {str(folder)!r} is a file.")
        try:
            with suppress(FileNotFoundError):
                os.stat(f"{path}{MAX_SUFFIX}")
        except (OSError, ValueError) as error:
            raise UserError(f"{name} cannot be {value!r}: {getattr(error, 'strerror', None) or error}.") from None
    folders["cache_dir"] = cache_folder(config.cache_dir)
    folders |= {name: os.path.dirname(file) or "." for name, file in files.items() if file}
    for name, folder in folders.items():
        if folder:
            check_writable(name, folder)


def same_configuration(record: RunRecord, config: RunConfig) -> bool:
    """Return whether a run computes what ``config`` asks for. A log of other software has no fingerprint."""
    return bool(record.fingerprint) and identity(record.config) == identity(config)


def configuration_lock(config: RunConfig) -> FileLock:
    """Return the lock, not yet acquired, of the process that computes or reuses a run of this configuration.

    Like ``same_configuration``, it leaves out the options without effect: two commands that differ in them alone share
    one run.
    """
    digest = hashlib.sha256(repr(sorted(identity(config))).encode()).hexdigest()
    return lock(Path(config.output_dir) / f".{digest[:12]}", timeout=0)


def _resumes(record: RunRecord, config: RunConfig) -> bool:
    # A run on the original images of CIFAR-10 would discard what an interrupted one has learned from a copy of them.
    same_source = bool(record.config.get("data_dir")) == bool(config.data_dir)
    return record.status in RESUMABLE and same_configuration(record, config) and same_source


def _new_folder(root: Path, config: RunConfig) -> tuple[Path, FileLock]:
    """Make the run's folder, named by a number that counts up: unlike a time, it survives a clock that is set back."""
    start = config.preset if config.preset != "none" and config.dataset != "folder" else config.dataset_name
    start = printable(start).replace("\\", "_")[:MAX_NAME]  # Windows takes the backslash of an escape for a folder
    while True:
        numbers = [name.split("-")[0] for name in os.listdir(root)]
        number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
        folder = root / f"{number:04d}-{start}-{config.model}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # another process took this number
        run_lock = lock(folder / RECORD_NAME)
        run_lock.acquire()
        return folder, run_lock
