"""Tables, durations and settings as text: one format for each in the terminal, the tables and the article."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType

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
