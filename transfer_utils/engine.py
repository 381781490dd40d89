"""Run a network that does not learn, fast: LiteRT with XNNPACK on the CPU, or Keras where that serves better."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from transfer_utils.errors import UserError
from transfer_utils.machine import available_cores

# Small batches keep a batch's activations in the processor's cache.
LITERT_BATCH = 16
KERAS_BATCH = 64


class Engine:
    """Computes ``model`` on batches of images, without gradients.

    Args:
        model: takes (n, side, side, 3) pixels, 0-255; gives one tensor.
        kind: ``"litert"``, ``"keras"``, or ``"auto"``: LiteRT unless there is a GPU or it is not to be had.

    Attributes:
        kind: what runs, ``"litert"`` or ``"keras"``.
        reason: why, in a few words.
        shape: of one output, without the batch.
    """

    def __init__(self, model: keras.Model, kind: str = "auto"):
        self.kind, self.reason = choose_engine(kind)
        self.shape = tuple(model.outputs[0].shape[1:])
        self._model = model
        self._run = self._litert(model) if self.kind == "litert" else None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs (n, ...) float32 for images (n, side, side, 3), uint8."""
        if self._run is None:
            return np.concatenate(
                [
                    keras.ops.convert_to_numpy(self._model.predict_on_batch(images[i : i + KERAS_BATCH]))
                    for i in range(0, len(images), KERAS_BATCH)
                ]
            )
        results = np.empty((len(images), *self.shape), "float32")
        for i in range(0, len(images), LITERT_BATCH):
            batch = images[i : i + LITERT_BATCH]
            results[i : i + len(batch)] = self._run(batch)
        return results

    def _litert(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        interpreter = _interpreter(convert(model, LITERT_BATCH))
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        padded = np.zeros((LITERT_BATCH, *model.inputs[0].shape[1:]), "uint8")

        def run(batch: np.ndarray) -> np.ndarray:
            padded[: len(batch)] = batch
            interpreter.set_tensor(source, padded)
            interpreter.invoke()
            return interpreter.get_tensor(target)[: len(batch)]

        return run


def choose_engine(kind: str) -> tuple[str, str]:
    """Return which engine runs here and why.

    Raises:
        UserError: LiteRT was asked for and is not to be had.
    """
    missing = _litert_missing()
    if kind == "litert" and missing:
        raise UserError(f"engine must be 'keras' or 'auto' here, got 'litert': {missing}.")
    if kind != "auto":
        return kind, "as asked"
    if missing:
        return "keras", missing
    if _has_gpu():
        return "keras", "there is a GPU"
    return "litert", "the fastest on a CPU"


def convert(model: keras.Model, batch_size: int) -> bytes:
    """Convert ``model`` to a LiteRT file that takes uint8 pixels (batch_size, side, side, 3) and gives float32."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = tf.TensorSpec((batch_size, *model.inputs[0].shape[1:]), tf.uint8)
    # The cast comes first: resized as uint8, pixels would be rounded twice.
    function = tf.function(lambda pixels: model(tf.cast(pixels, tf.float32), training=False))
    with _native_log_unless_error():
        # Frozen first: with variables in the graph, the converter leaves resize and convolutions outside XNNPACK.
        frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
        # Without the model beside the graph: the file is the same, and the conversion takes a tenth of the time.
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with _native_log_unless_error():
        interpreter = Interpreter(model_content=content, num_threads=available_cores())
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _native_log_unless_error() -> Iterator[None]:
    """Hold back what native code writes to the error stream; show it when the block fails.

    The converter and XNNPACK report every session there, past Python and past TF_CPP_MIN_LOG_LEVEL.
    """
    absl, sys_stderr = logging.getLogger("absl"), 2
    level = absl.level
    absl.setLevel(logging.ERROR)
    kept = os.dup(sys_stderr)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), sys_stderr)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, sys_stderr)
            os.close(kept)
            absl.setLevel(level)


def _litert_missing() -> str:
    if keras.backend.backend() != "tensorflow":
        return f"the converter needs the tensorflow backend of Keras, this is {keras.backend.backend()}"
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "ai-edge-litert has no wheel for this machine"
    return ""


def _has_gpu() -> bool:
    return bool(keras.distribution.list_devices("gpu"))
