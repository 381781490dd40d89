"""Convert Keras models to LiteRT files, and run such files with XNNPACK."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transfer_utils.errors import UserError
from transfer_utils.models.file_checks import first_line
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.text import format_bytes

if TYPE_CHECKING:
    import keras
    from ai_edge_litert.interpreter import Interpreter


MAX_TENSOR_BYTES = 1 << 30  # a network for pictures of 512 px has no tensor of a tenth of this

ONE_CAPTURE = threading.RLock()  # standard error is the process's: two threads at once would not restore it


class LiteRT:
    """A LiteRT model that runs on all cores.

    Args:
        content: of a file with one input, uint8 pixels (batch, side, side, 3), and one output, float32 (batch, ...).
        maps: the input is a float32 feature map (batch, height, width, channels) instead.

    Attributes:
        side: the side of the images in pixels; for feature maps, their height.
        shape: of one output, without the batch axis.

    Raises:
        ValueError: the file is damaged, declares a tensor of more than 1 GiB, or has other inputs or outputs.
        ImportError: ai-edge-litert is not available for this machine.
    """

    def __init__(self, content: bytes, maps: bool = False):
        self._content, self._per_core = content, []
        self._on_all_cores = self._interpreter(available_cores())
        inputs, outputs = self._on_all_cores.get_input_details(), self._on_all_cores.get_output_details()
        shapes = [tuple(tensor["shape"].tolist()) for tensor in (*inputs, *outputs)]
        square = len(shapes[0]) == 4 and shapes[0][1] == shapes[0][2] and shapes[0][3] == 3
        types = [tensor["dtype"] for tensor in (*inputs, *outputs)]
        if not maps and (types != [np.uint8, np.float32] or not square or len(shapes[1]) < 2):
            tensors = ", ".join(f"{kind.__name__} {shape}" for kind, shape in zip(types, shapes, strict=True))
            raise ValueError(f"its tensors must be square uint8 colour images and float32 outputs, got {tensors}")
        self._source, self._target = inputs[0]["index"], outputs[0]["index"]
        self._input_shape, self._input_dtype = shapes[0], types[0]
        self.side, self.shape = shapes[0][1], shapes[1][1:]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs (n, ...) float32 of images (n, side, side, 3) uint8, 0-255, or of feature maps."""
        results = np.empty((len(images), *self.shape), "float32")
        if len(images) <= self._input_shape[0]:
            self._run(self._on_all_cores, images, results)
            return results
        # Of several batches each core computes its own, which is faster than all cores at work on one.
        needed = min(available_cores(), -(-len(images) // self._input_shape[0]))
        self._per_core += [self._interpreter(1) for _ in range(needed - len(self._per_core))]
        parts = np.array_split(np.arange(len(images)), needed)
        with ThreadPoolExecutor(needed) as pool:
            futures = [
                pool.submit(self._run, interpreter, images[part], results[part[0] : part[-1] + 1])
                for interpreter, part in zip(self._per_core, parts, strict=False)
            ]
            for future in futures:
                future.result()
        return results

    def _interpreter(self, threads: int) -> Interpreter:
        from ai_edge_litert.interpreter import Interpreter

        with _native_log_unless_error():
            interpreter = Interpreter(model_content=self._content, num_threads=threads)
            for tensor in interpreter.get_tensor_details():
                size = math.prod(tensor["shape"].tolist()) * np.dtype(tensor["dtype"]).itemsize
                if size > MAX_TENSOR_BYTES:
                    raise ValueError(f"it declares a tensor of {format_bytes(size)}")
            interpreter.allocate_tensors()
        return interpreter

    def _run(self, interpreter: Interpreter, images: np.ndarray, results: np.ndarray) -> None:
        """Write the outputs of ``images`` into ``results``; the last batch is padded with whatever the array holds."""
        batch = np.zeros(self._input_shape, self._input_dtype)
        for i in range(0, len(images), len(batch)):
            part = images[i : i + len(batch)]
            batch[: len(part)] = part
            interpreter.set_tensor(self._source, batch)
            interpreter.invoke()
            results[i : i + len(part)] = interpreter.get_tensor(self._target)[: len(part)]


def load_exported(path: Path) -> LiteRT:
    """Open an exported model.

    Raises:
        UserError: the file does not exist, is damaged or no image classifier, or ai-edge-litert is unavailable.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    return open_content(path.read_bytes(), path)


def open_content(content: bytes, path: Path) -> LiteRT:
    """Open the content of an exported model; ``path`` names it in messages.

    Raises:
        UserError: it is damaged, or not an image classifier.
    """
    try:
        model = LiteRT(content)
        model(np.zeros((1, model.side, model.side, 3), "uint8"))  # some damage only shows when the model runs
    except ImportError:
        raise UserError(f"{path} needs ai-edge-litert, which this machine lacks: use the .keras file.") from None
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be loaded as a model: {first_line(error)}") from None
    if len(model.shape) != 1:
        raise UserError(f"{path} must return one row of probabilities per image, got the shape {model.shape}.")
    return model


def convert(
    model: keras.Model,
    batch_size: int,
    precision: str = "float32",
    calibration: np.ndarray | None = None,
    maps: bool = False,
) -> bytes:
    """Convert ``model`` to a LiteRT file that takes uint8 pixels (batch_size, side, side, 3) and returns float32.

    Args:
        model: takes pixels (n, side, side, 3), 0-255.
        batch_size: the fixed number of images per call.
        precision: ``float32``; ``float16``, which halves the size of the weights; or ``int8`` for weights and
            activations (post-training quantisation, Jacob et al. 2018, arXiv 1712.05877), whose ranges are measured on
            ``calibration``.
        calibration: uint8 (n, side, side, 3), 0-255, a few hundred training images, at least ``batch_size``; only full
            batches are used. Needed for ``int8`` alone.
        maps: ``model`` takes float32 feature maps instead of pixels.

    Returns:
        The content of the file.
    """
    import keras
    import tensorflow as tf

    # As constants, because with variables in the graph, resizing and convolutions would not run in XNNPACK.
    constants = [(weight, tf.constant(keras.ops.convert_to_numpy(weight))) for weight in model.variables]

    signature = tf.TensorSpec((batch_size, *model.inputs[0].shape[1:]), tf.float32 if maps else tf.uint8)

    @tf.function(autograph=False, input_signature=[signature])
    def function(pixels: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope(state_mapping=constants):
            # Cast before the model resizes the images: resizing uint8 pixels would round them twice.
            return model(tf.cast(pixels, tf.float32), training=False)

    with _native_log_unless_error():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            stop = len(calibration) // batch_size * batch_size  # full batches only
            converter.representative_dataset = lambda: (
                [calibration[i : i + batch_size]] for i in range(0, stop, batch_size)
            )
        return converter.convert()


@contextmanager
def _native_log_unless_error() -> Iterator[None]:
    """Capture what native code writes to standard error, and print it only if the block fails.

    The converter and XNNPACK write there directly, regardless of Python's logging and of TF_CPP_MIN_LOG_LEVEL.
    """
    absl, stderr = logging.getLogger("absl"), 2
    with ONE_CAPTURE, warnings.catch_warnings(), tempfile.TemporaryFile() as captured:
        warnings.simplefilter("ignore")
        level, original = absl.level, os.dup(stderr)
        absl.setLevel(logging.ERROR)
        os.dup2(captured.fileno(), stderr)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(original, captured.read())
            raise
        finally:
            os.dup2(original, stderr)
            os.close(original)
            absl.setLevel(level)
