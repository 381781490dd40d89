"""A saved model on images of any kind: the likeliest classes and their probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError
from transfer_utils.models.engine import Engine
from transfer_utils.models.litert import LiteRT, load_exported
from transfer_utils.models.saving import class_names, load_model

Answer = list[tuple[str, float]]


def predict_images(model_path: Path, images: Iterable[Path], top: int = 3) -> Iterator[tuple[Path, Answer | UserError]]:
    """Yield for each image its ``top`` likeliest classes with probabilities, or the error that it could not be read.

    Images are cut and resized as those of an image folder are. Class names come from the run record beside the model,
    or from what ``name_classes`` wrote beside it; without either the classes are numbered.

    Raises:
        UserError: the model cannot be loaded, or takes something else than images.
    """
    classify, side = _classifier(model_path)
    names = class_names(model_path, classify.shape[-1])
    for path in images:
        try:
            pixels = decode_image(path, side)
        except UserError as error:
            yield path, error
            continue
        yield path, top_classes(classify(pixels[None])[0], names, top)


def _classifier(path: Path) -> tuple[Engine | LiteRT, int]:
    """Return what gives the probabilities of uint8 images, and the side that they must have."""
    if path.suffix == ".tflite":
        model = load_exported(path)
        return model, model.side
    model = load_model(path)
    shapes, side = [tensor.shape for tensor in (*model.inputs, *model.outputs)], model.inputs[0].shape[1]
    if [len(shape) for shape in shapes] != [4, 2] or side is None or shapes[0] != (None, side, side, 3):
        raise UserError(f"{path} must take square colour images and give probabilities, got the shapes {shapes}.")
    return Engine(model, batch=1), side


def top_classes(probabilities: np.ndarray, names: list[str], top: int) -> Answer:
    """Return the ``top`` likeliest classes of probabilities (classes,), best first."""
    best = np.argsort(probabilities)[::-1][:top]
    return [(names[i], float(probabilities[i])) for i in best]
