"""Numbers, tables and outcomes in words: one way to write each, whatever it turns out to be."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, RenderableType

from transfer_utils.evidence import Estimate


def plain_text(width: int, *tables: RenderableType) -> str:
    """Return what rich draws in ``width`` columns as plain text, with a blank line between two tables."""
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in tables:
        console.print(table)
        console.print()
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()


def percent(found: Estimate | float) -> str:
    """Write an accuracy in [0, 1]: ``84.2 % (83.5–84.9)``, or ``84.2 %`` where it has no interval."""
    if isinstance(found, Estimate):
        return f"{100 * found.mean:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"
    return f"{100 * found:.1f} %"


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


def duration(seconds: float) -> str:
    """Write a time in the unit that a reader would choose: ``45 s``, ``32 minutes``, ``1.5 hours``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


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


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return text.replace("-", "−") if float(text) else "0.0"
