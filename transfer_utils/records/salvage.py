"""Read a run record, or a file beside it, that may be damaged: keep what is intact, and name what was left out."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

MAX_NESTING = 32  # levels of lists and objects; a record has five
MAX_NUMBER = 1e30  # beyond any measurement; sums and squares of smaller numbers do not overflow
MAX_KEY = 40  # characters of a key in a reason
MAX_PASSES = 10  # of the validation; each removes every part that it finds invalid
FRACTIONS = ("_end2end", "_tta", "_low", "_high")  # how the names of accuracies and of their bounds end
ACCURACIES = ("accuracy", "val_accuracy")

Record = TypeVar("Record")
Location = tuple[str, ...]  # keys of nested dictionaries


class UnreadableRecord(ValueError):
    """A record, or a file or value that belongs to one, cannot be used; the message gives the reason."""


def salvage(content: bytes, validate: Callable[[dict[str, Any]], Record]) -> tuple[Record, list[str]]:
    """Read what is intact of a record in JSON, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Left out are numbers that are not finite or beyond ``MAX_NUMBER``, accuracies that are not fractions, and the
    smallest parts that ``validate`` rejects.

    Returns:
        The validated record, and a phrase for each part that was left out.

    Raises:
        UnreadableRecord: empty, not JSON, not an object, nested too deeply, of unknown status, or damaged throughout.
    """
    value, lost = _parse(content)
    if "curves" in value:
        value["curves"] = by_stage(value["curves"])
    lost += _remove_impossible(value)
    for _ in range(MAX_PASSES):
        try:
            return validate(value), lost
        except ValidationError as error:
            lost += _remove_invalid(value, error)
    raise UnreadableRecord("too many damaged parts")


def by_stage(curves: Any) -> Any:
    """Move the flat lists of an old log, ``{"accuracy": [...]}``, into one stage called ``training``."""
    if isinstance(curves, dict) and any(isinstance(value, list) for value in curves.values()):
        flat = {name: value for name, value in curves.items() if isinstance(value, list)}
        return {"training": flat} | {name: value for name, value in curves.items() if not isinstance(value, list)}
    return curves


def unreadable(error: ValidationError) -> UnreadableRecord:
    """Return the error for a record that cannot be used at all, with the first reason."""
    first = error.errors()[0]
    return UnreadableRecord(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _parse(content: bytes) -> tuple[dict[str, Any], list[str]]:
    """Parse a JSON object, with None for numbers that are not finite or too large; name the parts that lost some."""
    try:
        value = from_json(content.decode(json.detect_encoding(content)), allow_inf_nan=True)
    except ValueError as error:  # also if the bytes are in none of these encodings
        raise UnreadableRecord(f"not JSON: {error}" if content.strip() else "empty") from None
    if not isinstance(value, dict):
        raise UnreadableRecord(f"a record must be a JSON object, got {type(value).__name__}")
    lost: Counter[str] = Counter()
    value = _usable(value, "", lost, MAX_NESTING)
    return value, [f"{_count(n)} in {part}, not finite or beyond {MAX_NUMBER:g}" for part, n in lost.items()]


def _usable(value: Any, path: str, lost: Counter[str], levels: int) -> Any:
    """Copy a JSON value with None for each unusable number, which is counted in ``lost`` under its path."""
    if isinstance(value, list | dict) and levels == 0:
        raise UnreadableRecord(f"nested more than {MAX_NESTING} levels deep")
    if isinstance(value, dict):
        start = f"{path}." if path else ""
        return {key: _usable(item, start + key[:MAX_KEY], lost, levels - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_usable(item, path, lost, levels - 1) for item in value]
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:  # NaN is not smaller either
        lost[path] += 1
        return None
    return value


def _remove_impossible(value: dict[str, Any]) -> list[str]:
    """Set accuracies outside [0, 1], such as 92.28 for 92.28 %, to None; return a phrase for each part."""
    lost: Counter[str] = Counter()
    metrics, stages = value.get("metrics"), value.get("curves")
    for name, number in metrics.items() if isinstance(metrics, dict) else ():
        if name.endswith(FRACTIONS) and _is_impossible(number):
            metrics[name] = None
            lost[f"metrics.{name[:MAX_KEY]}"] += 1
    for stage, curves in stages.items() if isinstance(stages, dict) else ():
        for quantity in ACCURACIES if isinstance(curves, dict) else ():
            curve = curves.get(quantity)
            impossible = sum(map(_is_impossible, curve)) if isinstance(curve, list) else 0
            if impossible:
                curves[quantity] = [None if _is_impossible(number) else number for number in curve]
                lost[f"curves.{stage[:MAX_KEY]}.{quantity}"] += impossible
    return [f"{_count(n)} in {part}, not a fraction from 0 to 1" for part, n in lost.items()]


def _is_impossible(accuracy: Any) -> bool:
    return isinstance(accuracy, int | float) and not 0 <= accuracy <= 1


def _remove_invalid(value: dict[str, Any], error: ValidationError) -> list[str]:
    """Remove the parts of a record that an error is about; return a phrase for each.

    Raises:
        UnreadableRecord: the status is unknown, without which the record says nothing, or nothing can be removed.
    """
    reasons = {
        _damaged_part(value, problem["loc"]): problem["msg"]
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    }
    if () in reasons or ("status",) in reasons:
        raise unreadable(error)
    for path in reasons:
        container = value
        for key in path[:-1]:
            container = container.get(key, {})
        container.pop(path[-1], None)
    return [f"{'.'.join(key[:MAX_KEY] for key in path)}: {reason}" for path, reason in reasons.items()]


def _damaged_part(value: dict[str, Any], location: Sequence[str | int]) -> Location:
    """Return the path of the smallest part that contains a location; a list is one part."""
    path: list[str] = []
    container: Any = value
    for step in location:
        if not isinstance(container, dict) or step not in container:
            break
        path.append(step)
        container = container[step]
    return tuple(path)


def _count(n: int) -> str:
    return "a number" if n == 1 else f"{n} numbers"


@contextmanager
def reading_arrays(path: Path, what: str, max_bytes: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of an ``.npz`` file beside a record; any error in the block means that the file is damaged.

    Args:
        what: the content of the file, for the message.
        max_bytes: of all arrays together, checked before NumPy allocates what the file declares.

    Raises:
        UnreadableRecord: the file is damaged, too large, or not of this content.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > max_bytes:
            raise UnreadableRecord(f"{path}: {size} bytes of {what}; there may be at most {max_bytes}")
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        yield arrays
    except UnreadableRecord:
        raise
    except Exception as error:  # a damaged file can make zipfile and NumPy raise any exception
        raise UnreadableRecord(f"{path}: no {what} that can be read: {error}") from None
