"""Split images and labels into training, validation and test sets."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.data.checks import check_class_sizes, copies, imbalance, missing_classes
from transfer_utils.data.dataset import Dataset, Split, images_per_class
from transfer_utils.data.image_store import ImageStore
from transfer_utils.data.sources import Source, load_source
from transfer_utils.errors import UserError
from transfer_utils.utils.progress import Progress

TEST_SHARE = 0.2  # of the images of a folder without a test split


def load_and_prepare_data(config: RunConfig | None = None, **options: Any) -> tuple[np.ndarray, ...]:
    """Load a dataset into memory, ready to fit: ``X_train, y_train, X_val, y_val, X_test, y_test``.

    Args:
        config: options of the dataset; by default those of ``RunConfig()``, all of CIFAR-10.
        options: options by name, which override those of ``config``.

    Returns:
        For each split, images float32 (n, side, side, 3) in [0, 1] and one-hot labels float32 (n, n_classes).
        CIFAR-10 takes 740 MB; ``load_dataset`` leaves it on disk.

    Raises:
        UserError: as in ``load_dataset``, or an option is unknown.
    """
    options = {**(config.model_dump(exclude={"preset"}) if config else {}), **options}
    dataset = load_dataset(preset("none", **options))
    arrays: list[np.ndarray] = []
    for split in (dataset.train, dataset.validation, dataset.test):
        arrays += preprocess_data(split.take(), split.labels, len(dataset.class_names))
    return tuple(arrays)


def preprocess_data(X: np.ndarray, y: np.ndarray, n_classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scale pixels from 0-255 to [0, 1] and one-hot encode labels.

    Args:
        X: images, (n, height, width, 3), 0-255.
        y: integer labels, (n,), or (n, 1) as in ``keras.datasets``.
        n_classes: width of the one-hot labels; by default the largest label plus one.

    Returns:
        Images float32 (n, height, width, 3) in [0, 1]; labels float32 (n, n_classes).

    Raises:
        UserError: as in ``check_images_and_labels``.
    """
    labels = check_images_and_labels(X, y, n_classes)
    if n_classes is None:
        n_classes = int(labels.max()) + 1
    return np.divide(X, np.float32(255), dtype=np.float32), np.eye(n_classes, dtype=np.float32)[labels]


def check_images_and_labels(images: np.ndarray, labels: np.ndarray, n_classes: int | None = None) -> np.ndarray:
    """Check that images are RGB pixels of 0-255 with one valid label each; return the labels, int64 (n,).

    Raises:
        UserError: a shape is wrong, there are no images, the numbers of images and labels differ, labels are not
            integers from 0 to n_classes - 1, or pixels are outside 0-255 or already scaled to [0, 1] or [-1, 1].
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images must have the shape (n, height, width, 3), got {images.shape}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"labels must be integers of shape (n,), got {labels.dtype} of shape {labels.shape}.")
    if len(images) != len(labels):
        raise UserError(f"There must be one label for each image, got {len(images)} images and {len(labels)} labels.")
    if not len(images):
        raise UserError("There must be at least one image, got none.")
    largest = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    wrong = labels[(labels < 0) | (labels > largest)]
    if len(wrong):
        limits = "0 or more" if n_classes is None else f"from 0 to {largest}"
        raise UserError(f"labels must be {limits}, got {wrong[0]} ({len(wrong)} of {len(labels)} labels are outside).")
    if images.dtype != np.uint8:  # uint8 cannot be out of range, and a memory-mapped array need not be read
        _check_pixels(images)
    return labels.astype(np.int64)


def load_dataset(config: RunConfig, progress: Progress | None = None) -> Dataset:
    """Load the dataset of ``config`` and split it, stratified by class and seeded by ``config.seed``.

    ``cifar10`` is read from ``data_dir`` or downloaded, ``folder`` is read from ``data_dir``, and ``photo-digits`` is
    rendered, with the same test split for every seed. Without a test split, a fifth of the training images becomes one;
    without a validation split, ``validation_share`` of those that remain does. ``labels_per_class`` then reduces the
    training split as ``draw_labels`` does; validation and test stay complete.

    Args:
        progress: called with a description, the number done and the total while images are prepared.

    Raises:
        UserError: the image folder is missing or unusable, a class has too few images to split, or CIFAR-10 is neither
            cached nor available; then the message explains how to get it.
    """
    source = load_source(config, progress)
    for part in source.parts.values():
        check_images_and_labels(part.images, part.labels, len(source.class_names))
    train, validation, test = _splits(source, config.validation_share, config.seed)
    notes = source.notes + missing_classes(source.class_names, train=train, validation=validation, test=test)
    if config.labels_per_class:
        train, short_note = _fewer_labels(train, config.labels_per_class, config.seed, source.class_names)
        notes += short_note
    if config.dataset == "folder":
        notes += imbalance(source.class_names, train) + copies(train, validation=validation, test=test)
    return Dataset(
        name=config.dataset_name,
        description=source.description,
        class_names=source.class_names,
        train=train,
        validation=validation,
        test=test,
        fingerprint=_fingerprint(source, train, validation, test),
        n_skipped=sum(len(part.skipped_at) for part in source.parts.values()),
        skipped=[line for part in source.parts.values() for line in part.skipped],
        notes=notes,
    )


def draw_labels(labels: np.ndarray, per_class: int, seed: int, draw: int = 0) -> np.ndarray:
    """Draw ``per_class`` images of each class, or all images of a smaller class.

    Draws are nested: for one seed and draw, a smaller ``per_class`` gives a subset of what a larger one gives.

    Args:
        labels: int (n,).
        draw: another number gives another random order.

    Returns:
        The sorted positions of the images, int64 (m,).
    """
    chosen = []
    for label in np.unique(labels):
        # One generator per class, so that the draw of a class does not depend on the other classes.
        order = np.random.default_rng([seed, label, draw]).permutation(np.flatnonzero(labels == label))
        chosen.append(order[:per_class])
    return np.sort(np.concatenate(chosen))


def whole_split(part: ImageStore) -> Split:
    """Return all images of a part of a source as one split."""
    return Split(part.images, part.labels, np.arange(len(part.labels)), part.sha256, part.files)


def split_stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide images at random into two stratified parts, the second with ``share`` of them.

    Both parts have at least as many images as there are classes, however small the share.

    Args:
        labels: int (n,); each class has at least two images.

    Returns:
        The positions of the images of both parts, int (m,) and (n - m,).
    """
    from sklearn.model_selection import train_test_split  # importing scikit-learn takes a second

    n = len(labels)
    size = held_out_size(n, share, len(np.unique(labels)))
    rest, held_out = train_test_split(np.arange(n), test_size=size, random_state=seed, stratify=labels)
    return rest, held_out


def held_out_size(n: int, share: float, n_classes: int) -> int:
    """Return how many of ``n`` images the second part of ``split_stratified`` gets."""
    return min(max(math.ceil(share * n), n_classes), n - n_classes)


def _check_pixels(images: np.ndarray) -> None:
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise UserError(f"images must hold numbers, got {images.dtype}.")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError("images must hold finite numbers, got NaN or an infinity.")
    if np.issubdtype(images.dtype, np.floating) and low >= -1 and high <= 1:
        raise UserError(
            f"images must hold pixels of 0 to 255, got values from {low:g} to {high:g}: they seem to be "
            f"scaled to {'[0, 1]' if low >= 0 else '[-1, 1]'} already. preprocess_data or the model scales them; "
            "scaled twice, all images look almost black to the network. Pass unscaled pixels."
        )
    if low < 0 or high > 255:
        raise UserError(f"images must hold pixels of 0 to 255, got values from {low:g} to {high:g}.")


def _splits(source: Source, validation_share: float, seed: int) -> tuple[Split, Split, Split]:
    splits = {name: whole_split(part) for name, part in source.parts.items()}
    train, validation, test = splits["train"], splits.get("validation"), splits.get("test")
    # Each class needs one image to train on and one for every split that is still to be made.
    check_class_sizes(source, ["training", *["validation"] * (validation is None), *["test"] * (test is None)])
    if test is None:
        train, test = _hold_out(train, TEST_SHARE, seed)
    if validation is None:
        train, validation = _hold_out(train, validation_share, seed)
    else:
        # A folder lists its images class by class, but the first images must represent the whole split.
        rng = np.random.default_rng(seed)
        train, validation = (split.part(rng.permutation(len(split))) for split in (train, validation))
    return train, validation, test


def _hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    rest, held_out = split_stratified(split.labels, share, seed)
    return split.part(rest), split.part(held_out)


def _fewer_labels(train: Split, per_class: int, seed: int, class_names: list[str]) -> tuple[Split, list[str]]:
    counts = images_per_class(train.labels, len(class_names))
    short = [f"{name!r} ({n})" for name, n in zip(class_names, counts, strict=True) if n < per_class]
    note = f"labels_per_class is {per_class}; all images are kept of the smaller classes {', '.join(short)}."
    return train.part(draw_labels(train.labels, per_class, seed)), [note] if short else []


def _fingerprint(source: Source, *splits: Split) -> str:
    parts = [part.sha256 for part in source.parts.values()]
    indices = [hashlib.sha256(split.index.astype("<i8").tobytes()).hexdigest() for split in splits]
    return hashlib.sha256(json.dumps([source.class_names, parts, indices]).encode()).hexdigest()
