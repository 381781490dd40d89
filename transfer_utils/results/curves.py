"""What a run reached by when: validation accuracy against seconds, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from transfer_utils.records import RunRecord
from transfer_utils.utils.palette import MODEL_NAMES

# What a stage cannot begin without, by its name in ``timing_sec``.
BEFORE = {"stage1": "features", "stage2": "boundary"}


class Moment(NamedTuple):
    """The end of an epoch: its number, counted over all stages, the seconds until then, and the accuracy there."""

    epoch: int
    seconds: float
    val_accuracy: float


def timeline(record: RunRecord) -> list[Moment]:
    """Return the ends of all epochs of a run, in order.

    The seconds are those of the epochs, of computing features and boundary activations, and of solving the linear head
    before the first epoch of stage 1; writing checkpoints is left out. What came from a cache took the run no time.
    """
    moments: list[Moment] = []
    passed = 0.0
    for stage, curves in record.curves.items():
        accuracy = np.array(curves.get("val_accuracy", []), float)
        seconds = np.array(curves.get("seconds", [])[: len(accuracy)], float)
        if len(seconds) < len(accuracy):
            continue  # an old log: nobody knows when
        passed += record.timing_sec.get(BEFORE.get(stage, "")) or 0.0
        if stage == "stage1":
            passed += max(0.0, (record.timing_sec.get(stage) or 0.0) - float(seconds.sum()))
        for took, reached in zip(seconds, accuracy, strict=True):
            passed += float(took)
            moments.append(Moment(len(moments) + 1, passed, float(reached)))
    return moments


def first_reaching(record: RunRecord, accuracy: float) -> Moment | None:
    """Return the end of the first epoch of at least this validation accuracy; None where there is none."""
    return next((moment for moment in timeline(record) if moment.val_accuracy >= accuracy), None)


STAGE_NAMES = {"stage1": "stage 1", "stage2": "stage 2", "baseline": "from scratch", "training": "training"}
QUANTITIES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
MAX_POINTS = 1000  # of one line; more cannot be told apart on a screen


@dataclass
class History:
    """One value an epoch, over all stages.

    Attributes:
        epochs: shape (n,), counted through all stages from 1.
        seconds: shape (n,), since the first epoch began; NaN where the record does not say.
        values: per quantity, shape (n,), NaN where there is none.
        starts: the stages and the epoch each one begins with.
        deviations: per quantity, shape (n,), the standard deviation over runs; empty for a single run.
    """

    epochs: np.ndarray
    seconds: np.ndarray
    values: dict[str, np.ndarray]
    starts: dict[str, int]
    deviations: dict[str, np.ndarray] = field(default_factory=dict)

    def has(self, quantity: str) -> bool:
        return bool(np.isfinite(self.values[quantity]).any())

    def kept(self) -> np.ndarray:
        """Return the indices to draw: all of them, or ``MOST_POINTS`` spread evenly."""
        n = len(self.epochs)
        return np.arange(n) if n <= MAX_POINTS else np.linspace(0, n - 1, MAX_POINTS).astype(int)


def mean_history(records: list[RunRecord]) -> History:
    """Return the mean curves of several runs, stage by stage, each epoch over the runs that got that far."""
    stages = list(dict.fromkeys(stage for record in records for stage in record.curves))
    stages.sort(key=lambda stage: list(STAGE_NAMES).index(stage) if stage in STAGE_NAMES else len(STAGE_NAMES))
    lengths = {stage: max(_length(record, stage) for record in records) for stage in stages}
    stages = [stage for stage in stages if lengths[stage]]
    starts, first = {}, 1
    for stage in stages:
        starts[stage] = first
        first += lengths[stage]

    def stacked(quantity: str) -> np.ndarray:
        rows = [
            np.concatenate([[], *(_padded(record, stage, quantity, lengths[stage]) for stage in stages)])
            for record in records
        ]
        return np.array(rows)

    tables = {quantity: stacked(quantity) for quantity in QUANTITIES}
    ran = np.array(
        [np.concatenate([[], *(np.arange(lengths[s]) < _length(record, s) for s in stages)]) for record in records]
    )
    # A run that had fewer epochs of a stage was at the next one sooner: those it did not have took no time.
    seconds = np.cumsum(np.where(ran, stacked("seconds"), 0), axis=1)
    return History(
        np.arange(1, first),
        _mean(seconds),
        {quantity: _mean(table) for quantity, table in tables.items()},
        starts,
        {quantity: _deviation(table) for quantity, table in tables.items()} if len(records) > 1 else {},
    )


def _length(record: RunRecord, stage: str) -> int:
    return max((len(values) for values in record.curves.get(stage, {}).values()), default=0)


def _padded(record: RunRecord, stage: str, quantity: str, length: int) -> np.ndarray:
    values = np.full(length, np.nan)
    known = record.curves.get(stage, {}).get(quantity, [])
    values[: len(known)] = np.array(known, float)
    return values


def _mean(table: np.ndarray) -> np.ndarray:
    count = np.isfinite(table).sum(axis=0)
    return np.where(count, np.nansum(table, axis=0) / np.maximum(count, 1), np.nan)


def _deviation(table: np.ndarray) -> np.ndarray:
    """Return the sample standard deviation of each column, NaN where fewer than two runs have a value."""
    count = np.isfinite(table).sum(axis=0)
    with np.errstate(over="ignore"):  # a record may hold 1e308; the chart leaves out what is infinite
        squares = np.nansum((table - _mean(table)) ** 2, axis=0)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


class LabelEfficiencyPoint(NamedTuple):
    """One model trained on one draw of labels.

    Attributes:
        model: ``transfer`` or ``baseline``.
        labels: labelled images per class; the mean over the classes where all are taken.
        draw: number of the draw.
        accuracy: fraction of the judging half of the validation split.
    """

    model: str
    labels: int
    draw: int
    accuracy: float


def summarise(measured: Sequence[LabelEfficiencyPoint]) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return by model and by labels per class the mean accuracy over the draws, the lowest and the highest."""
    found: dict[str, dict[int, list[float]]] = {}
    for one in measured:
        found.setdefault(one.model, {}).setdefault(one.labels, []).append(one.accuracy)
    return {
        model: {labels: (float(np.mean(all_)), min(all_), max(all_)) for labels, all_ in sorted(by_labels.items())}
        for model, by_labels in found.items()
    }


def verdict(measured: Sequence[LabelEfficiencyPoint]) -> str:
    """Say from the numbers what the pretrained features are worth in labels, and where they stop paying."""
    found = summarise(measured)
    transfer, baseline = found["transfer"], found["baseline"]
    levels = list(transfer)
    gaps = {level: 100 * (transfer[level][0] - baseline[level][0]) for level in levels}
    said = f"With {levels[0]:,} labels per class the frozen features are {_ahead(gaps[levels[0]])}"
    lines = [f"{said}; with all {levels[-1]:,}, {_ahead(gaps[levels[-1]])}." if len(levels) > 1 else f"{said}."]
    enough = next((level for level in levels if baseline[level][0] >= transfer[levels[0]][0]), None)
    name = MODEL_NAMES["baseline"]
    if enough is None:
        lines.append(f"The {name} does not reach, with any number of labels here, what they reach with {levels[0]:,}.")
    else:
        lines.append(f"The {name} first reaches what they reach with {levels[0]:,} when it has {enough:,} per class.")
    # Ahead for sure: even the worst draw of one beats the best draw of the other.
    sure = [level for level in levels if transfer[level][1] > baseline[level][2]]
    if not sure:
        lines.append("At no number of labels does their worst draw beat its best one.")
    elif sure == levels:
        lines.append("With all labels they are still ahead: within these data they do not stop paying.")
    elif sure == levels[: len(sure)]:
        lines.append(
            f"Up to {sure[-1]:,} per class their worst draw beats its best; with more labels it no longer does."
        )
    else:
        named = " and ".join(f"{level:,}" for level in sure)
        lines.append(f"With {named} per class their worst draw beats its best, with the other numbers it does not.")
    return " ".join(lines)


def _ahead(gap: float) -> str:
    return f"{abs(gap):.1f} points {'ahead' if gap >= 0 else 'behind'}"
