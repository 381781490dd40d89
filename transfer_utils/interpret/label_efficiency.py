"""Accuracy by number of labels: a linear probe on frozen features against the CNN trained from scratch.

Both use the same drawn training images and no other label: nothing is selected. The probe has a fixed L2 strength and
is solved to its minimum; the CNN has a fixed number of steps, which grows with the labels, and keeps its last weights.
The validation split only measures the accuracy. The test split is not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.data.dataset import Split
from transfer_utils.data.splits import draw_labels, load_dataset
from transfer_utils.errors import UserError
from transfer_utils.features import extract_features
from transfer_utils.models.networks import BASELINES, build_feature_extractor
from transfer_utils.models.saving import load_model
from transfer_utils.records import Run
from transfer_utils.results.curves import LabelEfficiencyPoint
from transfer_utils.training import distribute
from transfer_utils.training.linear_head import solve_head
from transfer_utils.training.stages import Batch, train_baseline
from transfer_utils.utils.progress import Progress

LEVELS = (5, 20, 100, 500)
STEPS = 225  # of the CNN, times the square root of the labels per class: 503 with 5 of them, 5,031 with 500
PREDICT_BATCH, WATCHED = 500, 50


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
        config: the options of both models; ``labels_per_class``, ``min_steps`` and ``selection`` are ignored.
        levels: labels per class. A level above half the size of the smallest class is left out: its draws would share
            most of their images.
        draws: random draws per level; in one draw, the images of a smaller level are part of those of a larger one.
        on_all: a completed run of the CNN on all labels of these data; its model is used instead of a new one, also if
            its epoch was selected on the validation split.
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
    config = config.model_copy(update={"labels_per_class": 0, "selection": "none"})
    dataset = load_dataset(config)
    extractor, n_classes = build_feature_extractor(config), len(dataset.class_names)
    features, val_features = (
        np.asarray(extract_features(extractor, split, config, progress=progress))
        for split in (dataset.train, dataset.validation)
    )
    pixels, val_labels = dataset.validation.take().astype("float32"), dataset.validation.one_hot(n_classes)
    labels, points = dataset.train.labels, []
    tasks = _tasks(np.bincount(labels), levels, draws)
    for done, (level, draw) in enumerate(tasks, start=1):
        use_all = done == len(tasks)
        positions = np.arange(len(labels)) if use_all else draw_labels(labels, level, config.seed, draw)
        train = dataset.train.part(positions)
        drawn, validation = (features[positions], train.one_hot(n_classes)), (val_features, val_labels)
        probe = solve_head(drawn, validation, config.label_smoothing, select=False)
        if on_all and use_all:
            cnn = load_model(on_all.folder / on_all.record.files["model"])
        else:
            steps = 0 if use_all else round(STEPS * math.sqrt(level))
            update = {"seed": config.seed + draw, "min_steps": steps}
            # Nothing is selected, so the epochs are watched on a few images; all of them are classified below.
            watched = pixels[:WATCHED], val_labels[:WATCHED]
            cnn = _train_cnn(train, watched, config.model_copy(update=update))
        correct = _predict(cnn, pixels).argmax(axis=1) == dataset.validation.labels
        for model, accuracy in (("transfer", probe.val_accuracy), ("baseline", float(correct.mean()))):
            points.append(LabelEfficiencyPoint(model, level, draw, accuracy))
        if progress:
            progress("label efficiency", done, len(tasks))
    return points


def _tasks(class_sizes: np.ndarray, levels: list[int], draws: int) -> list[tuple[int, int]]:
    """Return pairs (labels per class, number of the draw); the last pair stands for all labels."""
    drawn = [(level, draw) for level in levels if 2 * level <= class_sizes.min() for draw in range(draws)]
    return [*drawn, (round(float(class_sizes.mean())), 0)]


def _train_cnn(train: Split, validation: Batch, config: RunConfig) -> keras.Model:
    """Train the CNN from scratch on ``train`` for all of its steps."""
    keras.utils.set_random_seed(config.seed)
    with distribute.scope(config):
        model = BASELINES[config.baseline](validation[1].shape[1], config.stored_size)
    train_baseline(model, train, validation, config)
    return model


def _predict(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    # Without ``predict``: tracing a graph for each of many small networks would take longer than running them.
    starts = range(0, len(pixels), PREDICT_BATCH)
    batches = [pixels[i : i + PREDICT_BATCH] for i in starts]
    return np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
