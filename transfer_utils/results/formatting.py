"""Numbers, intervals and tables as text: one format for each in the terminal, the tables and the article."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType

from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.utils.text import MISSING, finite_number


def plain_text(width: int, *tables: RenderableType) -> str:
    """Return rich tables as plain text of at most ``width`` columns, with a blank line between two tables."""
    console = Console(width=width, file=io.StringIO(), record=True, markup=False, emoji=False)
    for table in tables:
        console.print(table)
        console.print()
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table without a final line break."""
    header, *lines = ("| " + " | ".join(cells) + " |" for cells in (columns, *rows))
    return "\n".join([header, "|" + "---|" * len(columns), *lines])


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


def points(difference: Estimate | float) -> str:
    """Format a difference in percentage points: ``+1.1 points (+0.2 to +2.0)``."""
    if isinstance(difference, Estimate):
        return f"{_signed(difference.mean)} points ({_signed(difference.low)} to {_signed(difference.high)})"
    return f"{_signed(difference)} points"


def p_value(p: float) -> str:
    """Format a p-value with its relation sign: ``= 0.031``, ``< 0.0001``."""
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"


def rate(value: float) -> str:
    """Format a learning rate: ``0.001``, ``1e-05``."""
    return f"{value:g}"


def layers(n: int) -> str:
    """Format a number of unfrozen layers: ``none``, ``the last 30``, ``all``."""
    return {0: "none", -1: "all"}.get(n, f"the last {n}")


def labels(n: int) -> str:
    """Format a number of labels per class; 0 means all."""
    return f"{n:,}" if n else "all"


def seeds(n: int) -> str:
    """Format the number of runs behind a result: ``1 run``, ``3 seeds``."""
    return "1 run" if n == 1 else f"{n} seeds"


def with_interval(value: Any, low: Any, high: Any) -> str:
    """Format a fraction and its 95 % interval as ``84.4 % (83.7–85.1)``; without bounds, the fraction alone."""
    bounds = finite_number(low), finite_number(high)
    if finite_number(value) is None or None in bounds:
        return percent(value)
    return f"{percent(value)} ({100 * bounds[0]:.1f}–{100 * bounds[1]:.1f})"


def with_deviation(mean: Any, deviation: float | None) -> str:
    """Format a mean fraction and its standard deviation as ``84.4 % ± 0.3``."""
    return percent(mean) if deviation is None else f"{percent(mean)} ± {100 * deviation:.1f}"


def duration(seconds: Any) -> str:
    """Format seconds as ``8.3 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    number = finite_number(seconds)
    if number is None or number < 0:
        return MISSING
    if number < 9.95:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    hours, minutes = divmod(round(number / 60), 60)
    return f"{hours:,} h {minutes:02d} min"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return text.replace("-", "−") if float(text) else "0.0"
