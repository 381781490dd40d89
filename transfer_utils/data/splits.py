"""Images and labels in, splits out.

Pixels stay uint8 and, but for the embedded task, on disk: a split is a list of positions in a memory-mapped array.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transfer_utils.config import RunConfig, preset
from transfer_utils.data.image_store import ImageStore
from transfer_utils.data.sources import Source, load_source
from transfer_utils.errors import UserError
from transfer_utils.utils.progress import Progress

TEST_SHARE = 0.2  # of a folder that has no test split


@dataclass(frozen=True)
class Split:
    """Some images of a store, with their labels.

    Attributes:
        store: uint8 (n_stored, side, side, 3), 0-255 RGB; often memory-mapped: read it through ``take``.
        labels: int64 (n,), one for each image of the split.
        index: int64 (n,), where in the store each image of the split is.
        store_sha256: checksum of the store, where it is known.
    """

    store: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    store_sha256: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256, 64 hex digits, of the images of the split in their order; what a cache of them is kept by."""
        digest = hashlib.sha256((self.store_sha256 or hashlib.sha256(self.take().tobytes()).hexdigest()).encode())
        digest.update(self.index.astype("<i8").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.index)

    def take(self, positions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a copy of the images at these positions of the split, uint8 (m, side, side, 3); all by default."""
        return self.store[self.index[positions]]

    def part(self, positions: np.ndarray) -> Split:
        """Return the split that holds only the images at these positions; no pixel is read."""
        return Split(self.store, self.labels[positions], self.index[positions], self.store_sha256)


@dataclass(frozen=True)
class Dataset:
    """Images in three splits that share no image.

    Attributes:
        name: the word that files and tables use, such as ``cifar10``.
        description: what a caption says, such as ``CIFAR-10, JPEG copy``.
        class_names: in the order of the labels.
        train, validation, test: the splits; the test split is for the final evaluation only.
        fingerprint: SHA-256 of pixels, labels, class names and splits, 64 hex digits.
        n_skipped: files that could not be decoded.
        skipped: the first ten of them in each split, each with the reason.
        notes: sentences about what was skipped, left out or is missing.
    """

    name: str
    description: str
    class_names: list[str]
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    n_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, list[int]]:
        """Return, for each split, the number of images of each class in the order of the class names."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: _per_class(split.labels, len(self.class_names)).tolist() for name, split in splits.items()}


def load_and_prepare_data(config: RunConfig | None = None, **options: Any) -> tuple[np.ndarray, ...]:
    """Load a dataset whole and ready to fit: ``X_train, y_train, X_val, y_val, X_test, y_test``.

    Args:
        config: which data; the default options (all of CIFAR-10) when left out.
        options: any options by name, over those of ``config``.

    Returns:
        For each split, images float32 (n, side, side, 3) in [0, 1] and labels one-hot float32 (n, n_classes). All of
        CIFAR-10 takes 740 MB; ``load_dataset`` leaves it on disk.

    Raises:
        UserError: as ``load_dataset``; or an unknown option.
    """
    given = config.model_dump(exclude={"preset"}) if config else {}
    dataset = load_dataset(preset("none", **{**given, **options}))
    prepared: list[np.ndarray] = []
    for split in (dataset.train, dataset.validation, dataset.test):
        prepared += preprocess_data(split.take(), split.labels, len(dataset.class_names))
    return tuple(prepared)


def preprocess_data(X: np.ndarray, y: np.ndarray, n_classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scale pixels from 0-255 to [0, 1] and turn labels into one-hot rows.

    Args:
        X: images, (n, height, width, 3), 0-255.
        y: labels, integers, (n,), or (n, 1) as Keras's datasets give them.
        n_classes: columns of the result; one more than the largest label when left out.

    Returns:
        float32 (n, height, width, 3) in [0, 1]; float32 (n, n_classes).

    Raises:
        UserError: as ``check_images_and_labels``.
    """
    labels = check_images_and_labels(X, y, n_classes)
    if n_classes is None:
        n_classes = int(labels.max()) + 1
    return np.divide(X, np.float32(255), dtype=np.float32), np.eye(n_classes, dtype=np.float32)[labels]


def check_images_and_labels(images: np.ndarray, labels: np.ndarray, n_classes: int | None = None) -> np.ndarray:
    """Check that images are RGB pixels of 0-255 with one valid label each; return the labels, int64 (n,).

    Raises:
        UserError: a wrong shape, no images, more or fewer labels than images, labels that are no integers or not in
            0 to n_classes - 1, pixels outside 0-255, or pixels that are scaled to [0, 1] or [-1, 1] already.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images must have the shape (n, height, width, 3), got {images.shape}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"labels must be integers of the shape (n,), got {labels.dtype} of the shape {labels.shape}.")
    if len(images) != len(labels):
        raise UserError(f"There must be one label for each image, got {len(images)} images and {len(labels)} labels.")
    if not len(images):
        raise UserError("There must be at least one image, got none.")
    largest = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    wrong = labels[(labels < 0) | (labels > largest)]
    if len(wrong):
        limits = "0 or more" if n_classes is None else f"from 0 to {largest}"
        raise UserError(f"labels must be {limits}, got {wrong[0]} ({len(wrong)} of {len(labels)} labels are outside).")
    if images.dtype != np.uint8:  # bytes cannot be out of range, and a memory-mapped array is not read here
        _check_pixels(images)
    return labels.astype(np.int64)


def load_dataset(config: RunConfig, progress: Progress | None = None) -> Dataset:
    """Load the dataset that ``config`` names, split it (stratified, by the seed), and keep the labels asked for.

    ``cifar10`` comes from ``data_dir`` or through Keras's download, ``folder`` from ``data_dir``, ``photo-digits`` is
    drawn on the spot and has the same test split for every seed. Where there is no test split, a fifth of all images
    becomes it; where there is no validation split, ``validation_share`` of the training images.
    ``labels_per_class`` then keeps the first so many training images of each class in an order drawn by the seed: a
    smaller number gives a part of what a larger one gives. Validation and test stay whole.

    Args:
        progress: called with a description, the number done and the number in all while images are prepared.

    Raises:
        UserError: no such folder, no pictures in it, one class only, a class with too few images to split; or CIFAR-10
            is neither stored nor to be had, with what to put where.
    """
    source = load_source(config, progress)
    for part in source.parts.values():
        check_images_and_labels(part.images, part.labels, len(source.class_names))
    train, validation, test = _splits(source, config.validation_share, config.seed)
    notes = source.notes + _missing_classes(source.class_names, validation=validation, test=test)
    if config.labels_per_class:
        train, note = _fewer_labels(train, config.labels_per_class, config.seed, source.class_names)
        notes += note
    return Dataset(
        name=config.dataset_name,
        description=source.description,
        class_names=source.class_names,
        train=train,
        validation=validation,
        test=test,
        fingerprint=_fingerprint(source, train, validation, test),
        n_skipped=sum(part.n_skipped for part in source.parts.values()),
        skipped=[line for part in source.parts.values() for line in part.skipped],
        notes=notes,
    )


def _check_pixels(images: np.ndarray) -> None:
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise UserError(f"images must hold numbers, got {images.dtype}.")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError("images must hold finite numbers, got NaN or an infinity.")
    if np.issubdtype(images.dtype, np.floating) and low >= -1 and high <= 1:
        raise UserError(
            f"images must hold pixels of 0 to 255, got values from {low:g} to {high:g}: they seem to be "
            f"scaled to {'[0, 1]' if low >= 0 else '[-1, 1]'} already. preprocess_data or the model scales them, once; "
            "done twice, it leaves the network almost black pictures. Pass the pixels as they were read."
        )
    if low < 0 or high > 255:
        raise UserError(f"images must hold pixels of 0 to 255, got values from {low:g} to {high:g}.")


def _splits(source: Source, validation_share: float, seed: int) -> tuple[Split, Split, Split]:
    whole = {name: _whole(part) for name, part in source.parts.items()}
    train, validation, test = whole["train"], whole.get("validation"), whole.get("test")
    # One image of each class for every split that is still to be made, and one to train on.
    needed = 1 + (validation is None) + (test is None)
    for name, count in zip(source.class_names, _per_class(train.labels, len(source.class_names)), strict=True):
        if count < needed:
            raise UserError(f"Class {name!r} must have at least {needed} images that can be read, got {count}.")
    if test is None:
        train, test = _set_apart(train, TEST_SHARE, seed)
    if validation is None:
        train, validation = _set_apart(train, validation_share, seed)
    else:
        # A folder lists class after class; where a few images stand for the split, they are its first.
        rng = np.random.default_rng(seed)
        train, validation = (split.part(rng.permutation(len(split))) for split in (train, validation))
    return train, validation, test


def _whole(part: ImageStore) -> Split:
    return Split(part.images, part.labels, np.arange(len(part.labels)), part.sha256)


def _set_apart(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split  # importing scikit-learn takes a second

    try:
        kept, apart = train_test_split(np.arange(len(split)), test_size=share, random_state=seed, stratify=split.labels)
    except ValueError as error:
        enough = math.ceil(round(1 / min(share, 1 - share), 6))
        few = f"{len(split)} images are too few to set {share:.0%} of each class apart"
        raise UserError(f"{few}; {enough} of each class are enough ({error}).") from error
    return split.part(kept), split.part(apart)


def _missing_classes(class_names: list[str], **splits: Split) -> list[str]:
    return [
        f"Class {class_names[label]!r} has no images in the {name} split."
        for name, split in splits.items()
        for label in np.flatnonzero(_per_class(split.labels, len(class_names)) == 0)
    ]


def _fewer_labels(train: Split, n: int, seed: int, class_names: list[str]) -> tuple[Split, list[str]]:
    kept, short = [], []
    for label, name in enumerate(class_names):
        # A generator for each class: what one class keeps does not depend on the others.
        drawn = np.random.default_rng([seed, label]).permutation(np.flatnonzero(train.labels == label))
        kept.append(drawn[:n])
        if len(drawn) < n:
            short.append(f"{name!r} ({len(drawn)})")
    note = f"labels_per_class asks for {n} images of each class; all are kept of the smaller {', '.join(short)}."
    return train.part(np.sort(np.concatenate(kept))), [note] if short else []


def _fingerprint(source: Source, *splits: Split) -> str:
    parts = [part.sha256 for part in source.parts.values()]
    indices = [hashlib.sha256(split.index.astype("<i8").tobytes()).hexdigest() for split in splits]
    return hashlib.sha256(json.dumps([source.class_names, parts, indices]).encode()).hexdigest()


def _per_class(labels: np.ndarray, n_classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=n_classes)
