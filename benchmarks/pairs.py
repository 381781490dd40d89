"""Time things against each other fairly: in turn, several rounds, the median and the spread of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

Side = Callable[[], object]


class Timed(NamedTuple):
    """What a side returns that timed itself, to leave out what is not compared."""

    seconds: float
    result: object


def alternate(sides: dict[str, Side], rounds: int, log: Callable[[str], None] = print) -> dict[str, dict]:
    """Run every side once a round, in an order that is reversed each time; the machine's moods then hit all alike.

    Returns:
        For each side: ``seconds`` of every round, their ``median``, and what each call returned as ``results``.
    """
    found: dict[str, dict] = {name: {"seconds": [], "results": []} for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            started = time.perf_counter()
            result = sides[name]()
            timed = result if isinstance(result, Timed) else Timed(time.perf_counter() - started, result)
            found[name]["seconds"].append(round(timed.seconds, 4))
            found[name]["results"].append(timed.result)
            log(f"  round {number + 1}, {name}: {found[name]['seconds'][-1]:.2f} s")
    for measured in found.values():
        measured["median"] = statistics.median(measured["seconds"])
    return found


def ratio(slow: dict, fast: dict) -> dict[str, float]:
    """Return how many times faster ``fast`` is: the ratio within each round, its median and its ends."""
    ratios = [a / b for a, b in zip(slow["seconds"], fast["seconds"], strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
