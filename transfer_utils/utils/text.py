"""Format untrusted values for display: text without markup or control characters, finite numbers, sizes.

A record may come from anywhere, so a value can have any type, size and characters.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

from rich import filesize

MISSING = "–"
MAX_LENGTH = 200  # characters of one value; a longer one would fill the page
MAX_BLOCK = 5000  # characters of a command or an error, which has a block of its own
MAX_LABEL_LINES = 4

# Invisible characters that shape Persian and Indic words and emoji; Python counts them as unprintable.
JOINERS = "\u200c\u200d"


def as_text(value: Any, max_length: int = MAX_LENGTH, lines: bool = False) -> str:
    """Return a value as printable text; control characters, lone surrogates and direction marks become escapes.

    Args:
        value: any JSON value.
        max_length: longer text is cut and ends in an ellipsis.
        lines: keep line ends and tabs, for text in a separate block.
    """
    text = value if isinstance(value, str) else _to_text(value)
    shown = _escaped(text[:max_length], keep="\n\t" if lines else "")
    return shown + "…" if len(text) > max_length else shown


def is_printable(text: str) -> bool:
    """Return whether a text can be shown as it is: without control characters, lone surrogates or direction marks."""
    return without_joiners(text).isprintable()


def without_joiners(text: str) -> str:
    """Return a text without the ``JOINERS``, which looks much the same."""
    for joiner in JOINERS:  # ten times as fast as str.translate, and every cell of a table comes here
        text = text.replace(joiner, "")
    return text


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate, an undecodable byte of a file name, becomes ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


def as_lines(text: str) -> str:
    """Return lines for a terminal, which would obey the escape codes in the name of a file or class."""
    return _escaped(text, keep="\n\t")


def as_label(value: Any, max_length: int = 60) -> str:
    """Return a value as text for a Plotly label, with ``<`` and ``&`` escaped so that it is not read as markup."""
    return html.escape(as_text(value, max_length), quote=False)


def as_label_lines(parts: str, width: int = 30) -> str:
    """Return text whose parts are joined by `` · `` as lines of a Plotly label, at most ``MAX_LABEL_LINES``."""
    lines = [""]
    for part in parts.split(" · "):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += f" · {part}" if lines[-1] else part
    shown = [as_label(line, width + 4) for line in lines[:MAX_LABEL_LINES]]
    return "<br>".join(shown) + (" …" if len(lines) > MAX_LABEL_LINES else "")


def finite_number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def format_bytes(n: float) -> str:
    """Return a size in bytes in the largest fitting unit, such as ``1.5 MB`` (decimal units)."""
    return filesize.decimal(round(n))


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 file``, ``1,200 files``; ``many`` is the plural if it is not ``one`` + s."""
    return f"1 {one}" if n == 1 else f"{n:,} {many or one + 's'}"


def enumerated(words: Sequence[str], last: str = "and") -> str:
    """Join words to a list in a sentence: ``a, b and c``."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def first_named(words: Sequence[str], most: int) -> str:
    """Join words at the end of a sentence: ``a, b.``, or of more than ``most`` the first ones: ``a, b, ...``."""
    return ", ".join(words[:most]) + (", ..." if len(words) > most else ".")


def printable(name: str | bytes) -> str:
    """Return a file name with control characters and undecodable bytes escaped, safe to print and to store."""
    return _escaped(os.fsdecode(name))


def command_line(words: Sequence[str]) -> str:
    """Return a command to paste into a terminal of this system; Windows knows double quotes only."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def spreadsheet_text(text: str) -> str:
    """Return text for a cell of a CSV file; a spreadsheet would evaluate what begins like a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def data_uri(content: bytes, kind: str) -> str:
    """Return the address of a picture that a page holds itself; ``kind`` is ``png``, ``jpeg`` or ``webp``."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def _to_text(value: Any) -> str:
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


def _escaped(text: str, keep: str = "") -> str:
    if is_printable(text):
        return text
    return "".join(c if is_printable(c) or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)
