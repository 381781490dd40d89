"""When a classifier answers "not sure": the score of an answer, its threshold, and how well scores separate pictures.

The score is the largest probability, the maximum softmax probability of Hendrycks and Gimpel (2017, arXiv 1610.02136).
It needs nothing but what every saved model gives, whatever its format. ``docs/not-sure.md`` compares it with two scores
of the logits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy  # the submodules load on first use, which keeps this import fast

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import UPPER, Estimate, wilson_interval
from transfer_utils.evaluation.percent import percent

SCORE = "largest probability"  # its name in records and cards


def not_sure_threshold(scores: np.ndarray, rate: float) -> float:
    """Return the largest threshold below which at most the share ``rate`` of ``scores`` lies.

    Args:
        scores: (n,), those of the validation images, never of the test images.
        rate: from 0 to less than 1; 0 gives the threshold 0, below which no probability lies.

    Raises:
        UserError: there are no scores, or the rate is outside its limits.
    """
    if not 0 <= rate < 1:
        raise UserError(f"rate must be at least 0 and less than 1, got {rate}")
    if not len(scores):
        raise UserError("scores must have at least one number, got none")
    # 0.29 * 100 is 28.999999999999996; and a rate just below 1 must not round up to all scores.
    below = min(math.floor(rate * len(scores) + 1e-9), len(scores) - 1)
    return float(np.sort(scores)[below]) if rate else 0.0


def describe_not_sure(
    probabilities: dict[str, np.ndarray], labels: np.ndarray, rate: float
) -> dict[str, float | str | None]:
    """Choose a threshold on validation, and describe what it does on both splits, for a run record.

    Args:
        probabilities: (n, classes) of the splits ``val`` and ``test``.
        labels: int (n,), of the test split.
        rate: share of the validation images that may be answered "not sure".

    Returns:
        The name of the ``score``, the ``rate`` and the ``threshold``; the shares ``val_share`` and ``test_share`` that
        are answered "not sure"; the accuracy on the other test images, ``test_accuracy`` with its Wilson interval
        ``test_low`` and ``test_high``, None if there are no others.
    """
    scores = {split: rows.max(axis=1) for split, rows in probabilities.items()}
    threshold = not_sure_threshold(scores["val"], rate)
    answered = scores["test"] >= threshold
    correct, n = int((probabilities["test"].argmax(axis=1) == labels)[answered].sum()), int(answered.sum())
    low, high = wilson_interval(correct, n) if n else (None, None)
    return {
        "score": SCORE,
        "rate": rate,
        "threshold": threshold,
        "val_share": float((scores["val"] < threshold).mean()),
        "test_share": float((~answered).mean()),
        "test_accuracy": correct / n if n else None,
        "test_low": low,
        "test_high": high,
    }


def auroc(known: np.ndarray, foreign: np.ndarray) -> Estimate:
    """Return the area under the ROC curve of a score that is to be higher for known pictures than for foreign ones.

    It is the probability that a known picture has a higher score than a foreign one; a tie counts one half. 0.5 is
    chance. The interval is that of DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44:837-845), from the mid-ranks
    of Sun and Xu (2014, IEEE Signal Processing Letters 21:1389-1393). It has no width if the scores do not overlap at
    all.

    Args:
        known: (m,), the scores of known pictures.
        foreign: (n,), the scores of foreign pictures.

    Raises:
        UserError: fewer than two pictures of one kind, or scores that are not finite.
    """
    known, foreign = np.asarray(known, float), np.asarray(foreign, float)
    m, n = len(known), len(foreign)
    if min(m, n) < 2:
        raise UserError(f"known and foreign must have at least two scores each, got {m} and {n}")
    both = np.concatenate([known, foreign])
    if not np.isfinite(both).all():
        raise UserError("known and foreign must be finite")
    rank = scipy.stats.rankdata
    ranks = rank(both)
    # For each known picture the share of foreign ones below it, and for each foreign one of known ones above it.
    below, above = (ranks[:m] - rank(known)) / n, 1 - (ranks[m:] - rank(foreign)) / m
    area = float(below.mean())
    reach = scipy.special.ndtri(UPPER) * math.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n)
    return Estimate(area, float(max(area - reach, 0)), float(min(area + reach, 1)), 1)


def sentence(not_sure: dict[str, Any]) -> str:
    """Return what ``describe_not_sure`` found on the test split, in a sentence."""
    share, threshold, accuracy = (not_sure[name] for name in ("test_share", "threshold", "test_accuracy"))
    start = f"Not sure of {percent(share)} of the test images, whose largest probability is below {threshold:.2f}"
    return f"{start}." if accuracy is None else f"{start}; {percent(accuracy)} of the others are right."
