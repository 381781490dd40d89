"""The difference in test accuracy between two selections of runs, from their answers on the same test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from transfer_utils.evaluation.intervals import UPPER, Estimate, difference_interval
from transfer_utils.evaluation.percent import points
from transfer_utils.records.record import RunRecord
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.results.groups import RunGroup, diverged_seeds
from transfer_utils.results.summary import answers_on_test, over_seeds, tested_on
from transfer_utils.utils.text import counted


@dataclass(frozen=True)
class Verdict:
    """Which of two selections is better on the test images, as a sentence, and what that rests on."""

    text: str
    basis: str = ""


def paired_verdict(a: RunGroup, b: RunGroup) -> Verdict:
    """Compare the test accuracy of two groups of runs image by image.

    A group of which a seed diverged is never the better one: the difference is that of its other seeds.
    """
    sides = [[row.record for row in group.newest(lambda row: _answers(row.record) is not None)] for group in (a, b)]
    for group, records in zip((a, b), sides, strict=True):
        if not records:
            return Verdict(f"These runs cannot tell: {group.name} has no recorded answers to the test images.")
    images = {tested_on(record) for records in sides for record in records}
    if len(images) > 1:
        return Verdict("These runs cannot tell: they may not have been tested on the same images.")
    difference, basis = paired_difference(*sides)
    better, worse = (a, b) if difference.low > 0 else (b, a)
    lost = {group.name: n for group in (a, b) if (n := diverged_seeds(group.rows))}
    notes = [
        f" {counted(n, 'seed')} of {name} diverged and {'has' if n == 1 else 'have'} no answers."
        for name, n in lost.items()
    ]
    if difference.low <= 0 <= difference.high or better.name in lost:
        text = f"These runs cannot tell {a.name} from {b.name}: the difference is {points(difference)}."
    else:
        ends = sorted(abs(end) for end in (difference.low, difference.high))
        text = f"{better.name} beats {worse.name} by {abs(difference.mean):.1f} points, {ends[0]:.1f} to {ends[1]:.1f}."
    basis += "".join(notes)
    return Verdict(text, f"95 % interval from {len(_answers(sides[0][0])):,} test images, {basis}")


def paired_difference(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[Estimate, str]:
    """Return the mean test accuracy of ``a`` minus that of ``b`` in points, and what its interval covers.

    One run each: the interval of paired proportions (Bonett and Price 2012). Runs with the same seeds: the interval of
    the mean difference over the seeds (see ``over_seeds``). Other runs: the variance over the images of the mean
    difference, and Welch's interval over the runs of either side, added in quadrature. All records must have answers to
    the same test images.
    """
    if len(a) == len(b) == 1:
        gap = difference_interval(_answers(a[0]), _answers(b[0]))
        return gap, "for one run each: another seed may change more than this."
    by_seed = [{record.config.get("seed"): record for record in records} for records in (a, b)]
    common = sorted(set(by_seed[0]) & set(by_seed[1]), key=str)
    if len(common) > 1 and len(by_seed[0]) == len(a) and len(by_seed[1]) == len(b):
        pairs = [(_answers(by_seed[0][seed]), _answers(by_seed[1][seed])) for seed in common]
        gaps = [difference_interval(*pair) for pair in pairs]
        return over_seeds(gaps, shared=True).within(-100.0, 100.0), f"over the {len(common)} seeds that both have."
    hits = [np.array([_answers(record) for record in records], float) for records in (a, b)]
    means = [side.mean(axis=1) for side in hits]
    gap = 100 * float(means[0].mean() - means[1].mean())
    over_images = hits[0].mean(axis=0) - hits[1].mean(axis=0)
    n = len(over_images)
    error = scipy.special.ndtri(UPPER) * float(over_images.std(ddof=1)) / math.sqrt(n) if n > 1 else 1.0
    reach = 100 * math.hypot(error, _welch(means))
    basis = f"over {len(a)} and {len(b)} runs"
    basis += "." if min(len(a), len(b)) > 1 else "; what another seed changes is known of one side alone."
    return Estimate(gap, gap - reach, gap + reach, min(len(a), len(b))).within(-100.0, 100.0), basis


def _welch(sides: Sequence[np.ndarray]) -> float:
    """Return half the width of the interval of the difference of two means over runs (Welch 1947).

    A side of one run has no known variance and adds nothing.
    """
    parts = [(side.var(ddof=1) / len(side), len(side) - 1) for side in sides if len(side) > 1]
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    return float(scipy.special.stdtrit(freedom, UPPER)) * math.sqrt(variance)


def _answers(record: RunRecord) -> np.ndarray | None:
    """Return ``answers_on_test``; None also for a damaged record."""
    try:
        return answers_on_test(record)
    except UnreadableRecord:
        return None
