"""Accuracy by number of labels: a linear probe on frozen features against the CNN trained from scratch.

Both use the same drawn training images. One half of the validation split selects (the L2 strength of the probe, the
best epoch of the CNN), the other half measures the accuracy. The test split is not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.data.splits import Dataset, Split, draw_labels, load_dataset
from transfer_utils.errors import UserError
from transfer_utils.features import extract_features
from transfer_utils.interpret.activations import linear_logits
from transfer_utils.models.networks import build_baseline_cnn, build_feature_extractor
from transfer_utils.models.saving import load_model
from transfer_utils.records import Run
from transfer_utils.results.curves import LabelEfficiencyPoint
from transfer_utils.training import distribute
from transfer_utils.training.linear_head import solve_head
from transfer_utils.training.stages import train_baseline
from transfer_utils.utils.progress import Progress

LEVELS = (5, 20, 100, 500)
MIN_STEPS = 100  # training steps of the CNN; few images are repeated, augmented anew each time
PREDICT_BATCH = 500


class _Examples(NamedTuple):
    """The same images as features (n, d) and as uint8 pixels (n, h, w, 3), with one-hot labels (n, classes)."""

    features: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray

    def half(self, start: int) -> _Examples:
        return _Examples(*(values[start::2] for values in self))

    def accuracy(self, scores: np.ndarray) -> float:
        return float(np.mean(scores.argmax(axis=1) == self.labels.argmax(axis=1)))


def measure_label_efficiency(
    config: RunConfig,
    levels: Iterable[int] = LEVELS,
    draws: int = 3,
    *,
    on_all: Run | None = None,
    progress: Progress | None = None,
) -> list[LabelEfficiencyPoint]:
    """Measure the accuracy of both models on several draws of each number of labels, and once on all labels.

    The global seed of Keras is set before each CNN is built.

    Args:
        config: the options of both models; ``labels_per_class`` is ignored.
        levels: labels per class. A level above half the size of the smallest class is left out: its draws would share
            most of their images.
        draws: random draws per level; in one draw, the images of a smaller level are part of those of a larger one.
        on_all: a completed run of the CNN on all labels of these data; its model is used instead of a new one.
        progress: called with (title, done, total).

    Raises:
        UserError: a level or ``draws`` is below 1.
    """
    levels = sorted(set(levels))
    if not levels or levels[0] < 1:
        raise UserError(f"levels must be numbers of at least 1, got {levels}")
    if draws < 1:
        raise UserError(f"draws must be at least 1, got {draws}")
    config.check_baseline()
    config = config.model_copy(update={"labels_per_class": 0})
    dataset = load_dataset(config)
    features, selection, evaluation = _prepare(dataset, config, progress)
    labels, points = dataset.train.labels, []
    tasks = _tasks(np.bincount(labels), levels, draws)
    for done, (level, draw) in enumerate(tasks, start=1):
        use_all = done == len(tasks)
        positions = np.arange(len(labels)) if use_all else draw_labels(labels, level, config.seed, draw)
        train = dataset.train.part(positions)
        probe = _probe_scores(features[positions], train.labels, selection, evaluation, config.label_smoothing)
        cnn = _saved_model(on_all) if on_all and use_all else _train_cnn(train, selection, config, draw)
        for model, scores in (("transfer", probe), ("baseline", _predict(cnn, evaluation.pixels))):
            points.append(LabelEfficiencyPoint(model, level, draw, evaluation.accuracy(scores)))
        if progress:
            progress("label efficiency", done, len(tasks))
    return points


def _prepare(dataset: Dataset, config: RunConfig, progress: Progress | None) -> tuple[np.ndarray, _Examples, _Examples]:
    """Return the features of the training images, and the two halves of the validation split."""
    extractor = build_feature_extractor(config)
    train, validation = (
        np.asarray(extract_features(extractor, split, config, progress=progress))
        for split in (dataset.train, dataset.validation)
    )
    one_hot = np.eye(len(dataset.class_names), dtype="float32")[dataset.validation.labels]
    examples = _Examples(validation, dataset.validation.take(), one_hot)
    return train, examples.half(0), examples.half(1)  # the split is shuffled, so both halves are random samples


def _tasks(class_sizes: np.ndarray, levels: list[int], draws: int) -> list[tuple[int, int]]:
    """Return pairs (labels per class, number of the draw); the last pair stands for all labels."""
    drawn = [(level, draw) for level in levels if 2 * level <= class_sizes.min() for draw in range(draws)]
    return [*drawn, (round(float(class_sizes.mean())), 0)]


def _probe_scores(
    features: np.ndarray, labels: np.ndarray, selection: _Examples, evaluation: _Examples, label_smoothing: float
) -> np.ndarray:
    """Train a linear probe on ``features`` (n, d) and integer ``labels`` (n,); return its logits for ``evaluation``."""
    one_hot = np.eye(selection.labels.shape[1], dtype="float32")[labels]
    head = solve_head((features, one_hot), (selection.features, selection.labels), label_smoothing)
    return linear_logits(head, evaluation.features)


def _saved_model(run: Run) -> keras.Model:
    return load_model(run.folder / run.record.files["model"])


def _train_cnn(train: Split, selection: _Examples, config: RunConfig, draw: int) -> keras.Model:
    """Train the CNN from scratch on ``train``; ``selection`` chooses its best epoch."""
    config = config.model_copy(update={"seed": config.seed + draw})
    keras.utils.set_random_seed(config.seed)
    with distribute.scope(config):
        model = build_baseline_cnn(selection.labels.shape[1], config.stored_size)
    min_images = math.ceil(MIN_STEPS / config.baseline_epochs) * config.batch_size
    repeated = train.part(np.resize(np.arange(len(train)), max(min_images, len(train))))
    train_baseline(model, repeated, (selection.pixels.astype("float32"), selection.labels), config)
    return model


def _predict(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    # Without ``predict``: tracing a graph for each of many small networks would take longer than running them.
    starts = range(0, len(pixels), PREDICT_BATCH)
    batches = [pixels[i : i + PREDICT_BATCH].astype("float32") for i in starts]
    return np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
