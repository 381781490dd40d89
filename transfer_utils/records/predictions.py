"""The predictions of a run for its validation and test images, kept in one small file beside its record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from transfer_utils.records.salvage import reading_arrays
from transfer_utils.utils.files import replacing

PREDICTIONS_NAME = "predictions.npz"
SPLITS = ("val", "test")
MAX_UNPACKED_BYTES = 1 << 30  # of all arrays; those of a million images and a hundred classes take a quarter of it


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for the images of one split, in the order of the split.

    Attributes:
        probabilities: (n, classes), stored as float16.
        labels: int (n,), the true class of each image.
        index: int (n,), the position of each image among the stored images of its part of the dataset.
        predicted: int (n,), the class of the largest probability. Two probabilities that differ can be equal in
            float16, so it cannot be computed from what is stored.
        names: the path of each image below the image folder, with ``/``; empty if the images have no files.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    predicted: np.ndarray
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def confidence(self) -> np.ndarray:
        """Return the probability of the predicted class of each image, float64 (n,)."""
        return self.probabilities[np.arange(len(self)), self.predicted].astype(float)

    def most_confident(self, chosen: np.ndarray) -> np.ndarray:
        """Return the positions where ``chosen``, bool (n,), is true, int (m,), the most confident prediction first."""
        positions = np.flatnonzero(chosen)
        return positions[np.argsort(-self.confidence()[positions], kind="stable")]

    def mistakes(self) -> np.ndarray:
        """Return the positions of the images that are classified wrongly, int (m,), the most confident first."""
        return self.most_confident(self.predicted != self.labels)

    def least_sure(self) -> np.ndarray:
        """Return all positions, int (n,), the least confident prediction first."""
        return np.argsort(self.confidence(), kind="stable")

    def confusion_matrix(self) -> np.ndarray:
        """Return the number of images by true class (rows) and predicted class (columns), int64 (classes, classes)."""
        classes = self.probabilities.shape[1]
        return np.bincount(self.labels * classes + self.predicted, minlength=classes**2).reshape(classes, classes)


def save_predictions(path: Path, splits: Mapping[str, Predictions]) -> None:
    """Write the predictions of each split to ``path`` atomically."""
    arrays = {}
    for split, kept in splits.items():
        arrays[f"{split}_probabilities"] = kept.probabilities.astype("<f2")
        arrays[f"{split}_labels"] = kept.labels.astype("<i4")
        arrays[f"{split}_index"] = kept.index.astype("<i4")
        arrays[f"{split}_predicted"] = kept.predicted.astype("<i4")
        # Joined by the one byte that no path contains: an array of texts would be as wide as the longest of them.
        arrays[f"{split}_names"] = np.frombuffer(b"\0".join(map(os.fsencode, kept.names)), np.uint8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_predictions(folder: Path) -> dict[str, Predictions]:
    """Return the predictions of the run in ``folder``, by split (``val``, ``test``).

    A run of an older version has none: the dictionary is empty.

    Raises:
        UnreadableRecord: the file is damaged, too large, or not a file of predictions.
    """
    path = folder / PREDICTIONS_NAME
    if not path.is_file():
        return {}
    with reading_arrays(path, "predictions", MAX_UNPACKED_BYTES) as arrays:
        return {split: _of_split(split, arrays) for split in SPLITS if f"{split}_labels" in arrays}


def _of_split(split: str, arrays: Mapping[str, np.ndarray]) -> Predictions:
    names = arrays[f"{split}_names"].tobytes()
    kept = Predictions(
        arrays[f"{split}_probabilities"],
        *(arrays[f"{split}_{name}"].astype(np.int64) for name in ("labels", "index", "predicted")),
        [os.fsdecode(name) for name in names.split(b"\0")] if names else [],
    )
    n, classes = kept.probabilities.shape
    if not kept.labels.shape == kept.index.shape == kept.predicted.shape == (n,) or len(kept.names) not in (0, n):
        raise ValueError(f"the arrays of {split} differ in length")
    for name, values in (("labels", kept.labels), ("predicted", kept.predicted)):
        if n and not (values.min() >= 0 and values.max() < classes):
            raise ValueError(f"{name} of {split} must be from 0 to {classes - 1}")
    return kept
