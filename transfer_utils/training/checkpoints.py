"""All that the next epoch depends on, in one file: weights, moments, random states, best weights and counters."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.keras_private import callback_state, restore_callback
from transfer_utils.utils.text import finite_number

Curves = dict[str, list[float | None]]

CURVES = ("loss", "accuracy", "learning_rate", "val_loss", "val_accuracy", "seconds")


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
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, path: Path
) -> int:
    """Restore what was saved and return the number of the next epoch.

    Returns 0, and restores nothing, if the checkpoint is damaged or of another network: the stage then starts again.
    Everything is checked first, because a stage that is half restored would train on nonsense.
    """
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        state = json.loads(arrays.pop("state").tobytes())
        values = [arrays.pop(f"v{i}") for i in range(len(variables))]
        best = [arrays.pop(f"b{i}") for i in range(len(arrays))]
        fits = _fit(values, variables) and (not best or _fit(best, model.weights))
        epochs = _epochs_of(state["curves"])
        pairs = list(zip(callbacks, state["callbacks"], strict=True))
        fits = fits and all(_counts_of(callback, counters) for callback, counters in pairs)
    except Exception:  # NumPy, zipfile and json raise many types of exceptions for a damaged file
        return 0
    if not fits or not epochs:
        return 0
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    for callback, counters in pairs:
        restore_callback(callback, counters)
    callbacks[0].best_weights = best or None
    curves.update(state["curves"])
    return epochs


def _fit(values: list[np.ndarray], variables: list[keras.Variable]) -> bool:
    """Return whether arrays have the types and shapes of these variables."""
    kinds = [(str(value.dtype), value.shape) for value in values]
    return kinds == [(variable.dtype, tuple(variable.shape)) for variable in variables]


def _epochs_of(curves: Any) -> int:
    """Return the number of epochs of complete curves of finite numbers, or 0."""
    lengths = {len(curves[name]) for name in CURVES}
    finite = all(finite_number(value) is not None for name in CURVES for value in curves[name])
    return lengths.pop() if finite and len(lengths) == 1 and set(curves) == set(CURVES) else 0


def _counts_of(callback: keras.callbacks.Callback, counters: Any) -> bool:
    """Return whether these are the counters of this kind of callback; what it has not counted yet is None."""
    now = callback_state(callback)
    counted = {name for name, value in now.items() if value is not None}
    return counted <= set(counters) <= set(now) and all(
        isinstance(value, int | float) or (value is None and now[name] is None) for name, value in counters.items()
    )


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, the state of random layers, and the optimizer's moments and step count."""
    return [*model.variables, *model.optimizer.variables]
