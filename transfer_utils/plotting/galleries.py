"""Images in rows: classes, augmented views, Mixup blends and wrong predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from transfer_utils.errors import UserError
from transfer_utils.plotting.style import DPI, MAX_LEGIBLE_CLASSES, WIDTH, canvas, draw_image, panels, sanitize, styled

TILE = 0.75  # inches: large enough to recognise an image of 32 px, small enough for eight in a row
MISTAKES_A_ROW = 6


@styled
def plot_class_grid(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], per_class: int = 8) -> Figure:
    """Draw the first images of each class, one row per class.

    Args:
        images: shape (n, height, width, 3), pixels in 0-255.
        labels: shape (n,), integers that index ``class_names``.
        class_names: one name per class; the first 20 classes are drawn.
        per_class: images per row; a class with fewer images leaves gaps.

    Raises:
        UserError: images of another shape or value range, or another number of labels.
    """
    images, labels = _pixels("images", images, 4), np.asarray(labels)
    _same_count("labels", labels, images)
    shown = [sanitize(name) for name in class_names[:MAX_LEGIBLE_CLASSES]]
    rows = [images[np.flatnonzero(labels == index)[:per_class]] for index in range(len(shown))]
    more = "" if len(shown) == len(class_names) else f" (the first {len(shown)} of {len(class_names)} classes)"
    return tiled(rows, row_names=shown, columns=per_class, title=f"Images of each class{more}")


@styled
def plot_augmented(images: np.ndarray, views: np.ndarray) -> Figure:
    """Draw images beside their augmented views: one row per image, the original first.

    Args:
        images: shape (n, height, width, 3), pixels in 0-255.
        views: shape (n, v, height, width, 3), pixels in 0-255.

    Raises:
        UserError: another shape or value range, or views of another number of images.
    """
    images, views = _pixels("images", images, 4), _pixels("views", views, 5)
    _same_count("views", views, images)
    names = ["original", *(f"view {number}" for number in range(1, views.shape[1] + 1))]
    return tiled(np.concatenate([images[:, None], views], axis=1), column_names=names, title="Augmented views")


@styled
def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    n: int = 12,
    *,
    label: str = "truth",
    title: str = "The wrong answers the model was surest of",
) -> Figure:
    """Draw the most confident wrong predictions, the most confident first, each with prediction and true class.

    Args:
        images: shape (m, height, width, 3), pixels in 0-255.
        labels: shape (m,), integers that index ``class_names``.
        probabilities: shape (m, classes).
        class_names: one name per class.
        n: maximum number of images.
        label: the word before the class that ``labels`` gives, such as ``label`` where it may be wrong.
        title: title of the figure if there is a wrong prediction.

    Raises:
        UserError: images of another shape or value range, or another number of labels or probabilities.
    """
    images, labels, probabilities = _pixels("images", images, 4), np.asarray(labels), np.asarray(probabilities)
    _same_count("labels", labels, images)
    _same_count("probabilities", probabilities, images)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:n]
    rows = max(1, -(-len(chosen) // MISTAKES_A_ROW))
    figure, grid = panels(WIDTH, 1.85 * rows + 0.5, rows, MISTAKES_A_ROW, title if len(chosen) else "No wrong answer")
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, chosen, strict=False):
        draw_image(axes, images[index])
        prediction, given = (sanitize(class_names[of], 12) for of in (predicted[index], labels[index]))
        text = f"{prediction}, {100 * confidence[index]:.0f} %\n{label}: {given}"
        axes.set_title(text, fontsize=8.5, fontweight="normal")
    return figure


@styled
def plot_blends(
    blends: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], labels: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Draw pairs of images and their Mixup blend, one column per pair, with the blended label below.

    Args:
        blends: for each pair the image, its partner and the blend, each of shape (side, side, 3) in 0-255.
        labels: shape (pairs, classes), the blended labels; each row sums to 1.
        class_names: one name per class.

    Raises:
        UserError: the number of labels differs from the number of pairs.
    """
    labels = np.asarray(labels)
    _same_count("labels", labels, blends, "blends")
    figure, grid = panels(1.5 * len(blends) + 1.0, 5.4, 3, len(blends), "Pairs of images and their Mixup blends")
    for column, pictures, label in zip(grid.T, blends, labels, strict=True):
        for axes, picture in zip(column, pictures, strict=True):
            draw_image(axes, np.asarray(picture, np.uint8))
        largest = [index for index in np.argsort(-label)[:2] if label[index]]
        parts = [f"{label[index]:.0%} {sanitize(class_names[index], 14)}" for index in largest]
        column[-1].set_xlabel("\n".join(parts), fontsize=9)
    for axes, name in zip(grid[:, 0], ("image", "partner", "blend"), strict=True):
        axes.set_ylabel(name)
    return figure


def tiled(
    rows: Sequence[np.ndarray],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    columns: int = 0,
    title: str = "",
) -> Figure:
    """Draw rows of images, each (n, height, width, 3) uint8, as one picture on white.

    One axes per image would take many times longer. A row has space for ``columns`` images, by default for as many as
    the first row has.
    """
    height, width = rows[0].shape[1:3]
    columns = columns or len(rows[0])
    gap = max(1, height // 16)  # between two images, in pixels
    sheet = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            down, across = row * (height + gap), column * (width + gap)
            sheet[down : down + height, across : across + width] = image
    left, top = 1.4 if row_names else 0.2, 0.3 + 0.2 * (bool(title) + bool(column_names))
    figure, axes = canvas(TILE * columns + left, TILE * len(rows) * height / width + top)
    # Images larger than their tiles are smoothed: left-out pixels would make their edges ragged.
    draw_image(axes, sheet, interpolation="antialiased" if width > TILE * DPI else "nearest")
    for axis, side, names in ((axes.yaxis, height, row_names), (axes.xaxis, width, column_names)):
        axis.set_ticks((side - 1) / 2 + (side + gap) * np.arange(len(names)), names)
    axes.xaxis.tick_top()
    axes.set_title(title)
    return figure


def _pixels(name: str, images: np.ndarray, dimensions: int) -> np.ndarray:
    """Return images as uint8; raise a ``UserError`` if they have another shape or value range."""
    images = np.asarray(images)
    if images.ndim != dimensions or images.shape[-1] != 3 or 0 in images.shape:
        shape = "(n, height, width, 3)" if dimensions == 4 else "(n, v, height, width, 3)"
        raise UserError(f"{name} must have shape {shape} and hold at least one image, got {images.shape}")
    if images.dtype == np.uint8:
        return images
    if 0 < images.max() <= 1 or images.min() < 0 or images.max() >= 256:
        raise UserError(f"{name} must have pixels in 0-255, got values from {images.min():.3g} to {images.max():.3g}")
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _same_count(name: str, values: Sequence, others: Sequence, other_name: str = "images") -> None:
    if len(values) != len(others):
        raise UserError(f"{name} must be as many as {other_name}, got {len(values)} and {len(others)}")
