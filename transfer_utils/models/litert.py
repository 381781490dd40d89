"""LiteRT: a Keras network as one file for XNNPACK, and what runs such a file."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transfer_utils.errors import UserError
from transfer_utils.utils.machine import available_cores

if TYPE_CHECKING:
    import keras
    from ai_edge_litert.interpreter import Interpreter


class LiteRT:
    """Runs a LiteRT file on all cores.

    Args:
        content: of a file whose one input is uint8 pixels (batch, side, side, 3) and whose one output is (batch, ...).
        maps: the input is a float32 feature map (batch, height, width, channels) instead.

    Attributes:
        side: of the images, in pixels.
        shape: of one output, without the batch.

    Raises:
        ValueError: damaged, or a network of other inputs and outputs.
    """

    def __init__(self, content: bytes, maps: bool = False):
        self._content, self._each = content, []
        self._whole = self._interpreter(available_cores())
        inputs, outputs = self._whole.get_input_details(), self._whole.get_output_details()
        shapes = [tuple(tensor["shape"].tolist()) for tensor in (*inputs, *outputs)]
        square = len(shapes[0]) == 4 and shapes[0][1] == shapes[0][2] and shapes[0][3] == 3
        types = [tensor["dtype"] for tensor in (*inputs, *outputs)]
        if not maps and (types != [np.uint8, np.float32] or not square or len(shapes[1]) < 2):
            found = ", ".join(f"{kind.__name__} {shape}" for kind, shape in zip(types, shapes, strict=True))
            raise ValueError(f"it takes and gives {found}, not square uint8 colour images and float32 numbers")
        self._source, self._target = inputs[0]["index"], outputs[0]["index"]
        self._taken, self._dtype = shapes[0], types[0]
        self.side, self.shape = shapes[0][1], shapes[1][1:]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs (n, ...) float32 for images (n, side, side, 3), uint8, or for feature maps."""
        results = np.empty((len(images), *self.shape), "float32")
        if len(images) <= self._taken[0]:
            self._run(self._whole, images, results)
            return results
        # Many batches: each core has its own, which is faster than all cores at work on one.
        self._each = self._each or [self._interpreter(1) for _ in range(available_cores())]
        parts = np.array_split(np.arange(len(images)), len(self._each))
        with ThreadPoolExecutor(len(self._each)) as pool:
            works = [
                pool.submit(self._run, interpreter, images[part], results[part[0] : part[-1] + 1])
                for interpreter, part in zip(self._each, parts, strict=True)
                if len(part)
            ]
            for work in works:
                work.result()
        return results

    def _interpreter(self, threads: int) -> Interpreter:
        from ai_edge_litert.interpreter import Interpreter

        with _native_log_unless_error():
            interpreter = Interpreter(model_content=self._content, num_threads=threads)
            interpreter.allocate_tensors()
        return interpreter

    def _run(self, interpreter: Interpreter, images: np.ndarray, results: np.ndarray) -> None:
        """Write the outputs for ``images`` into ``results``; the last batch is filled up with what is left over."""
        batch = np.zeros(self._taken, self._dtype)
        for i in range(0, len(images), len(batch)):
            part = images[i : i + len(batch)]
            batch[: len(part)] = part
            interpreter.set_tensor(self._source, batch)
            interpreter.invoke()
            results[i : i + len(part)] = interpreter.get_tensor(self._target)[: len(part)]


def load_exported(path: Path) -> LiteRT:
    """Open an exported model.

    Raises:
        UserError: no such file, damaged, or no classifier of images.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    try:
        model = LiteRT(path.read_bytes())
        model(np.zeros((1, model.side, model.side, 3), "uint8"))  # some damage shows only when it runs
    except ImportError:
        raise UserError("ai-edge-litert has no wheel for this machine; give the .keras file instead.") from None
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be loaded as a model: {str(error).splitlines()[0][:200]}") from None
    if len(model.shape) != 1:
        raise UserError(f"{path} must give probabilities, got the shape {model.shape}.")
    return model


def convert(
    model: keras.Model,
    batch_size: int,
    precision: str = "float32",
    calibration: np.ndarray | None = None,
    maps: bool = False,
) -> bytes:
    """Convert ``model`` to a LiteRT file that takes uint8 pixels (batch_size, side, side, 3) and gives float32.

    Args:
        precision: ``float32``; ``float16``, whose weights take half the room; or ``int8``, weights and activations in
            eight bits, with ranges that are measured on ``calibration``.
        maps: ``model`` takes float32 feature maps instead of pixels.
        calibration: uint8 (n, side, side, 3), a few hundred training images; needed for ``int8`` alone.
    """
    import keras
    import tensorflow as tf

    # As constants: with variables in the graph, the converter leaves resize and convolutions outside XNNPACK.
    constants = [(weight, tf.constant(keras.ops.convert_to_numpy(weight))) for weight in model.variables]

    taken = tf.TensorSpec((batch_size, *model.inputs[0].shape[1:]), tf.float32 if maps else tf.uint8)

    @tf.function(autograph=False, input_signature=[taken])
    def function(pixels: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope(state_mapping=constants):
            # The cast comes first: resized as uint8, pixels would be rounded twice.
            return model(tf.cast(pixels, tf.float32), training=False)

    with _native_log_unless_error():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            whole = len(calibration) // batch_size * batch_size
            converter.representative_dataset = lambda: (
                [calibration[i : i + batch_size]] for i in range(0, whole, batch_size)
            )
        return converter.convert()


@contextmanager
def _native_log_unless_error() -> Iterator[None]:
    """Hold back what native code writes to the error stream; show it when the block fails.

    The converter and XNNPACK report every session there, past Python and past TF_CPP_MIN_LOG_LEVEL.
    """
    absl, sys_stderr = logging.getLogger("absl"), 2
    level = absl.level
    absl.setLevel(logging.ERROR)
    kept = os.dup(sys_stderr)
    with warnings.catch_warnings(), tempfile.TemporaryFile() as held:
        warnings.simplefilter("ignore")
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
