"""The training curves of a run as arrays, its stages one after another; and their mean over several runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from transfer_utils.records import RunRecord

STAGE_NAMES = {"stage1": "stage 1", "stage2": "stage 2", "baseline": "from scratch", "training": "training"}
QUANTITIES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
MOST_POINTS = 1000  # of one line; more cannot be told apart on a screen


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
        return np.arange(n) if n <= MOST_POINTS else np.linspace(0, n - 1, MOST_POINTS).astype(int)


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
