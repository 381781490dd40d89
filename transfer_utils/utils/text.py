"""Values from files made fit to be shown: words that cannot act as markup or break a table, numbers in one manner.

A record may come from anywhere. Nothing here trusts the type, the size or the characters of what it is given.
"""

from __future__ import annotations

import html
import json
import math
import os
from typing import Any

MISSING = "–"
MAX_LENGTH = 200  # characters of one value; longer ones would push everything else off the page


def as_text(value: Any, longest: int = MAX_LENGTH, lines: bool = False) -> str:
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


def as_label(value: Any, longest: int = 60) -> str:
    """Return one value for a Plotly label, which would read ``<b>`` and ``&lt;`` as markup."""
    return html.escape(as_text(value, longest), quote=False)


def as_label_lines(parts: str, width: int = 30) -> str:
    """Return words joined by `` · `` as one or two lines of a Plotly label."""
    lines = [""]
    for part in parts.split(" · "):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += f" · {part}" if lines[-1] else part
    shown = [as_label(line, width + 4) for line in lines[:2]]
    return "<br>".join(shown) + (" …" if len(lines) > 2 else "")


def finite_number(value: Any) -> float | None:
    """Return a finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


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


def printable(name: str | bytes) -> str:
    """Return a file's name with control characters and undecodable bytes escaped, safe to print and to store."""
    text = os.fsdecode(name)
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
