"""Values from files made fit to be shown: words that cannot act as markup or break a table, numbers in one manner.

A record may come from anywhere. Nothing here trusts the type, the size or the characters of what it is given.
"""

from __future__ import annotations

import html
import json
import math
from typing import Any

MISSING = "–"
LONGEST = 200  # characters of one value; longer ones would push everything else off the page


def text(value: Any, longest: int = LONGEST, lines: bool = False) -> str:
    """Return one value as printable text: control characters, lone surrogates and direction marks become escapes.

    Args:
        value: anything that JSON can hold.
        longest: characters after which the text is cut, with an ellipsis.
        lines: keep line ends and tabs, for a block of its own.
    """
    words = value if isinstance(value, str) else _words(value)
    shown = words[:longest]
    if not shown.isprintable():
        kept = "\n\t" if lines else ""
        shown = "".join(letter if letter.isprintable() or letter in kept else _escape(letter) for letter in shown)
    return shown + "…" if len(words) > longest else shown


def label(value: Any, longest: int = 60) -> str:
    """Return one value for a Plotly label, which would read ``<b>`` and ``&lt;`` as markup."""
    return html.escape(text(value, longest), quote=False)


def label_lines(parts: str, width: int = 30) -> str:
    """Return words joined by `` · `` as one or two lines of a Plotly label."""
    lines = [""]
    for part in parts.split(" · "):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += f" · {part}" if lines[-1] else part
    shown = [label(line, width + 4) for line in lines[:2]]
    return "<br>".join(shown) + (" …" if len(lines) > 2 else "")


def number(value: Any) -> float | None:
    """Return a finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def percent(value: Any) -> str:
    """Return a fraction as ``84.4 %``."""
    fraction = number(value)
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.1f} %" if abs(fraction) <= 1 else f"{fraction:g}"


def with_interval(value: Any, low: Any, high: Any) -> str:
    """Return a fraction and its 95 % interval as ``84.4 % (83.7–85.1)``; without the ends, the fraction alone."""
    ends = number(low), number(high)
    if number(value) is None or None in ends:
        return percent(value)
    return f"{percent(value)} ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})"


def with_deviation(mean: Any, deviation: float | None) -> str:
    """Return a mean fraction and its standard deviation as ``84.4 % ± 0.3``."""
    return percent(mean) if deviation is None else f"{percent(mean)} ± {100 * deviation:.1f}"


def duration(seconds: Any) -> str:
    """Return seconds as ``8.3 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    length = number(seconds)
    if length is None or length < 0:
        return MISSING
    if length < 9.95:
        return f"{length:.1f} s"
    whole = round(length)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _words(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deeply)"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
