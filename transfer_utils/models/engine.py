"""The inference engine: LiteRT with XNNPACK on a CPU, Keras on a GPU or where LiteRT is unavailable."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np

from transfer_utils.errors import UserError
from transfer_utils.models.litert import LiteRT, convert
from transfer_utils.utils import interrupts

# Small batches keep a batch's activations in the processor's cache; a GPU has no use for few images at a time.
LITERT_BATCH = 4
KERAS_BATCH = 64
GPU_BATCH = 512


class Engine:
    """Runs ``model`` on batches of images, without gradients.

    Args:
        model: takes (n, side, side, 3) pixels, 0-255, or feature maps; gives one tensor.
        kind: ``"litert"``, ``"keras"``, or ``"auto"``: LiteRT unless there is a GPU or LiteRT is unavailable.
        batch: the number of images per LiteRT call; a smaller last batch takes as long as a full one.
        maps: ``model`` takes feature maps (n, height, width, channels), float16 or float32, instead of pixels.

    Attributes:
        kind: the engine that runs, ``"litert"`` or ``"keras"``.
        shape: of one output, without the batch.

    Raises:
        UserError: ``kind`` is ``"litert"`` and LiteRT is unavailable.
    """

    def __init__(self, model: keras.Model, kind: str = "auto", batch: int = LITERT_BATCH, maps: bool = False):
        self.kind, _ = choose_engine(kind)
        self.shape = tuple(model.outputs[0].shape[1:])
        self._model = model
        self._run = LiteRT(convert(model, batch, maps=maps), maps) if self.kind == "litert" else None
        self._keras_batch = GPU_BATCH if gpus() else KERAS_BATCH

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs (n, ...) float32 for images (n, side, side, 3), uint8, or for feature maps."""
        if self._run:
            return self._run(images)
        outputs = []
        size = self._keras_batch
        for start in range(0, len(images), size):
            interrupts.raise_pending()
            # The last batch begins earlier instead of being smaller, for which Keras would trace the model again.
            first = max(0, min(start, len(images) - size))
            part = self._model.predict_on_batch(images[first : first + size])
            outputs.append(keras.ops.convert_to_numpy(part)[start - first :])
        return np.concatenate(outputs)


def choose_engine(kind: str) -> tuple[str, str]:
    """Return which engine runs here, and the reason.

    Raises:
        UserError: LiteRT is asked for and unavailable.
    """
    missing = litert_missing()
    if kind == "litert" and missing:
        raise UserError(f"engine must be 'keras' or 'auto' here, got 'litert': {missing}.")
    if kind != "auto":
        return kind, "as requested"
    if missing:
        return "keras", missing
    if gpus():
        return "keras", "there is a GPU"
    return "litert", "the fastest on a CPU"


def litert_missing() -> str:
    """Return why LiteRT cannot be used here; an empty string if it can."""
    if keras.backend.backend() != "tensorflow":
        return f"the converter needs the tensorflow backend of Keras, this is {keras.backend.backend()}"
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "ai-edge-litert has no wheel for this machine"
    return ""


def gpus() -> list[str]:
    """Return the names of the GPUs that Keras's backend sees."""
    if keras.backend.backend() == "torch":  # which Keras cannot list
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    try:
        return keras.distribution.list_devices("gpu")
    except RuntimeError:  # JAX on a machine that has none
        return []
