"""All that the next epoch depends on, in one file: weights, moments, random states, best weights and counters."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from transfer_utils.utils.files import write_bytes

Curves = dict[str, list[float | None]]


def save_checkpoint(
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, path: Path | None
) -> None:
    """Write everything that the next epoch depends on, in one step."""
    if path is None:
        return
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
    arrays |= {f"b{i}": value for i, value in enumerate(callbacks[0].best_weights or [])}
    state = {"curves": curves, "callbacks": [_counters(callback) for callback in callbacks]}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def restore_checkpoint(
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, path: Path | None
) -> int:
    """Bring back what was saved and return the number of the next epoch; 0 where there is nothing to resume."""
    if path is None or not path.exists():
        return 0
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        state = json.loads(arrays["state"].tobytes())
        values = [arrays[f"v{i}"] for i in range(len(variables))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return 0  # on a disk that lost a part of it: start this stage again
    shapes = [tuple(variable.shape) for variable in variables]
    if [value.shape for value in values] != shapes or len(state["callbacks"]) != len(callbacks):
        return 0  # written by another version of the libraries
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    best = [arrays[f"b{i}"] for i in range(sum(name[0] == "b" for name in arrays))]
    for callback, counters in zip(callbacks, state["callbacks"], strict=True):
        vars(callback).update(counters)
    callbacks[0].best_weights = best or None
    curves.update(state["curves"])
    return len(curves["loss"])


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, the state of random layers, and the optimizer's moments and step count."""
    return [*model.variables, *model.optimizer.variables]


def _counters(callback: keras.callbacks.Callback) -> dict[str, float | int | None]:
    """Return what a callback counts: its public attributes that are plain numbers.

    Without ``min_delta``, whose sign Keras turns round at the first epoch of every sitting.
    """
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
        if not name.startswith("_")
        and name != "min_delta"
        and (value is None or isinstance(value, int | float | np.generic))
    }
