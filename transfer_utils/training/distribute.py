"""One run on several devices of a machine: each computes its share of every batch, and all take the same step.

Under ``tf.distribute``, Keras gives the whole batch of ``train_on_batch`` to every device: the step is right, but no
time is saved. ``shares`` splits the batch first.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

import keras
import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.networks import batch_norms


def devices(config: RunConfig) -> list[str]:
    """Return the names of the devices that share each batch; an empty list if the run is not distributed.

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
    """Return the context in which to build a network that will be trained, so that every device holds its weights."""
    names = devices(config)
    return _mirrored(*names).scope() if names else nullcontext()


def scope_of(model: keras.Model) -> AbstractContextManager:
    """Return the context in which ``model`` was built, for its optimizer and metrics."""
    return model.distribute_strategy.scope() if replicas(model) > 1 else nullcontext()


def replicas(model: keras.Model) -> int:
    """Return the number of devices that train ``model``; above 1 only with Keras's TensorFlow backend."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def spread(model: keras.Model, batch: tuple[np.ndarray, np.ndarray], strategy: str) -> None:
    """Prepare a compiled ``model`` for ``shares``; ``gather`` undoes it.

    Args:
        batch: inputs and labels, of which the first image is used.

    Raises:
        UserError: ``strategy`` asks for several devices, but the model was built for one.
    """
    if replicas(model) == 1:
        if strategy != "none":
            raise UserError(f"strategy {strategy!r} needs a model that was built in distribute.scope(config).")
        return
    # Keras creates the variables of loss and metrics at the first batch, which must not be split.
    model.test_on_batch(np.asarray(batch[0][:1], "float32"), batch[1][:1])
    for layer in batch_norms(model):
        layer.synchronized = layer.trainable


def shares(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple:
    """Return a batch as ``train_on_batch`` and ``test_on_batch`` take it: split if there are several devices.

    A batch that cannot be split evenly, such as the last of an epoch, goes to every device as a whole, because unequal
    shares would weight their images unequally.
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


def gather(model: keras.Model) -> None:
    """Turn synchronised BatchNorms back into plain ones, which every backend can load."""
    for layer in batch_norms(model):
        layer.synchronized = False


@functools.cache
def _mirrored(*names: str):
    """Return the strategy of these devices; always the same object, which a model and its optimizer must share."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def _logical_devices() -> list[str]:
    """Return the GPUs, or else the logical CPU devices: one, unless TensorFlow is configured for more."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in devices]
