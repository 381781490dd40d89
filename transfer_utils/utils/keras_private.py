"""Workarounds that use private parts of Keras; check these first when Keras changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.legacy.saving import legacy_h5_format

if TYPE_CHECKING:
    import h5py


UNINITIALISED = "uninitialized_variables"


def save_h5(model: keras.Model, file: h5py.File) -> None:
    """Write ``model`` into an open HDF5 file.

    ``model.save`` takes a path only: https://github.com/keras-team/keras/issues/14411.
    """
    legacy_h5_format.save_model_to_hdf5(model, file)


@contextmanager
def without_memory() -> Iterator[None]:
    """Give the variables that are made in the block their shapes, but no memory: such a model can only be looked at.

    Weights that are loaded must fit these shapes. Keras would allocate the variables when the next scope ends, so they
    are taken off its list. We found no request for such a scope among the issues of Keras.
    """
    pending = list(global_state.get_global_attribute(UNINITIALISED, []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(UNINITIALISED, pending)


def skip_gradient_sum(optimizer: keras.optimizers.Optimizer) -> None:
    """Leave out the sum of gradients over devices, of which there is one.

    TensorFlow never frees a graph in which the sum was traced: https://github.com/keras-team/keras/pull/19969 put it
    into every step, whether there is anything to sum or not.
    """
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars


def trace_once(model: keras.Model) -> None:
    """Make TensorFlow trace a step of training and one of validation once each, for batches of every size.

    Keras's own functions are traced again for the last batch of an epoch, which is smaller: for the tail of a
    MobileNetV2, that takes longer than many epochs on few images. TensorFlow treated the same in
    ``train_on_batch`` as a regression: https://github.com/tensorflow/tensorflow/issues/38742.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec(tensor.shape, tf.float32) for tensor in (model.inputs[0], model.outputs[0])]

    def traced(step: Callable) -> Callable:
        function = tf.function(lambda x, y: step((x, y)), input_signature=signature, autograph=False)
        # TensorFlow counts the traces by source line, and would warn where several networks are trained.
        function._omit_frequent_tracing_warning = True
        return lambda batches: function(*next(batches)[:2])

    model.train_function, model.test_function = traced(model.train_step), traced(model.test_step)


def callback_state(callback: keras.callbacks.Callback) -> dict[str, float | int | None]:
    """Return what a Keras callback counts, its public attributes that are plain numbers, so that it can be resumed.

    Callbacks have no interface for this: https://github.com/keras-team/keras/issues/14862. ``min_delta`` is left out,
    because Keras flips its sign at the first epoch.
    """
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
        if not name.startswith("_")
        and name != "min_delta"
        and (value is None or isinstance(value, int | float | np.generic))
    }


def restore_callback(callback: keras.callbacks.Callback, state: dict[str, float | int | None]) -> None:
    """Set the counters of a callback to what ``callback_state`` returned."""
    vars(callback).update(state)
