"""How many labels each way of learning needs: a linear probe on frozen features, and the CNN from scratch.

Both see the same drawn images, and the same half of the validation split chooses (the probe's L2, the CNN's best
epoch); the other half judges. The test split is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.records import Run
from transfer_utils.results.curves import LabelEfficiencyPoint
from transfer_utils.utils.progress import Progress

LEVELS = (5, 20, 100, 500)

# Of the CNN's training, on however few images: they are shown again and again, each time augmented anew.
MIN_STEPS = 100

CHUNK = 500  # images that the CNN judges at once


def measure_label_efficiency(
    config: RunConfig,
    levels: Iterable[int] = LEVELS,
    draws: int = 3,
    *,
    on_all: Run | None = None,
    progress: Progress | None = None,
) -> list[LabelEfficiencyPoint]:
    """Train both models at each number of labels per class, on several draws, and once on all labels.

    Args:
        config: its ``labels_per_class`` is not used.
        levels: labels per class; those of which the smallest class does not have twice as many are left out, since
            their draws would be nearly the same images.
        draws: how often the labelled images are drawn; a smaller number of labels is part of a larger one.
        on_all: a finished run of the CNN on all labels of these data, whose model is judged instead of a new one.
        progress: called with (title, done, total).

    Raises:
        UserError: a level or the number of draws is below 1.
    """
    levels = sorted(set(levels))
    if not levels or levels[0] < 1:
        raise UserError(f"levels must be numbers of at least 1, got {levels}")
    if draws < 1:
        raise UserError(f"draws must be at least 1, got {draws}")
    config.check_baseline()
    from transfer_utils.data.splits import load_dataset
    from transfer_utils.features import extract_features
    from transfer_utils.models.networks import build_feature_extractor
    from transfer_utils.models.saving import load_model

    config = config.model_copy(update={"labels_per_class": 0})
    dataset = load_dataset(config)
    extractor = build_feature_extractor(config)
    known = np.asarray(extract_features(extractor, dataset.train, config, progress=progress))
    held_out = np.asarray(extract_features(extractor, dataset.validation, config, progress=progress))
    one_hot = np.eye(len(dataset.class_names), dtype="float32")
    choosing, judging = slice(0, None, 2), slice(1, None, 2)  # the split is shuffled, so that both halves are alike
    truth = dataset.validation.labels[judging]
    chosen_by = held_out[choosing], one_hot[dataset.validation.labels[choosing]]
    pixels = dataset.validation.take()

    measured = []

    def note(model: str, labels: int, draw: int, probabilities: np.ndarray) -> None:
        measured.append(LabelEfficiencyPoint(model, labels, draw, float(np.mean(probabilities.argmax(1) == truth))))

    per_class = np.bincount(dataset.train.labels)
    every = round(float(per_class.mean()))
    tasks = [(level, draw) for level in levels if 2 * level <= per_class.min() for draw in range(draws)] + [(every, 0)]
    for done, (level, draw) in enumerate(tasks):
        positions = draw_labels(dataset.train.labels, level, config.seed, draw) if level < every else slice(None)
        train = known[positions], one_hot[dataset.train.labels[positions]]
        note("transfer", level, draw, _probe(train, chosen_by, held_out[judging], config))
        if level == every and on_all:
            fitted = load_model(on_all.folder / on_all.record.files["model"])
        else:
            validation = pixels[choosing].astype("float32"), chosen_by[1]
            fitted = _scratch(dataset.train.part(positions), validation, config, draw)
        note("baseline", level, draw, _predict(fitted, pixels[judging]))
        if progress:
            progress("label efficiency", done + 1, len(tasks))
    return measured


def draw_labels(labels: np.ndarray, level: int, seed: int, draw: int) -> np.ndarray:
    """Return the sorted positions of ``level`` images of each class; a smaller level gives a part of a larger one.

    Args:
        labels: int (n,).
    """
    kept = []
    for label in np.unique(labels):
        order = np.random.default_rng([seed, draw, label]).permutation(np.flatnonzero(labels == label))
        kept.append(order[:level])
    return np.sort(np.concatenate(kept))


def _probe(train, chosen_by, features: np.ndarray, config: RunConfig) -> np.ndarray:
    """Return the scores (m, classes) of the solved linear head on ``features`` (m, d)."""
    from transfer_utils.training.linear_head import solve_head

    head = solve_head(train, chosen_by, config.label_smoothing)
    return (features.astype("float32") - head.mean) / head.deviation @ head.kernel + head.bias


def _scratch(train, validation, config: RunConfig, draw: int):
    """Return the CNN trained on a split, its best epoch chosen by ``validation``."""
    import keras

    from transfer_utils.models.networks import build_baseline_cnn
    from transfer_utils.training import distribute
    from transfer_utils.training.stages import train_baseline

    config = config.model_copy(update={"seed": config.seed + draw})
    least = math.ceil(MIN_STEPS / config.baseline_epochs) * config.batch_size
    keras.utils.set_random_seed(config.seed)
    with distribute.scope(config):
        model = build_baseline_cnn(validation[1].shape[1], config.stored_size)
    shown = np.resize(np.arange(len(train)), max(least, len(train)))
    train_baseline(model, train.part(shown), validation, config)
    return model


def _predict(model, pixels: np.ndarray) -> np.ndarray:
    # Called as it is: compiling a graph for each of many small networks would take longer than running them.
    parts = [pixels[i : i + CHUNK].astype("float32") for i in range(0, len(pixels), CHUNK)]
    return np.concatenate([np.asarray(model(part, training=False)) for part in parts])
