"""What can be said with few images: the head on frozen features, cross-validated, and how wide the intervals are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_utils.data.dataset import Dataset
from transfer_utils.evaluation import wilson_interval
from transfer_utils.experiment.cross_validation import FOLDS, REPETITIONS
from transfer_utils.experiment.session import RunSession
from transfer_utils.records.record import RunRecord
from transfer_utils.training.linear_head import cross_validate_head
from transfer_utils.utils.spread import spread_evenly
from transfer_utils.utils.text import counted

FEW_HELD_OUT = 200  # images in a split, below which the interval of an accuracy of 85 % is over ten points wide
MAX_IMAGES = 2_000  # to cross-validate on; their interval is narrow enough


def few_held_out(dataset: Dataset) -> bool:
    """Return whether the validation or the test split has too few images for a narrow interval."""
    return min(len(dataset.validation), len(dataset.test)) < FEW_HELD_OUT


def record_cross_validation(features: Sequence[np.ndarray], labels: Sequence[np.ndarray], session: RunSession) -> None:
    """Record the accuracy of the head on frozen features, cross-validated over training and validation images.

    The Wilson interval holds for new images. It leaves out that the folds share most of their training images.

    Args:
        features, labels: of both splits, (n, d) and one-hot (n, classes). Of more than 2,000 images, some are taken.
    """
    x, y = np.concatenate(features), np.concatenate(labels)
    some = spread_evenly(len(x), MAX_IMAGES)
    dealt = {"folds": min(FOLDS, len(some)), "repeats": REPETITIONS}
    config = session.config
    accuracy = cross_validate_head(x[some], y[some], config.label_smoothing, seed=config.seed, **dealt)
    low, high = wilson_interval(round(accuracy * len(some)), len(some))
    result = {"images": len(some), **dealt, "accuracy": accuracy, "low": low, "high": high}
    session.record.cross_validation = result


def certainty(record: RunRecord) -> str:
    """Return in two sentences how wide the intervals are, and what the cross-validation says."""
    metrics, images, checked = record.metrics, record.dataset["images"], record.cross_validation
    widths = [
        f"{100 * (metrics[f'{key}_high'] - metrics[f'{key}_low']):.0f} points wide on "
        f"{counted(images[split], f'{split} image')}"
        for key, split in (("test", "test"), ("val", "validation"))
    ]
    return (
        f"Few images leave an accuracy uncertain: its 95 % interval is {' and '.join(widths)}. Cross-validated on "
        f"{checked['images']:,.0f} images in {checked['folds']:.0f} stratified folds, {checked['repeats']:.0f} times, "
        f"the head on frozen features alone classifies {100 * checked['accuracy']:.1f} % correctly (95 % interval "
        f"{100 * checked['low']:.1f} to {100 * checked['high']:.1f})."
    )
