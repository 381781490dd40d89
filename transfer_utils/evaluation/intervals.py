"""Estimates with intervals of 95 %: of an accuracy, of the difference of two models, and of repeated runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # the submodules load on first use, which keeps this import fast

from transfer_utils.errors import UserError

UPPER = 0.975  # the quantile at the upper end of a 95 % interval


class Estimate(NamedTuple):
    """The mean of ``n`` runs with its 95 % interval; accuracies in [0, 1], differences in percentage points."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def on_images(cls, accuracy: float, n: int) -> Estimate:
        """Return the accuracy of one run on ``n`` images, with Wilson's interval."""
        return cls(accuracy, *wilson_interval(round(accuracy * n), n), 1)

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate with its interval cut to what is possible; that of two seeds is often wider."""
        return self._replace(low=max(self.low, low), high=min(self.high, high))


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval (1927, without continuity correction) of the accuracy correct / n.

    Raises:
        UserError: ``n`` is below 1, or ``correct`` is not in [0, n].
    """
    if n < 1:
        raise UserError(f"n must be at least 1, got {n}")
    if not 0 <= correct <= n:
        raise UserError(f"correct must be between 0 and n = {n}, got {correct}")
    interval = scipy.stats.binomtest(int(correct), int(n)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, Any]:
    """Test whether two models make equally many errors on the same images (McNemar 1947, exact, two-sided).

    Args:
        correct_a, correct_b: shape (n,), boolean, whether each model classifies each image correctly.

    Returns:
        The numbers of images that ``both``, ``only_a``, ``only_b`` and ``neither`` classify correctly, and the
        ``p_value``, 1.0 if the models agree on every image.

    Raises:
        UserError: no images, or different counts.
    """
    a, b = _checked_pair(correct_a, correct_b)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    differing = only_a + only_b
    return {
        "both": int((a & b).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "neither": int((~a & ~b).sum()),
        "p_value": float(scipy.stats.binomtest(only_a, differing).pvalue) if differing else 1.0,
    }


def difference_interval(correct_a: np.ndarray, correct_b: np.ndarray) -> Estimate:
    """Compute the difference in accuracy between models a and b on the same images, with a 95 % interval.

    The interval is the Wald interval for paired proportions with the adjustment of Bonett and Price (2012, Journal of
    Educational and Behavioral Statistics 37:479-488), which adds one image to each discordant count.
    Fagerland, Lydersen and Laake (2014, Statistics in Medicine 33:2850-2875) recommend it.
    The arguments are boolean (n,): whether each model classifies each image correctly.

    Returns:
        The difference a - b with its interval, in percentage points, of one run each.

    Raises:
        UserError: no images, or different counts.
    """
    a, b = _checked_pair(correct_a, correct_b)
    only_a, only_b, n = (a & ~b).sum(), (~a & b).sum(), len(a)
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    error = math.sqrt((share_a + share_b - centre**2) / (n + 2))
    # scipy.special, here and below, as scipy.stats would take 50 MB more of the memory of the dashboard's server.
    reach = scipy.special.ndtri(UPPER) * error
    low, high = max(centre - reach, -1), min(centre + reach, 1)
    return Estimate(*(float(100 * share) for share in ((only_a - only_b) / n, low, high)), 1)


def summarise_seeds(values: Sequence[float]) -> dict[str, float | int | None]:
    """Compute the mean of one number over repeated runs, with Student's t interval of 95 %.

    Returns:
        ``mean``, sample ``std`` (n - 1), ``low``, ``high`` and ``n``; with one run, ``std`` and the bounds are None.

    Raises:
        UserError: no values, or one that is not finite.
    """
    numbers = np.asarray(values, float)
    if numbers.size == 0:
        raise UserError("values must have at least one number, got none")
    if not np.isfinite(numbers).all():
        raise UserError(f"values must be finite, got {values}")
    n, mean = numbers.size, float(numbers.mean())
    if n == 1:
        return {"mean": mean, "std": None, "low": None, "high": None, "n": 1}
    std = float(numbers.std(ddof=1))
    reach = float(scipy.special.stdtrit(n - 1, UPPER)) * std / math.sqrt(n)
    return {"mean": mean, "std": std, "low": mean - reach, "high": mean + reach, "n": n}


def _checked_pair(correct_a: np.ndarray, correct_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if len(a) != len(b):
        raise UserError(f"correct_a and correct_b must have the same length, got {len(a)} and {len(b)}")
    if a.size == 0:
        raise UserError("correct_a must have at least one image, got none")
    return a, b
