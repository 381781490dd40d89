"""What few images can show: a cross-validated linear head on frozen features, and how wide the intervals are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_utils.data.dataset import Dataset, Split
from transfer_utils.data.likeness import groups_of_images
from transfer_utils.evaluation.percent import percent
from transfer_utils.experiment.cross_validation import (
    FOLDS,
    REPETITIONS,
    accuracy_with_interval,
    can_be_grouped,
    count_alike,
    stratified_group_folds,
)
from transfer_utils.experiment.session import RunSession, add_note
from transfer_utils.records.record import RunRecord
from transfer_utils.training.linear_head import out_of_fold
from transfer_utils.utils.spread import spread_evenly
from transfer_utils.utils.text import counted

FEW_HELD_OUT = 200  # images in a split, below which the interval of an accuracy of 85 % is over ten points wide
MAX_IMAGES = 2_000  # to cross-validate on; their interval is narrow enough


def few_held_out(dataset: Dataset) -> bool:
    """Return whether the validation or the test split has too few images for a narrow interval."""
    return min(len(dataset.validation), len(dataset.test)) < FEW_HELD_OUT


def record_cross_validation(
    features: Sequence[np.ndarray], labels: Sequence[np.ndarray], splits: Sequence[Split], session: RunSession
) -> None:
    """Record the accuracy of a linear head on frozen features, cross-validated over training and validation images.

    Images that look alike count as one in the Wilson interval and stay in one fold where each class has enough others.
    The interval holds for new images. It leaves out that the folds share most of their training images.

    Args:
        features, labels: of both splits, (n, d) and one-hot (n, classes). Of more than 2,000 images, some are taken.
        splits: both.
    """
    x, y, config = np.concatenate(features), np.concatenate(labels), session.config
    some = spread_evenly(len(x), MAX_IMAGES)
    x, y = x[some], y[some]
    stored = [(split.store, at) for split in splits for at in split.index]
    groups = groups_of_images(store[at] for store, at in (stored[place] for place in some))  # one after the other
    labels, different = y.argmax(axis=1), len(np.unique(groups))
    grouped = can_be_grouped(labels, groups)
    if different < len(some) and not grouped:
        note = (
            f"{count_alike(groups):,} of {len(some):,} images look like another one, and a class has fewer than "
            f"{FOLDS} that differ: they could not be kept in one fold, so the cross-validated accuracy is too high."
        )
        add_note(note, session)
    kept_together, seeds = (groups if grouped else None), range(config.seed, config.seed + REPETITIONS)
    repeats = [stratified_group_folds(labels, kept_together, seed) for seed in seeds]
    # The mean over several repeats depends less on how the images were dealt into folds (Kim 2009, Computational
    # Statistics & Data Analysis 53:3735-3745). L2 is fixed, so that nothing is chosen on the images that judge.
    predicted = np.array([out_of_fold(x, y, folds, config.label_smoothing).argmax(axis=1) for folds in repeats])
    session.record.cross_validation = {
        "images": len(some),
        **({"different": different} if grouped else {}),
        "folds": len(repeats[0]),
        "repeats": len(repeats),
        **accuracy_with_interval(predicted == labels, different),
    }


def certainty(record: RunRecord) -> str:
    """Return in two sentences how wide the intervals are, and what the cross-validation says."""
    metrics, images, checked = record.metrics, record.dataset["images"], record.cross_validation
    widths = [
        f"{100 * (metrics[f'{key}_high'] - metrics[f'{key}_low']):.0f} points wide on "
        f"{counted(images[split], f'{split} image')}"
        for key, split in (("test", "test"), ("val", "validation"))
    ]
    alike = ", similar ones in the same" if "different" in checked else ""
    return (
        f"Few images leave an accuracy uncertain: its 95 % interval is {' and '.join(widths)}. Cross-validated on "
        f"{checked['images']:,.0f} images in {checked['folds']:.0f} stratified folds{alike}, "
        f"{checked['repeats']:.0f} times, a linear head on the frozen features classifies "
        f"{percent(checked['accuracy'])} correctly (95 % interval "
        f"{100 * checked['low']:.1f} to {100 * checked['high']:.1f})."
    )
