"""Fractions in percent, and differences in percentage points, with their intervals."""

from __future__ import annotations

from typing import Any

from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.utils.text import MISSING, finite_number


def percent(value: Any) -> str:
    """Format an accuracy in [0, 1] as ``84.2 %``, or an estimate with its interval as ``84.2 % (83.5–84.9)``.

    A value that is missing or not a number becomes ``–``. A number outside [-1, 1] is not a fraction: it is unchanged.
    """
    if isinstance(value, Estimate):
        return with_interval(value.mean, value.low, value.high)
    fraction = finite_number(value)
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.1f} %" if abs(fraction) <= 1 else f"{fraction:g}"


def with_interval(value: Any, low: Any, high: Any) -> str:
    """Format a fraction and its 95 % interval as ``84.4 % (83.7–85.1)``; without bounds, the fraction alone."""
    bounds = finite_number(low), finite_number(high)
    if finite_number(value) is None or None in bounds:
        return percent(value)
    return f"{percent(value)} ({100 * bounds[0]:.1f}–{100 * bounds[1]:.1f})"


def with_deviation(mean: Any, deviation: float | None) -> str:
    """Format a mean fraction and its standard deviation as ``84.4 % ± 0.3``."""
    return percent(mean) if deviation is None else f"{percent(mean)} ± {100 * deviation:.1f}"


def points(difference: Estimate | float) -> str:
    """Format a difference in percentage points: ``+1.1 points (+0.2 to +2.0)``."""
    if isinstance(difference, Estimate):
        return f"{_signed(difference.mean)} points ({_signed(difference.low)} to {_signed(difference.high)})"
    return f"{_signed(difference)} points"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return text.replace("-", "−") if float(text) else "0.0"
