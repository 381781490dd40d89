"""Predictions of a saved model for image files: the most likely classes with their probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from transfer_utils.config.options import MODEL_SUFFIXES
from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError
from transfer_utils.models.engine import Engine
from transfer_utils.models.litert import LiteRT, load_exported
from transfer_utils.models.saving import check_is_model, load_model, names_and_threshold

SUFFIXES = (*MODEL_SUFFIXES, ".tflite")
MAX_SIDE = 4096  # pixels; an image is enlarged to the side that the model takes

Classes = list[tuple[str, float]]  # pairs (class name, probability), most likely first


class Prediction(NamedTuple):
    """The answer of a model for one image.

    Attributes:
        best: the most likely classes with their probabilities.
        not_sure: whether the largest probability is below the threshold that was chosen on validation.
    """

    best: Classes
    not_sure: bool


def predict_images(
    model_path: Path, images: Iterable[Path], top: int = 3
) -> Iterator[tuple[Path, Prediction | UserError]]:
    """Yield the ``top`` most likely classes of each image, or the error if the image cannot be read.

    Images are cropped and resized like those of an image folder. The class names and the threshold of "not sure" come
    from the file of ``name_classes`` next to the model or from its run record; without either, the classes are numbered
    and every image gets an answer.

    Raises:
        UserError: the model cannot be loaded, or is not a classifier of square colour images.
    """
    classify, side = _classifier(model_path)
    n_classes = classify.shape[-1]
    names, threshold = names_and_threshold(model_path, n_classes)
    for path in images:
        try:
            if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
                raise UserError(f"{path} is a folder: name the images in it, such as {path}/*.jpg.")
            pixels = decode_image(path, side)
        except UserError as error:
            yield path, error
            continue
        probabilities = classify(pixels[None])[0]
        yield path, Prediction(top_classes(probabilities, names, top), bool(probabilities.max() < threshold))


def _classifier(path: Path) -> tuple[Engine | LiteRT, int]:
    """Return a function from uint8 images to probabilities, and the side in px that the images must have."""
    check_is_model(path, SUFFIXES)
    if path.suffix == ".tflite":
        model = load_exported(path)
        check_side(path, model.side)
        return model, model.side
    model = load_model(path)
    side = image_side(path, model)  # before the engine, whose message would be less plain
    return Engine(model, batch=1), side


def image_side(path: Path, model: keras.Model, limit: int = MAX_SIDE) -> int:
    """Return the side in px of the images that a loaded Keras model takes.

    Raises:
        UserError: it is not a classifier of square colour images, or takes larger ones than ``limit``.
    """
    shapes = [tensor.shape for tensor in (*model.inputs, *model.outputs)]
    side = shapes[0][1] if [len(shape) for shape in shapes] == [4, 2] else None
    if side is None or shapes[0] != (None, side, side, 3):
        raise UserError(f"{path} must map square colour images to probabilities, got the shapes {shapes}.")
    check_side(path, side, limit)
    return side


def check_side(path: Path, side: int, limit: int = MAX_SIDE) -> None:
    """Raise a ``UserError`` if a model takes images of more than ``limit`` pixels a side."""
    if side > limit:
        raise UserError(f"{path} is refused: it takes images of {side} pixels a side, and the limit is {limit}.")


def top_classes(probabilities: np.ndarray, names: list[str], top: int) -> Classes:
    """Return the ``top`` most likely classes for ``probabilities`` of shape (classes,), most likely first."""
    best = np.argsort(-probabilities, kind="stable")[:top]  # of equal ones the first, as argmax takes it
    return [(names[i], float(probabilities[i])) for i in best]
