"""The run record: one JSON file per run, the source of all tables, figures and dashboard pages.

Writing is strict: a schema, no NaN, and atomic replacement. Reading also accepts old logs, which have only ``config``,
``metrics``, ``timing_sec``, ``curves`` and ``confusion_matrix``. It leaves out the damaged parts of a record and names
them in ``notes``.
"""

from __future__ import annotations

import base64
import math
import os
import stat
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, field_validator

from transfer_utils.records.salvage import UnreadableRecord, by_stage, salvage, unreadable
from transfer_utils.utils.files import write_json
from transfer_utils.utils.text import finite_number, without_surrogates

RECORD_NAME = "run.json"
PRECISIONS = ("float32", "float16", "int8")  # of the LiteRT files of a run, by their names in its ``files``
SCHEMA = 1
MAX_RECORD_BYTES = 8 << 20  # a record of a long run takes tens of kilobytes
LEFT_OUT = "Left out of the record: "  # the notes on damaged parts start with it

Status = Literal["running", "completed", "failed", "diverged", "interrupted"]
STATUSES: tuple[Status, ...] = Status.__args__
RESUMABLE: tuple[Status, ...] = ("running", "interrupted", "failed")  # the same command continues such a run

# The first bad value of a list is enough to reject it; a report on each of a million would fill the memory.
Curve = Annotated[list[float | None], FailFast()]
Count = Annotated[int, Field(ge=0, le=2**53)]  # larger integers lose digits in JavaScript


class RunRecord(BaseModel):
    """The configuration, environment and results of one run.

    Attributes:
        fingerprint: ``RunConfig.fingerprint``; runs with the same fingerprint compute the same results.
        curves: one number per epoch, for each stage (``stage1``, ``stage2``, ``baseline``) and each quantity (``loss``,
            ``accuracy``, ``val_loss``, ``val_accuracy``, ``learning_rate``, ``seconds``). Accuracies are in [0, 1];
            losses are in nats, with the label smoothing of the run.
        metrics: accuracies and calibration errors (``*_ece``) in [0, 1], and losses in nats, of which only
            ``val_convex_loss`` has label smoothing; null if unavailable. ``val_end2end`` and ``test_end2end`` are the
            accuracies of the final model, ``*_low`` and ``*_high`` the bounds of a 95 % Wilson interval.
        timing_sec: seconds of a monotonic clock, per phase and in ``total``, summed over the sessions of a resumed run.
        peak_memory_mb: the most memory that the process held, in MiB, from its start to the end of each phase; of a
            resumed run the most in any session. Empty in records of older versions and of Windows.
        network: sizes of the network; ``weights_from`` is ``stage1`` if stage 2 was no better on validation than the
            weights it began with, which were kept, else ``stage2``. Records of older versions do not have it.
        source: the ``commit`` of the package and whether it was ``changed`` since; empty outside a git checkout.
        sessions: ``versions``, ``source`` and ``machine`` of each session of a resumed run after which any of them was
            another.
        inference: the number of ``images`` and the ``seconds`` of the timed predictions; empty if none were timed.
        confusion_matrix: counts on the test split; rows are true classes, columns are predicted classes.
        not_sure: the threshold of the answer "not sure", with what it does (see ``not_sure.describe_not_sure``), and
            that of each exported file, as ``threshold_int8``; empty in records of older versions.
        cross_validation: of a linear head on frozen features, where few images are held out: the number of ``images``,
            ``folds`` and ``repeats``, the ``accuracy`` and its Wilson interval ``low`` and ``high``; else empty. Where
            images that look alike were kept in one fold, also the number of ``different`` ones, for which it holds.
        test_correct: one bit per test image, packed and base64-encoded, to compare two runs image by image.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, validate_assignment=True)

    schema_version: int = SCHEMA
    run_id: str = ""
    fingerprint: str = ""
    status: Status = "completed"
    created: str = ""
    updated: str = ""
    command: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    dataset: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    network: dict[str, Any] = Field(default_factory=dict)
    curves: dict[str, dict[str, Curve]] = Field(default_factory=dict)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    timing_sec: dict[str, float | None] = Field(default_factory=dict)
    peak_memory_mb: dict[str, Count] = Field(default_factory=dict)
    inference: dict[str, float] = Field(default_factory=dict)
    source: dict[str, str | bool] = Field(default_factory=dict)
    sessions: Annotated[list[dict[str, Any]], FailFast()] = Field(default_factory=list)
    confusion_matrix: Annotated[list[Annotated[list[Count], FailFast()]], FailFast()] = Field(default_factory=list)
    per_class: Annotated[list[dict[str, Any]], FailFast()] = Field(default_factory=list)
    calibration: dict[str, Any] = Field(default_factory=dict)
    not_sure: dict[str, float | str | None] = Field(default_factory=dict)
    cross_validation: dict[str, int | float] = Field(default_factory=dict)
    test_correct: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    notes: Annotated[list[str], FailFast()] = Field(default_factory=list)
    error: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether the run had a GPU, so that its seconds say nothing of a CPU."""
        return bool(self.machine.get("gpus"))

    @property
    def images(self) -> dict[str, int]:
        """The number of images of each split, as far as the record names them."""
        images = self.dataset.get("images")
        known = images if isinstance(images, dict) else {}
        counts = {split: finite_number(known.get(split)) for split in ("train", "validation", "test")}
        return {split: int(number) for split, number in counts.items() if number is not None and number >= 0}

    @property
    def class_names(self) -> list[Any]:
        """The names of the classes in the order of the labels; empty if the record does not list them."""
        names = self.dataset.get("class_names")
        return names if isinstance(names, list) else []

    def bounded(self, metric: str) -> tuple[float | None, float | None, float | None]:
        """Return an accuracy such as ``val_end2end`` and the ends of its 95 % interval; None for what is missing."""
        stem = metric.removesuffix("_end2end")
        return self.metrics.get(metric), self.metrics.get(f"{stem}_low"), self.metrics.get(f"{stem}_high")

    @property
    def left_out(self) -> list[str]:
        """The damaged parts of the file that were left out when it was read."""
        return [note.removeprefix(LEFT_OUT) for note in self.notes if note.startswith(LEFT_OUT)]

    def precision_of(self, file_name: str) -> str:
        """Return the precision of a model that this run exported, by its file's name; empty for other files."""
        return next((kind for kind in PRECISIONS if self.files.get(kind) == file_name), "")

    def threshold_of(self, file_name: str) -> float | str | None:
        """Return the probability below which a model of this run, by its file's name, is "not sure"; 0 for never.

        Exported files have thresholds of their own; a Keras file of another name is taken for a copy of the model.
        """
        kind = self.precision_of(file_name)
        return self.not_sure.get(f"threshold_{kind}" if file_name.endswith(".tflite") else "threshold", 0.0)

    def class_notes(self, file_name: str) -> dict[str, Any]:
        """Return the content of ``<model>.classes.json`` for a model of this run, by its file's name."""
        return {"class_names": self.class_names, "not_sure_below": self.threshold_of(file_name)}

    @field_validator("curves", mode="before")
    @classmethod
    def _group_by_stage(cls, curves: Any) -> Any:
        return by_stage(curves)

    @field_validator("metrics", "timing_sec", mode="before")
    @classmethod
    def _keep_numbers(cls, values: Any) -> Any:
        """Replace every value that is not a number by None: an old log may contain text."""
        return {k: finite_number(value) for k, value in values.items()} if isinstance(values, dict) else values

    @field_validator("confusion_matrix")
    @classmethod
    def _check_rectangular(cls, rows: list[list[int]]) -> list[list[int]]:
        if len({len(row) for row in rows}) > 1:
            raise ValueError("rows must be of equal length")
        return rows

    def save(self, path: str | os.PathLike) -> None:
        """Set ``updated`` and write the record to ``path`` atomically; numbers that are not finite become null."""
        self.updated = timestamp()
        write_json(path, finite(self.model_dump()))


def save_results_as_json(results: RunRecord | dict[str, Any], path: str | os.PathLike) -> Path:
    """Write results to ``path`` as a run record, atomically; numbers that are not finite become null.

    Args:
        results: a record, or a dictionary with any of its fields (``config``, ``metrics``, ``timing_sec``, ...).

    Raises:
        UnreadableRecord: a field has a value of the wrong type.
    """
    try:
        record = results if isinstance(results, RunRecord) else RunRecord.model_validate(finite(results))
    except ValidationError as error:
        raise unreadable(error) from None
    record.save(path)
    return Path(path)


def read_record(path: str | os.PathLike) -> RunRecord:
    """Read one record or old log; ``notes`` names the parts that were left out because they are damaged.

    Raises:
        UnreadableRecord: not a regular file, too large, not a JSON object, or of an unknown status.
        FileNotFoundError: the file does not exist.
    """
    record, lost = salvage(_read_bounded(Path(path)), RunRecord.model_validate)
    record.notes += [LEFT_OUT + part for part in lost]
    return record


def finite(value: Any) -> Any:
    """Convert ``value`` to strict JSON types: lists and dictionaries, None for NaN and infinities, Unicode text.

    Python represents the undecodable bytes of a file name as lone surrogates; each becomes ``?``.
    """
    if isinstance(value, dict):
        return {without_surrogates(str(key)): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def pack_bits(correct: np.ndarray) -> str:
    """Pack a boolean array of shape (n,) into ceil(n / 8) bytes and encode them as base64."""
    return base64.b64encode(np.packbits(np.asarray(correct, bool)).tobytes()).decode("ascii")


def unpack_bits(text: str, n: int) -> np.ndarray:
    """Decode the output of ``pack_bits`` to a boolean array of shape (n,).

    Raises:
        UnreadableRecord: the text is not base64 or has fewer than ``n`` bits.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError as error:
        raise UnreadableRecord(f"test_correct is not base64: {error}") from None
    if 8 * packed.size < n:
        raise UnreadableRecord(f"test_correct must have at least {n} bits, got {8 * packed.size}")
    return np.unpackbits(packed, count=n).astype(bool)


def timestamp() -> str:
    """Return the current UTC time, such as ``2026-03-01T12:00:00Z``; the clock may jump, so never compute with it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _read_bounded(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer
        raise UnreadableRecord("not a regular file")
    if status.st_size > MAX_RECORD_BYTES:
        raise UnreadableRecord(f"{status.st_size} bytes; a record may have at most {MAX_RECORD_BYTES}")
    return path.read_bytes()
