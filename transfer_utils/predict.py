"""Predictions of a saved model for image files: the most likely classes with their probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from transfer_utils.config import MODEL_SUFFIXES
from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError
from transfer_utils.models.engine import Engine
from transfer_utils.models.litert import LiteRT, load_exported
from transfer_utils.models.saving import check_is_model, class_names, load_model

SUFFIXES = (*MODEL_SUFFIXES, ".tflite")
MAX_SIDE = 4096  # pixels; an image is enlarged to the side that the model takes

Prediction = list[tuple[str, float]]  # pairs (class name, probability), most likely first


def predict_images(
    model_path: Path, images: Iterable[Path], top: int = 3
) -> Iterator[tuple[Path, Prediction | UserError]]:
    """Yield the ``top`` most likely classes of each image, or the error if the image cannot be read.

    Images are cropped and resized like those of an image folder. The class names come from the file of ``name_classes``
    next to the model or from its run record; without either, the classes are numbered.

    Raises:
        UserError: the model cannot be loaded, or is not a classifier of square colour images.
    """
    classify, side = _classifier(model_path)
    names = class_names(model_path, classify.shape[-1])
    for path in images:
        try:
            if path.is_dir():
                raise UserError(f"{path} is a folder: name the images in it, such as {path}/*.jpg.")
            pixels = decode_image(path, side)
        except UserError as error:
            yield path, error
            continue
        yield path, top_classes(classify(pixels[None])[0], names, top)


def _classifier(path: Path) -> tuple[Engine | LiteRT, int]:
    """Return a function from uint8 images to probabilities, and the side in px that the images must have."""
    check_is_model(path, SUFFIXES)
    if path.suffix == ".tflite":
        model = load_exported(path)
        _check_side(path, model.side)
        return model, model.side
    model = load_model(path)
    side = image_side(path, model)  # before the conversion, which would fail on other models in ways of its own
    return Engine(model, batch=1), side


def image_side(path: Path, model: keras.Model) -> int:
    """Return the side in px of the images that a loaded Keras model takes.

    Raises:
        UserError: it is not a classifier of square colour images, or takes larger ones than ``MAX_SIDE``.
    """
    shapes, side = [tensor.shape for tensor in (*model.inputs, *model.outputs)], model.inputs[0].shape[1]
    if [len(shape) for shape in shapes] != [4, 2] or side is None or shapes[0] != (None, side, side, 3):
        raise UserError(f"{path} must map square colour images to probabilities, got the shapes {shapes}.")
    _check_side(path, side)
    return side


def _check_side(path: Path, side: int) -> None:
    if side > MAX_SIDE:
        raise UserError(f"{path} is refused: it takes images of {side} pixels a side, and the limit is {MAX_SIDE}.")


def top_classes(probabilities: np.ndarray, names: list[str], top: int) -> Prediction:
    """Return the ``top`` most likely classes for ``probabilities`` of shape (classes,), most likely first."""
    best = np.argsort(probabilities)[::-1][:top]
    return [(names[i], float(probabilities[i])) for i in best]
