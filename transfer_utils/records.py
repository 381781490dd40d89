"""The run record: one JSON file per run that tables, figures, notebooks and the dashboard are made from.

Writing is strict (schema, no NaN, atomic). Reading is tolerant of old logs, which hold only ``config``, ``metrics``,
``timing_sec``, ``curves`` and ``confusion_matrix``, and of nothing that is not plain finite JSON.
"""

from __future__ import annotations

import base64
import json
import math
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from transfer_utils.utils.files import write_json

RECORD_NAME = "run.json"
SCHEMA = 1
MAX_RECORD_BYTES = 8 << 20  # bytes; ours take tens of kilobytes
MAX_FOLDER_DEPTH = 3  # runs/<study>/<run>/run.json
MAX_NESTING = 32  # lists and objects inside each other; ours go five deep

Status = Literal["running", "completed", "failed", "diverged", "interrupted"]
STATUSES: tuple[Status, ...] = Status.__args__

Curve = list[float | None]
Count = Annotated[int, Field(ge=0, le=2**53)]  # what every reader of JSON keeps exactly


class RunRecord(BaseModel):
    """What one run was asked, what it ran on, and what came of it.

    Attributes:
        fingerprint: ``RunConfig.fingerprint``: runs that share it compute the same.
        curves: per stage (``stage1``, ``stage2``, ``baseline``), per quantity (``loss``, ``accuracy``, ``val_loss``,
            ``val_accuracy``, ``learning_rate``, ``seconds``), one number an epoch.
        metrics: fractions in [0, 1], losses in nats, or null; ``val_end2end`` and ``test_end2end`` are the accuracies
            of the final model, ``*_low`` and ``*_high`` the ends of a 95 % Wilson interval.
        timing_sec: seconds by a monotonic clock, per phase and in ``total``, summed over the sittings of a resumed run.
        confusion_matrix: counts on the test split, rows true, columns predicted, in the order of the class names.
        test_correct: one bit per test image, packed and base64, so that two runs can be compared image by image.
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
    confusion_matrix: list[list[Count]] = Field(default_factory=list)
    per_class: list[dict[str, Any]] = Field(default_factory=list)
    calibration: dict[str, Any] = Field(default_factory=dict)
    test_correct: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    error: str = ""

    @field_validator("curves", mode="before")
    @classmethod
    def _stages(cls, curves: Any) -> Any:
        """Put the flat lists of an old log, ``{"accuracy": [...]}``, under one stage called ``training``."""
        if isinstance(curves, dict) and any(isinstance(value, list) for value in curves.values()):
            flat = {name: value for name, value in curves.items() if isinstance(value, list)}
            staged = {name: value for name, value in curves.items() if isinstance(value, dict)}
            return {"training": flat, **staged}
        return curves

    @field_validator("metrics", "timing_sec", mode="before")
    @classmethod
    def _numbers(cls, values: Any) -> Any:
        """Keep what is a number; an old log may hold words beside them."""
        if not isinstance(values, dict):
            return values
        return {str(name): value if _is_number(value) else None for name, value in values.items()}

    @field_validator("confusion_matrix")
    @classmethod
    def _rectangular(cls, rows: list[list[int]]) -> list[list[int]]:
        if len({len(row) for row in rows}) > 1:
            raise ValueError("rows must be of equal length")
        return rows

    def save(self, path: str | os.PathLike) -> None:
        """Write the record to ``path`` in one step, stamped with the time; numbers that are not finite become null."""
        self.updated = timestamp()
        write_json(path, finite(self.model_dump()))


@dataclass
class Run:
    """A record that was read, and where from."""

    record: RunRecord
    path: Path

    @property
    def name(self) -> str:
        """The name of the run's folder, or of its file when it is a log that stands alone."""
        return _unicode(self.path.parent.name if self.path.name == RECORD_NAME else self.path.stem)

    @property
    def folder(self) -> Path:
        """The folder the record lies in."""
        return self.path.parent


@dataclass
class Listing:
    """The runs of a folder, in the order of their names, and the files that could not be read, with the reason."""

    runs: list[Run] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)


class UnreadableRecord(ValueError):
    """A file that is no run record; the message says why."""


def save_results_as_json(results: RunRecord | dict[str, Any], path: str | os.PathLike) -> Path:
    """Write results to ``path`` as a run record: atomic, strict JSON, null for every number that is not finite.

    Args:
        results: a record, or a dictionary with any of its keys (``config``, ``metrics``, ``timing_sec``, ...).

    Raises:
        UnreadableRecord: a key holds a value of the wrong type.
    """
    record = results if isinstance(results, RunRecord) else _validated(finite(results))
    record.save(path)
    return Path(path)


def read_record(path: str | os.PathLike) -> RunRecord:
    """Read one record or old log.

    Raises:
        UnreadableRecord: not a regular file, too large, not UTF-8, not strict JSON, too deep, or of the wrong types.
        FileNotFoundError: there is no such file (any more).
    """
    return _validated(_parse(_read_bounded(Path(path))))


def load_runs(folder: str | os.PathLike) -> Listing:
    """Read every record under ``folder``: ``<run>/run.json`` up to three folders down, and ``*.json`` logs beside them.

    Links that lead out of ``folder``, and files that are not regular (pipes, devices), are listed as unreadable and
    never opened. A file that vanishes while it is read is left out. A log that repeats a run's own record counts once.
    """
    root, listing = Path(folder), Listing()
    for path in _record_paths(root, listing.unreadable):
        if not _inside(path, root):
            listing.unreadable[path] = "a link that leads out of the runs folder"
            continue
        try:
            listing.runs.append(Run(_read_settled(path), path))
        except FileNotFoundError:
            continue
        except (UnreadableRecord, OSError) as error:
            listing.unreadable[path] = str(error)
    own = {run.record.run_id for run in listing.runs if run.path.name == RECORD_NAME}
    listing.runs = [run for run in listing.runs if run.path.name == RECORD_NAME or run.record.run_id not in own - {""}]
    return listing


def finite(value: Any) -> Any:
    """Return ``value`` as what strict JSON can hold: plain containers, null for NaN and infinities, Unicode text.

    A file name that is not UTF-8 reaches Python with half surrogate pairs in it; ``?`` stands for each of them.
    """
    if isinstance(value, dict):
        return {_unicode(str(key)): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def pack_bits(correct: np.ndarray) -> str:
    """Return a boolean array of shape (n,) as base64 text of ceil(n / 8) bytes."""
    return base64.b64encode(np.packbits(np.asarray(correct, bool)).tobytes()).decode("ascii")


def unpack_bits(text: str, n: int) -> np.ndarray:
    """Return the boolean array of shape (n,) that ``pack_bits`` wrote.

    Raises:
        UnreadableRecord: the text is not base64, or holds fewer than ``n`` bits.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError as error:
        raise UnreadableRecord(f"test_correct is not base64: {error}") from None
    if 8 * packed.size < n:
        raise UnreadableRecord(f"test_correct must hold at least {n} bits, got {8 * packed.size}")
    return np.unpackbits(packed, count=n).astype(bool)


def timestamp() -> str:
    """Return the time now in UTC, such as ``2026-03-01T12:00:00Z``: for reading only, never for durations or order."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _record_paths(root: Path, unreadable: dict[Path, str]) -> list[Path]:
    """List candidate files below ``root`` without following links to folders; note folders that cannot be listed."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            unreadable[Path(error.filename)] = str(error)

    found = []
    for folder, names, files in os.walk(root, onerror=note):
        here = Path(folder)
        depth = len(here.relative_to(root).parts)
        names[:] = sorted(name for name in names if not name.startswith(".")) if depth < MAX_FOLDER_DEPTH else []
        found += [here / name for name in files if name == RECORD_NAME or (depth == 0 and name.endswith(".json"))]
    return sorted(found)


def _inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # before Python 3.13: a link that leads to itself
        return False


def _read_settled(path: Path, attempts: int = 3) -> RunRecord:
    """Read a record that somebody else may be writing in place: try again before calling it unreadable."""
    for attempt in range(attempts):
        before = path.stat()
        try:
            return read_record(path)
        except UnreadableRecord:
            changed = time.time() - before.st_mtime < 1 or path.stat().st_mtime_ns != before.st_mtime_ns
            if attempt == attempts - 1 or not changed:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def _read_bounded(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe must not wait for a writer that never comes.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableRecord("not a regular file")
        if status.st_size > MAX_RECORD_BYTES:
            raise UnreadableRecord(f"{status.st_size} bytes; a record has at most {MAX_RECORD_BYTES}")
        return file.read(status.st_size)


def _parse(content: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise UnreadableRecord(f"{constant} is no JSON number")

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(text)

    try:
        value = json.loads(content.decode("utf-8"), parse_constant=refuse, parse_float=number)
    except UnicodeDecodeError:
        raise UnreadableRecord("not UTF-8 text") from None
    except RecursionError:
        raise UnreadableRecord("nested too deeply") from None
    except UnreadableRecord:
        raise
    except ValueError as error:
        raise UnreadableRecord(f"not JSON: {error}" if content.strip() else "empty") from None
    if not isinstance(value, dict):
        raise UnreadableRecord(f"a record is a JSON object, got {type(value).__name__}")
    _refuse_unwritable(value)
    return value


def _refuse_unwritable(value: Any, room: int = MAX_NESTING) -> None:
    """Refuse what ``json`` reads but no strict writer, terminal or page takes: deep nesting and broken Unicode."""
    if isinstance(value, str) and value != _unicode(value):
        raise UnreadableRecord("not Unicode text: half of a surrogate pair")
    if isinstance(value, list | dict):
        if room == 0:
            raise UnreadableRecord("nested too deeply")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _refuse_unwritable(item, room - 1)


def _validated(value: dict[str, Any]) -> RunRecord:
    try:
        return RunRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableRecord(f"{where}: {first['msg']}") from None


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
