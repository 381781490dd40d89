"""Numbers, tables and outcomes in words: one way to write each, whatever it turns out to be."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType

from transfer_utils.evaluation import Estimate
from transfer_utils.utils.text import MISSING, finite_number


def plain_text(width: int, *tables: RenderableType) -> str:
    """Return what rich draws in ``width`` columns as plain text, with a blank line between two tables."""
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in tables:
        console.print(table)
        console.print()
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()


def percent(value: Any) -> str:
    """Write an accuracy in [0, 1]: ``84.2 %``, with the interval of an estimate ``84.2 % (83.5–84.9)``.

    What is missing or not a number reads ``–``; a number outside [-1, 1] is no fraction and is written as it is.
    """
    if isinstance(value, Estimate):
        return with_interval(value.mean, value.low, value.high)
    fraction = finite_number(value)
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.1f} %" if abs(fraction) <= 1 else f"{fraction:g}"


def points(found: Estimate | float) -> str:
    """Write a difference in percentage points: ``+1.1 points (+0.2 to +2.0)``."""
    if isinstance(found, Estimate):
        return f"{_signed(found.mean)} points ({_signed(found.low)} to {_signed(found.high)})"
    return f"{_signed(found)} points"


def apart(found: Estimate) -> str:
    """Write how far the better of two is ahead of the other: ``2.4 points (1.9 to 2.9)``."""
    low, high = (f"{end:.1f}".replace("-", "−") for end in (found.low, found.high))
    return f"{abs(found.mean):.1f} points ({low} to {high})"


def change(found: Estimate, gains: str, loses: str, neither: str) -> str:
    """Choose by an interval: all of it above zero, all below, or not told apart from nothing."""
    return gains if found.low > 0 else loses if found.high < 0 else neither


def rate(value: float) -> str:
    """Write a learning rate: ``0.001``, ``1e-05``."""
    return f"{value:g}"


def listing(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does: ``a, b and c``."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def layers(n: int) -> str:
    """Name a depth of unfreezing: ``none``, ``the last 30``, ``all``."""
    return {0: "none", -1: "all"}.get(n, f"the last {n}")


def labels(n: int) -> str:
    """Name a number of labels per class; 0 is all of them."""
    return f"{n:,}" if n else "all"


def seeds(n: int) -> str:
    """Say how many runs a number comes from."""
    return "1 run" if n == 1 else f"{n} seeds"


def with_interval(value: Any, low: Any, high: Any) -> str:
    """Return a fraction and its 95 % interval as ``84.4 % (83.7–85.1)``; without the ends, the fraction alone."""
    ends = finite_number(low), finite_number(high)
    if finite_number(value) is None or None in ends:
        return percent(value)
    return f"{percent(value)} ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})"


def with_deviation(mean: Any, deviation: float | None) -> str:
    """Return a mean fraction and its standard deviation as ``84.4 % ± 0.3``."""
    return percent(mean) if deviation is None else f"{percent(mean)} ± {100 * deviation:.1f}"


def duration(seconds: Any) -> str:
    """Return seconds as ``8.3 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    length = finite_number(seconds)
    if length is None or length < 0:
        return MISSING
    if length < 9.95:
        return f"{length:.1f} s"
    whole = round(length)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return text.replace("-", "−") if float(text) else "0.0"
