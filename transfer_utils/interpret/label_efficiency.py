"""Accuracy by number of labels: a linear probe on frozen features against the CNN trained from scratch.

Both use the same drawn training images and no other label: nothing is selected. The probe has a fixed L2 strength and
is solved to its minimum; the CNN has a fixed number of steps, which grows with the labels, and keeps its last weights.
The validation split only measures the accuracy. The test split is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import keras
import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.dataset import Dataset
from transfer_utils.data.splits import draw_labels, load_dataset
from transfer_utils.errors import UserError
from transfer_utils.features import extract_features
from transfer_utils.models.networks import BASELINES, build_feature_extractor
from transfer_utils.models.saving import load_model
from transfer_utils.records.folder import Run
from transfer_utils.results.by_labels import LabelEfficiencyPoint
from transfer_utils.training import distribute
from transfer_utils.training.linear_head import solve_head
from transfer_utils.training.stages import train_baseline

LEVELS = (5, 20, 100, 500)
STEPS = 225  # of the CNN, times the square root of the labels per class: 503 with 5 of them, 5,031 with 500
PREDICT_BATCH, WATCHED = 500, 50


def measure_label_efficiency(
    config: RunConfig,
    levels: Iterable[int] = LEVELS,
    draws: int = 3,
    *,
    on_all: Run | None = None,
) -> list[LabelEfficiencyPoint]:
    """Measure the accuracy of both models on several draws of each number of labels, and once on all labels.

    The global seed of Keras is set before each CNN is built.

    Args:
        config: the options of both models; ``labels_per_class``, ``min_steps`` and ``selection`` are ignored.
        levels: labels per class. A level above half the size of the smallest class is left out: its draws would share
            most of their images.
        draws: random draws per level; in one draw, the images of a smaller level are part of those of a larger one.
        on_all: a completed run of the CNN on all labels of these data; its model is used instead of a new one, also if
            its epoch was selected on the validation split.

    Returns:
        For each level and draw, and last for all labels, one point of ``transfer`` and one of ``baseline``, with the
        accuracy on the validation split in [0, 1].

    Raises:
        UserError: there are no levels, a level or ``draws`` is below 1, the baseline would train for no epochs, or the
            dataset or the weights are unavailable.
    """
    levels = sorted(set(levels))
    if not levels or levels[0] < 1:
        raise UserError(f"levels must be numbers of at least 1, got {levels}")
    if draws < 1:
        raise UserError(f"draws must be at least 1, got {draws}")
    config.check_baseline()
    config = config.model_copy(update={"labels_per_class": 0, "selection": "none"})
    dataset = load_dataset(config)
    probe_accuracy, cnn_accuracy = _probe(dataset, config), _cnn(dataset, config, on_all)
    labels, points = dataset.train.labels, []
    class_sizes = np.bincount(labels)
    tasks = [
        (level, draw, draw_labels(labels, level, config.seed, draw), round(STEPS * math.sqrt(level)))
        for level in levels
        if 2 * level <= class_sizes.min()
        for draw in range(draws)
    ]
    tasks.append((round(float(class_sizes.mean())), 0, np.arange(len(labels)), 0))
    for level, draw, positions, steps in tasks:
        points.append(LabelEfficiencyPoint("transfer", level, draw, probe_accuracy(positions)))
        points.append(LabelEfficiencyPoint("baseline", level, draw, cnn_accuracy(positions, draw, steps)))
    return points


def _probe(dataset: Dataset, config: RunConfig) -> Callable[[np.ndarray], float]:
    """Return a function from positions of training images, int (m,), to the validation accuracy of a probe of them."""
    extractor, n_classes = build_feature_extractor(config), len(dataset.class_names)
    train, validation = (
        (np.asarray(extract_features(extractor, split, config)), split.one_hot(n_classes))
        for split in (dataset.train, dataset.validation)
    )

    def accuracy(positions: np.ndarray) -> float:
        drawn = tuple(array[positions] for array in train)
        return solve_head(drawn, validation, config.label_smoothing, select=False).val_accuracy

    return accuracy


def _cnn(dataset: Dataset, config: RunConfig, on_all: Run | None) -> Callable[[np.ndarray, int, int], float]:
    """Return a function from positions of training images, a draw and steps to the validation accuracy of a CNN.

    Without steps, these are all images: it has the epochs of ``config``, or is the model of ``on_all``.
    """
    pixels, one_hot = dataset.validation.take().astype("float32"), dataset.validation.one_hot(len(dataset.class_names))

    def accuracy(positions: np.ndarray, draw: int, steps: int) -> float:
        if on_all and not steps:
            model = load_model(on_all.folder / on_all.record.files["model"])
        else:
            own = config.model_copy(update={"seed": config.seed + draw, "min_steps": steps})
            keras.utils.set_random_seed(own.seed)
            with distribute.scope(own):
                model = BASELINES[own.baseline](one_hot.shape[1], own.stored_size)
            # Nothing is selected, so the epochs are watched on a few images; all are classified below.
            train_baseline(model, dataset.train.part(positions), (pixels[:WATCHED], one_hot[:WATCHED]), own)
        # Without ``predict``: tracing a graph for each of many small networks would take longer than running them.
        batches = (pixels[start : start + PREDICT_BATCH] for start in range(0, len(pixels), PREDICT_BATCH))
        predicted = [keras.ops.convert_to_numpy(model(batch, training=False)).argmax(axis=1) for batch in batches]
        return float((np.concatenate(predicted) == dataset.validation.labels).mean())

    return accuracy
