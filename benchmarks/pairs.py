"""Time things against each other fairly: in turn, several rounds, on a quiet machine, compared within each round."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Side = Callable[[], object]

QUIET_LOAD = 0.5  # runnable processes on average over the last minute: more of them share the cores with a round
POLL_SECONDS = 5.0


class Timed(NamedTuple):
    """What a side returns that timed itself, to leave out what is not compared."""

    seconds: float
    result: object


def alternate(
    sides: dict[str, Side],
    rounds: int,
    *,
    max_wait: float = 0.0,
    log: Callable[[str], None] = print,
    load: Callable[[], float | None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Run every side once a round, in an order that is reversed each time, so that drifts of the machine cancel.

    Args:
        max_wait: seconds to wait before each side until the load average is below ``QUIET_LOAD``; a round that begins
            above it is repeated once.
        load: returns the load average of the last minute, or None where the system has none.

    Returns:
        For each side the ``seconds``, the ``results`` and the ``load`` at the start, one of each a round.
    """
    measured: dict[str, dict[str, Any]] = {name: {"seconds": [], "results": [], "load": []} for name in sides}
    for number in range(rounds):
        order = list(sides)[:: -1 if number % 2 else 1]
        timed, loads = _round(sides, order, max_wait, load or load_average)
        if max_wait and max(loads.values()) > QUIET_LOAD:
            log(f"  round {number + 1} began at a load of {max(loads.values()):.2f} and is repeated")
            timed, loads = _round(sides, order, max_wait, load or load_average)
        for name in sides:
            measured[name]["seconds"].append(round(timed[name].seconds, 4))
            measured[name]["results"].append(timed[name].result)
            measured[name]["load"].append(round(loads[name], 2))
        log(f"  round {number + 1}: " + ", ".join(f"{name} {timed[name].seconds:.2f} s" for name in order))
    return measured


def compare(slow: dict[str, Any], fast: dict[str, Any], count: int) -> dict[str, Any]:
    """Return how many times faster ``fast`` is: the median of the rounds' ratios, its ends, and the rates behind it.

    The rates are those of the round with the median ratio (of an even number of rounds, the lower one of the middle
    two), so that their quotient is the ratio beside them.

    Args:
        count: of what each side did in a round, for rates a second.
    """
    ratios = [a / b for a, b in zip(slow["seconds"], fast["seconds"], strict=True)]
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[(len(ratios) - 1) // 2]
    return {
        "plain": count / slow["seconds"][middle],
        "ours": count / fast["seconds"][middle],
        "ratio": {"median": ratios[middle], "low": min(ratios), "high": max(ratios)},
        "seconds": {"plain": slow["seconds"], "ours": fast["seconds"]},
        "load": [max(pair) for pair in zip(slow["load"], fast["load"], strict=True)],
    }


def load_average() -> float | None:
    """Return the load average of the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _round(
    sides: dict[str, Side], order: list[str], max_wait: float, load: Callable[[], float | None]
) -> tuple[dict[str, Timed], dict[str, float]]:
    """Run each side once; return what it took and the load at its start."""
    timed, loads = {}, {}
    for name in order:
        loads[name] = _wait_until_quiet(max_wait, load)
        started = time.perf_counter()
        result = sides[name]()
        timed[name] = result if isinstance(result, Timed) else Timed(time.perf_counter() - started, result)
    return timed, loads


def _wait_until_quiet(max_wait: float, load: Callable[[], float | None]) -> float:
    """Wait until little else runs, but no longer than ``max_wait`` seconds; return the load average then."""
    started = time.monotonic()
    while (now := load() or 0.0) > QUIET_LOAD and time.monotonic() - started < max_wait:
        time.sleep(POLL_SECONDS)
    return now
