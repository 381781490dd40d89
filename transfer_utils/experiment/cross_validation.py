"""How good is a head on few pictures? Cross-validation of the linear head on frozen features of an image folder.

Each repeat divides the pictures into five stratified folds. The head for a fold learns from the other four exactly as
stage 1 of a run does: a part of them is held out to choose its L2. So every picture is classified by heads that have
not seen it, and one fold stands for what a run does once, with its own test split.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.likeness import groups_of_images
from transfer_utils.data.sources import load_source
from transfer_utils.data.splits import draw_labels, split_stratified, whole_split
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate, summarise_seeds
from transfer_utils.features import extract_features
from transfer_utils.models.networks import build_feature_extractor
from transfer_utils.teach.messages import CurvePoint, Measurement, Mistake
from transfer_utils.training.linear_head import Fold, LinearHead, solve_head
from transfer_utils.utils.progress import Progress

FOLDS = 5
# With fewer pictures than this, the folds are drawn three times: how they fall matters more, and repeating costs less.
FEW_PICTURES, REPETITIONS = 500, 3
LEVELS = 4  # of the learning curve, each with half of the pictures of the next
MIN_PER_CLASS = 2  # pictures of a class at the lowest level: one to learn from, one to choose the L2


def cross_validate(config: RunConfig, pictures_digest: str = "", progress: Progress | None = None) -> Measurement:
    """Measure the head of ``config`` on the pictures of its image folder, all of which belong to one split.

    Args:
        pictures_digest: what names the pictures in the result.
        progress: called with (title, done, total).

    Raises:
        UserError: the folder cannot be used, or the weights of the backbone are unavailable.
    """
    extractor = build_feature_extractor(config, progress=progress)  # first, as there may be no weights
    source = load_source(config, progress)
    split = whole_split(source.parts["train"])
    labels, names = split.labels, source.class_names
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < FOLDS:
        short = f"{names[int(counts.argmin())]!r} has {counts.min()}"
        raise UserError(f"Cross-validation needs at least {FOLDS} pictures of each class that can be read; {short}.")
    features = np.asarray(extract_features(extractor, split, config, progress=progress), "float32")
    # The pixels are those that the features come from; the page keeps no two files of the same content.
    groups = groups_of_images(split.store)
    grouped = can_be_grouped(labels, groups)
    repeats = REPETITIONS if len(labels) < FEW_PICTURES else 1
    kept_together, seeds = (groups if grouped else None), range(config.seed, config.seed + repeats)
    folds = [fold for seed in seeds for fold in stratified_group_folds(labels, kept_together, seed)]
    levels, different = _levels(labels), len(np.unique(groups))
    probabilities = predict_held_out(features, labels, folds, levels, len(names), config, progress=progress)
    correct = [of_level.argmax(axis=2) == labels for of_level in probabilities]
    return Measurement(
        pictures_digest=pictures_digest,
        weights=config.weights,
        n=len(labels),
        different=different,
        folds=FOLDS,
        repeats=repeats,
        grouped=grouped,
        alike=count_alike(groups),
        guessing=float(counts.max() / len(labels)),
        recall={name: float(correct[-1][:, labels == label].mean()) for label, name in enumerate(names)},
        mistakes=_mistakes(probabilities[-1], labels, names, split.names()),
        **accuracy_with_interval(correct[-1], different),
        **_curve(correct, levels, int(counts.max()), groups),
    )


def can_be_grouped(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether some pictures look alike and each class still has a group for every fold."""
    return len(np.unique(groups)) < len(groups) and bool((different_per_class(labels, groups) >= FOLDS).all())


def different_per_class(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the number of different pictures, which are groups, of each class that has any: int (classes,)."""
    return np.array([len(np.unique(groups[labels == label])) for label in np.unique(labels)], int)


def count_alike(groups: np.ndarray) -> int:
    """Return the number of pictures that look like another one, whose group has several."""
    return int((np.bincount(groups)[groups] > 1).sum())


def stratified_group_folds(labels: np.ndarray, groups: np.ndarray | None, seed: int) -> list[Fold]:
    """Return for each of five stratified folds the positions to learn from and the held-out positions.

    There are fewer folds if no class has five pictures: as many as the largest class has.

    Args:
        labels: int (n,); one class has at least two pictures.
        groups: int (n,); pictures of one group are always in the same fold. None for no groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n_splits = min(FOLDS, int(np.bincount(labels).max()))
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # has fewer pictures than there are folds
        return list(kind(n_splits, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels, groups))


def predict_held_out(
    features: np.ndarray,
    labels: np.ndarray,
    folds: list[Fold],
    levels: list[int],
    n_classes: int,
    config: RunConfig,
    *,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Solve a head for each fold and level, and classify the pictures of the fold that it has not seen.

    Args:
        features: float32 (n, d).
        folds: of all repeats, one repeat after the other.
        levels: pictures per class that the head may learn from at most; those of a lower level are part of the next.

    Returns:
        For each level, the probabilities, float32 (repeats, n, classes).
    """
    from threadpoolctl import threadpool_limits

    repeats, one_hot = len(folds) // FOLDS, np.eye(n_classes, dtype="float32")[labels]
    probabilities = [np.zeros((repeats, len(labels), n_classes), "float32") for _ in levels]
    # The matrices of few pictures are so small that two threads mostly wait for each other, all the more on a machine
    # that does something else as well: there one thread was forty times as fast.
    with threadpool_limits(1 if len(labels) < FEW_PICTURES else None, user_api="blas"):
        for number, (learn, held_out) in enumerate(folds):
            for place, level in enumerate(levels):
                drawn = learn[draw_labels(labels[learn], level, config.seed, number)]
                head = _solve(features[drawn], labels[drawn], one_hot[drawn], config)
                probabilities[place][number // FOLDS, held_out] = head.probabilities(features[held_out])
                if progress:
                    progress("Cross-validation", number * len(levels) + place + 1, len(folds) * len(levels))
    return probabilities


def _solve(features: np.ndarray, labels: np.ndarray, one_hot: np.ndarray, config: RunConfig) -> LinearHead:
    """Solve a head as stage 1 does; with a single picture of a class, nothing can be held out to choose the L2."""
    present = np.bincount(labels)
    if present[present > 0].min() < MIN_PER_CLASS:
        return solve_head((features, one_hot), (features, one_hot), config.label_smoothing, select=False)
    parts = split_stratified(labels, config.validation_share, config.seed)
    train, validation = ((features[part], one_hot[part]) for part in parts)
    return solve_head(train, validation, config.label_smoothing)


def _levels(labels: np.ndarray) -> list[int]:
    """Return the largest number of pictures per class at each level; the last is more than any fold has."""
    most = int(np.bincount(labels).max()) * (FOLDS - 1) // FOLDS
    halves = {most // 2**power for power in range(1, LEVELS)}
    return [*sorted(level for level in halves if level >= MIN_PER_CLASS), len(labels)]


def accuracy_with_interval(correct: np.ndarray, different: int) -> dict[str, float]:
    """Return the mean of bool (repeats, n), with Wilson's interval for so many ``different`` pictures.

    Repeats classify the same pictures again, and those that look alike are almost the same: both steady the mean, but
    do not narrow the interval.
    """
    accuracy, low, high, _ = Estimate.on_images(float(correct.mean()), different)
    return {"accuracy": accuracy, "low": low, "high": high}


def _curve(correct: list[np.ndarray], levels: list[int], largest_class: int, groups: np.ndarray) -> dict[str, Any]:
    """Return the points of the learning curve and the gain of the last doubling, fields of ``Measurement``.

    Args:
        correct: for each level, bool (repeats, n).
    """
    per_class, sizes = [*levels[:-1], largest_class * (FOLDS - 1) // FOLDS], np.bincount(groups)
    curve = [
        CurvePoint(per_class=level, **accuracy_with_interval(at_level, len(sizes)))
        for level, at_level in zip(per_class, correct, strict=True)
    ]
    if len(curve) == 1:
        return {"curve": curve, "gain": None, "gain_low": None, "gain_high": None}
    half, whole = (at_level.mean(axis=0) for at_level in correct[-2:])
    difference = whole - half
    # Pictures that look alike change together, so only their groups are independent. Each counts by its pictures: the
    # mean is that over the pictures, with the deviation of a ratio of sums (Cochran 1977, Sampling Techniques, ch. 6).
    gain = difference.mean()
    of_groups = gain + np.bincount(groups, difference - gain) / sizes.mean()
    estimate = summarise_seeds(of_groups)
    return {"curve": curve, "gain": estimate["mean"], "gain_low": estimate["low"], "gain_high": estimate["high"]}


def _mistakes(probabilities: np.ndarray, labels: np.ndarray, class_names: list[str], files: list[str]) -> list[Mistake]:
    """Return the pictures for which the mean of the repeats is wrong, the most confident first."""
    means = probabilities.mean(axis=0)
    predicted = means.argmax(axis=1)
    mistakes = [
        Mistake(
            file=files[at],
            true=class_names[labels[at]],
            predicted=class_names[predicted[at]],
            probability=float(np.clip(means[at, predicted[at]], 0, 1)),
        )
        for at in np.flatnonzero(predicted != labels)
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.probability)
