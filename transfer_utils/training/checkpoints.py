"""All that the next epoch depends on, in one file: weights, moments, random states, best weights and counters."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.keras_private import callback_state, restore_callback

Curves = dict[str, list[float | None]]


def save_checkpoint(
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, path: Path | None
) -> None:
    """Write everything that the next epoch depends on, in one step; nothing where ``path`` is None.

    Args:
        callbacks: the first one is the ``EarlyStopping`` that holds the best weights.
    """
    if path is None:
        return
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
    arrays |= {f"b{i}": value for i, value in enumerate(callbacks[0].best_weights or [])}
    state = {"curves": curves, "callbacks": [callback_state(callback) for callback in callbacks]}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def restore_checkpoint(
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, path: Path | None
) -> int:
    """Restore what was saved and return the number of the next epoch.

    Returns 0, and restores nothing, where there is no checkpoint, or one that is damaged or of another network: the
    stage then starts again.
    """
    if path is None or not path.exists():
        return 0
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        state = json.loads(arrays["state"].tobytes())
        values = [arrays[f"v{i}"] for i in range(len(variables))]
        epochs = len(state["curves"]["loss"])
        fits = [value.shape for value in values] == [tuple(variable.shape) for variable in variables]
        fits = (
            fits
            and len(state["callbacks"]) == len(callbacks)
            and all(isinstance(counters, dict) and counters for counters in state["callbacks"])
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return 0
    if not fits:
        return 0
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    for callback, counters in zip(callbacks, state["callbacks"], strict=True):
        restore_callback(callback, counters)
    best = [arrays[f"b{i}"] for i in range(sum(name[0] == "b" for name in arrays))]
    callbacks[0].best_weights = best or None
    curves.update(state["curves"])
    return epochs


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, the state of random layers, and the optimizer's moments and step count."""
    return [*model.variables, *model.optimizer.variables]
