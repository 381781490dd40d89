"""Time things against each other fairly: in turn, several rounds, on a quiet machine, compared within each round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil

Side = Callable[[], object]

QUIET = 0.25  # busy cores while this process is idle: more of them take part of a round away
LOOK_SECONDS = 2.0


class Timed(NamedTuple):
    """What a side returns that timed itself, to leave out what is not compared."""

    seconds: float
    result: object


def busy_cores() -> float:
    """Return how many cores are busy on average over the next two seconds, in which this process sleeps."""
    return sum(psutil.cpu_percent(LOOK_SECONDS, percpu=True)) / 100


def alternate(
    sides: dict[str, Side],
    rounds: int,
    *,
    max_wait: float = 0.0,
    log: Callable[[str], None] = print,
    load: Callable[[], float] = busy_cores,
) -> dict[str, dict[str, Any]]:
    """Run every side once a round, in an order that is reversed each time, so that drifts of the machine cancel.

    Args:
        max_wait: seconds to wait before each side until other processes keep less than ``QUIET`` cores busy; a round
            that begins above it is repeated once.
        load: returns how many cores are busy just before a side starts. The load average would not do: it holds what
            the side before has left.

    Returns:
        For each side the ``seconds``, the ``results`` and the ``load`` at the start, one of each a round.
    """
    measured: dict[str, dict[str, Any]] = {name: {"seconds": [], "results": [], "load": []} for name in sides}
    for number in range(rounds):
        order = list(sides)[:: -1 if number % 2 else 1]
        timed, loads = _round(sides, order, max_wait, load)
        if max_wait and max(loads.values()) > QUIET:
            log(f"  round {number + 1} began beside {max(loads.values()):.2f} busy cores and is repeated")
            timed, loads = _round(sides, order, max_wait, load)
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


def wait_until_quiet(max_wait: float, load: Callable[[], float] = busy_cores) -> float:
    """Wait until little else runs, but no longer than ``max_wait`` seconds; return the busy cores then."""
    started = time.monotonic()
    while (busy := load()) > QUIET and time.monotonic() - started < max_wait:
        pass  # looking takes its time
    return busy


def _round(
    sides: dict[str, Side], order: list[str], max_wait: float, load: Callable[[], float]
) -> tuple[dict[str, Timed], dict[str, float]]:
    """Run each side once; return what it took and the load at its start."""
    timed, loads = {}, {}
    for name in order:
        loads[name] = wait_until_quiet(max_wait, load)
        started = time.perf_counter()
        result = sides[name]()
        timed[name] = result if isinstance(result, Timed) else Timed(time.perf_counter() - started, result)
    return timed, loads
