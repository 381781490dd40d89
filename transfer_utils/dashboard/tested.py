"""What a run keeps beside its record of its test images: the predictions and the thumbnails, read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import streamlit as st

from transfer_utils.dashboard.result_charts import class_labels
from transfer_utils.dashboard.store import file_beside
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.predictions import PREDICTIONS_NAME, Predictions, load_predictions
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, load_thumbnails
from transfer_utils.results.table import Row
from transfer_utils.teach.collection import FOLDER, Collection, collections
from transfer_utils.utils.text import as_text

Content = TypeVar("Content")


@dataclass(frozen=True)
class Tested:
    """A run with its predictions for the test images.

    Attributes:
        class_names: unique and printable.
        thumbnails: WebP files by the positions of their images.
        originals: the names that the pictures of a collection had before it stored them, by their stored names.
    """

    row: Row
    predictions: Predictions
    class_names: list[str]
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)

    def name(self, at: int) -> str:
        """The file of an image, or its number among the stored images if it has none."""
        if not self.predictions.names:
            return f"test image {self.predictions.index[at]}"
        folder, slash, name = self.predictions.names[at].rpartition("/")
        return as_text(folder + slash + self.originals.get(name, name))

    def true(self, at: int) -> str:
        """The true class of an image."""
        return self.class_names[self.predictions.labels[at]]

    def predicted(self, at: int) -> str:
        """The predicted class of an image with its probability."""
        predicted = self.predictions.predicted[at]
        return f"{self.class_names[predicted]} {percent(float(self.predictions.probabilities[at, predicted]))}"

    def right(self) -> np.ndarray:
        """Whether each image is classified rightly, bool (n,)."""
        return self.predictions.predicted == self.predictions.labels

    def has_same_images(self, other: Tested) -> bool:
        """Return whether another run was tested on the same images in the same order, as far as the files tell."""
        a, b = self.predictions, other.predictions
        same = a.probabilities.shape == b.probabilities.shape and a.names == b.names
        return same and np.array_equal(a.labels, b.labels) and np.array_equal(a.index, b.index)


def keeps_predictions(row: Row) -> bool:
    """Return whether a run has a file of predictions beside its record; it is not opened."""
    return _file(row, PREDICTIONS_NAME) is not None


def read_tested(row: Row) -> Tested | None:
    """Return what a run keeps of its test images, or None if it has no predictions for any.

    Raises:
        UnreadableRecord: a file is damaged.
    """
    test = (_content(row, PREDICTIONS_NAME, lambda path: load_predictions(path.parent)) or {}).get("test")
    if test is None or not len(test):
        return None
    names = class_labels(row.record, test.probabilities.shape[1])
    return Tested(row, test, names, _content(row, THUMBNAILS_NAME, load_thumbnails) or {}, _originals(row))


def _originals(row: Row) -> dict[str, str]:
    """Return the original names of the pictures of a run on a collection beside it; a record may name any folder."""
    runs = row.run.folder.parent
    for name in collections(runs):
        collection = Collection(runs / FOLDER / name)
        if collection.is_source_of(row.config.get("data_dir")):
            return collection.original_names()
    return {}


def _file(row: Row, name: str) -> Path | None:
    """Return a file that a run writes beside its record, if there is one; a single log has no folder of its own."""
    return file_beside(row, name) if row.run.has_folder else None


def _content(row: Row, name: str, read: Callable[[Path], Content]) -> Content | None:
    path = _file(row, name)
    if path is None:
        return None
    status = path.stat()
    return _read(str(path), status.st_mtime_ns, status.st_size, read)


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(path: str, modified_ns: int, size: int, _read: Callable[[Path], Content]) -> Content:
    """Read a file; the time and the size are part of the cache key, so that a new file is read again."""
    return _read(Path(path))
