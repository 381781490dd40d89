"""One run over several devices of a machine: each works on its share of every batch, and all take the same step.

Under ``tf.distribute``, Keras gives a batch of ``train_on_batch`` to every device as a whole: the step is right, and no
time is saved. ``shares`` splits it first.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.networks import batch_norms


def devices(config: RunConfig) -> list[str]:
    """Return the names of the devices that share each batch; none where the run is not distributed.

    Raises:
        UserError: fewer than two devices, a batch that they cannot share evenly, or another backend than TensorFlow.
    """
    if config.strategy == "none":
        return []
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"strategy must be 'none' with the {keras.backend.backend()} backend, got {config.strategy!r}.")
    names = _logical_devices()
    if len(names) < 2:
        raise UserError(f"strategy must be 'none' with fewer than two GPUs, got {config.strategy!r}.")
    if config.batch_size % len(names):
        raise UserError(
            f"batch_size must be a multiple of {len(names)}, the number of devices of strategy {config.strategy!r}, "
            f"got {config.batch_size}."
        )
    return names


def scope(config: RunConfig) -> AbstractContextManager:
    """Return the context to build a network in that is to be trained: its weights then lie on every device."""
    names = devices(config)
    return _mirrored(*names).scope() if names else nullcontext()


def scope_of(model: keras.Model) -> AbstractContextManager:
    """Return the context that ``model`` was built in, for its optimizer and metrics."""
    return model.distribute_strategy.scope() if replicas(model) > 1 else nullcontext()


def replicas(model: keras.Model) -> int:
    """Return on how many devices ``model`` is trained; only Keras's TensorFlow backend knows more than one."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def start(model: keras.Model, batch: tuple[np.ndarray, np.ndarray], config_strategy: str) -> None:
    """Make a compiled ``model`` ready for ``shares``; ``finish`` ends that.

    Args:
        batch: inputs and labels, of which one is used.

    Raises:
        UserError: ``config_strategy`` asks for several devices, and the model was built for one.
    """
    if replicas(model) == 1:
        if config_strategy != "none":
            raise UserError(f"strategy {config_strategy!r} needs a model that was built in distribute.scope(config).")
        return
    # Keras makes the variables of loss and metrics at the first batch, and cannot from one that is split.
    model.test_on_batch(np.asarray(batch[0][:1], "float32"), batch[1][:1])
    for layer in batch_norms(model):
        layer.synchronized = layer.trainable


def shares(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple:
    """Return a batch as ``train_on_batch`` and ``test_on_batch`` take it: split, where there are several devices.

    One that cannot be split evenly, as the last of an epoch may be, goes to every device as a whole: unequal shares
    would weigh their images unequally.
    """
    n = replicas(model)
    if n == 1 or len(y) % n:
        return x, y
    import tensorflow as tf

    def split(whole: np.ndarray):
        parts = np.split(whole, n)
        return model.distribute_strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )

    return split(x), split(y)


def finish(model: keras.Model) -> None:
    """Let BatchNorm be the usual one again: what other backends could not load is not to be saved."""
    for layer in batch_norms(model):
        layer.synchronized = False


@functools.cache
def _mirrored(*names: str):
    """Return the strategy of these devices: one, since a model and its optimizer must share it."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def _logical_devices() -> list[str]:
    """Return the GPUs, or without any the CPU devices, of which there is one unless TensorFlow was told otherwise."""
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]
