"""A dataset in three splits: positions in an array of images, with their labels.

Pixels stay uint8 and, except for the embedded digits, on disk, in a memory-mapped array.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from transfer_utils.data.image_files import ImageFiles
from transfer_utils.utils.spread import spread_evenly


@dataclass(frozen=True)
class Split:
    """A selection of the images of a store, with their labels.

    Attributes:
        store: uint8 (n_stored, side, side, 3), 0-255 RGB; often memory-mapped, so read it with ``take``.
        labels: int64 (n,), the label of each image of the split.
        index: int64 (n,), the position in the store of each image of the split.
        store_sha256: SHA-256 of the store, 64 hex digits, or empty if it is unknown.
        files: the file of each image of the store, if they came from a folder.
    """

    store: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    store_sha256: str = ""
    files: ImageFiles | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256, 64 hex digits, of the images of the split in their order; part of the keys of the feature cache."""
        digest = hashlib.sha256((self.store_sha256 or hashlib.sha256(self.take().tobytes()).hexdigest()).encode())
        digest.update(self.index.astype("<i8").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.index)

    def take(self, positions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a copy of the images at these positions of the split (default: all), uint8 (m, side, side, 3)."""
        return self.store[self.index[positions]]

    def __getitem__(self, positions: slice) -> np.ndarray:
        """Return ``take(positions)``, so that a split can stand where an array is sliced batch by batch."""
        return self.take(positions)

    def one_hot(self, n_classes: int) -> np.ndarray:
        """Return the labels of all images, one-hot: float32 (n, n_classes)."""
        return np.eye(n_classes, dtype="float32")[self.labels]

    def spread(self, limit: int) -> np.ndarray:
        """Return the positions, int (m,), of at most ``limit`` images, spread evenly over the split."""
        return spread_evenly(len(self), limit)

    def part(self, positions: np.ndarray) -> Split:
        """Return the split of the images at these positions; no pixels are read."""
        return Split(self.store, self.labels[positions], self.index[positions], self.store_sha256, self.files)

    def names(self) -> list[str]:
        """Return the path of each image below the image folder; an empty list if they did not come from a folder."""
        if self.files is None:
            return []
        names = self.files.names()
        return [names[position] for position in self.index]


@dataclass(frozen=True)
class Dataset:
    """A dataset in three disjoint splits.

    Attributes:
        name: for files and tables, such as ``cifar10``.
        description: for captions, such as ``CIFAR-10, JPEG copy``.
        class_names: in the order of the labels.
        train, validation, test: the splits; the test split is for the final evaluation only.
        fingerprint: SHA-256 of pixels, labels, class names and splits, 64 hex digits.
        n_skipped: number of files that could not be decoded.
        skipped: messages about the first ten of them in each split.
        notes: sentences about skipped files, ignored folders, missing or small classes, and copies across splits.
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

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def counts(self) -> dict[str, list[int]]:
        """Return the number of images per class for each split, in the order of the class names."""
        n_classes = len(self.class_names)
        return {name: images_per_class(split.labels, n_classes).tolist() for name, split in self.splits.items()}


def images_per_class(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the number of images of each class, int64 (n_classes,)."""
    return np.bincount(labels, minlength=n_classes)
