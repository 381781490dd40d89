"""Curves from run records: the epochs of all stages joined, means over runs, and accuracy over time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from transfer_utils.evaluation.metrics import is_lower
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.spread import spread_evenly

STAGE_NAMES = {"stage1": "stage 1", "stage2": "stage 2", "baseline": "from scratch", "training": "training"}
# The phases in ``timing_sec`` that count as training besides the epochs; in stage 1 it is solving the linear head.
PREPARATION = ("building", "features", "boundary", "stage1")
QUANTITIES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
MAX_POINTS = 1000  # per line; more than a screen has pixels to show


class JoinedCurves(NamedTuple):
    """The curves of one run, its stages one after the other.

    Attributes:
        stages: the positions of each stage in the arrays, in the order of training.
        values: each of ``QUANTITIES`` and ``seconds``, shape (epochs,), NaN where nothing is recorded.
        ran: bool, shape (epochs,), False where a stage was padded to a given length.
    """

    stages: dict[str, slice]
    values: dict[str, np.ndarray]
    ran: np.ndarray


def join_stages(record: RunRecord, lengths: Mapping[str, int] | None = None) -> JoinedCurves:
    """Join the curves of all stages of a run; a stage has as many epochs as the longest of its lists.

    Args:
        lengths: epochs of each stage, to join several runs alike; by default those of this run.
    """
    own = _stage_lengths([record])
    lengths = own if lengths is None else lengths
    ends = list(itertools.accumulate(lengths.values(), initial=0))
    stages = {stage: slice(*bounds) for stage, bounds in zip(lengths, itertools.pairwise(ends), strict=True)}
    values = {quantity: np.full(ends[-1], np.nan) for quantity in (*QUANTITIES, "seconds")}
    ran = np.zeros(ends[-1], bool)
    for stage, epochs in stages.items():
        ran[epochs][: own.get(stage, 0)] = True
        for quantity, joined in values.items():
            recorded = record.curves.get(stage, {}).get(quantity, [])
            joined[epochs][: len(recorded)] = np.array(recorded, float)
    return JoinedCurves(stages, values, ran)


def _stage_lengths(records: Sequence[RunRecord]) -> dict[str, int]:
    """Return the stages of all runs in the order of training, with the most epochs that a run recorded."""
    lengths: dict[str, int] = {}
    for record in records:
        for stage, curves in record.curves.items():
            lengths[stage] = max(lengths.get(stage, 0), *map(len, curves.values()), 0)
    order = list(STAGE_NAMES)
    return dict(sorted(lengths.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


class Moment(NamedTuple):
    """The end of an epoch: its number over all stages, the seconds since the start, and the validation accuracy."""

    epoch: int
    seconds: float
    val_accuracy: float


def timeline(record: RunRecord) -> list[Moment]:
    """Return the end of every epoch of a run, in order. Stages without recorded times are left out.

    The seconds include the epochs and, before them, building the network, computing features and boundary
    activations, and whatever stage 1 did besides its epochs, such as solving the linear head. They exclude reading
    the data, whatever came from a cache, and the checkpoints of stage 2 and of the baseline.
    """
    joined = join_stages(record)
    waits = _waits(record, joined, PREPARATION)
    moments: list[Moment] = []
    elapsed = 0.0
    for epochs in joined.stages.values():
        durations, accuracies = joined.values["seconds"][epochs], joined.values["val_accuracy"][epochs]
        elapsed += float(waits[epochs].sum())
        if np.isnan(durations).any():
            continue
        for duration, accuracy in zip(durations, accuracies, strict=True):
            elapsed += float(duration)
            moments.append(Moment(len(moments) + 1, elapsed, float(accuracy)))
    return moments


def first_reaching(record: RunRecord, accuracy: float) -> Moment | None:
    """Return the end of the first epoch with at least this validation accuracy, or None if there is none."""
    return next((moment for moment in timeline(record) if moment.val_accuracy >= accuracy), None)


@dataclass
class History:
    """Curves of one run, or mean curves of several, over the epochs of all stages.

    Attributes:
        epochs: shape (n,), counted through all stages from 1.
        seconds: shape (n,), since the start of the run, with all that stands before and between the epochs, such as
            reading the data and computing features; NaN where no times are recorded.
        values: each of ``QUANTITIES``, shape (n,), NaN where nothing is recorded.
        starts: the first epoch of each stage that has any.
        deviations: for each quantity the standard deviation over the runs, shape (n,); empty for a single run.
    """

    epochs: np.ndarray
    seconds: np.ndarray
    values: dict[str, np.ndarray]
    starts: dict[str, int]
    deviations: dict[str, np.ndarray] = field(default_factory=dict)

    def has(self, quantity: str) -> bool:
        return bool(np.isfinite(self.values[quantity]).any())

    def points(self) -> np.ndarray:
        """Return the indices of the epochs to draw: all of them, or ``MAX_POINTS`` spread evenly."""
        return spread_evenly(len(self.epochs), MAX_POINTS)


def mean_history(records: Sequence[RunRecord]) -> History:
    """Return the mean curves of several runs, stage by stage.

    An epoch has a mean only if every run that records the quantity reached it: otherwise the mean would jump where a
    run ends, although no curve does.
    """
    lengths = _stage_lengths(records)
    runs = [join_stages(record, lengths) for record in records]
    tables = {quantity: np.array([run.values[quantity] for run in runs]) for quantity in (*QUANTITIES, "seconds")}
    # A run with fewer epochs of a stage begins the next one sooner: the epochs it lacks take no time.
    durations = np.where([run.ran for run in runs], tables.pop("seconds"), 0)
    seconds = np.cumsum(durations + [_waits(*pair) for pair in zip(records, runs, strict=True)], axis=1)
    return History(
        epochs=np.arange(1, seconds.shape[1] + 1),
        seconds=_mean(seconds),
        values={quantity: _mean(table) for quantity, table in tables.items()},
        starts={stage: epochs.start + 1 for stage, epochs in runs[0].stages.items() if lengths[stage]},
        deviations={quantity: _deviation(table) for quantity, table in tables.items()} if len(records) > 1 else {},
    )


def _waits(record: RunRecord, joined: JoinedCurves, counted: Container[str] | None = None) -> np.ndarray:
    """Return the seconds before each epoch since the end of the one before, shape (epochs,): 0 within a stage.

    Before a stage, they are those of the ``counted`` phases (by default all) since the last epoch or the start of the
    run, such as computing features, and what the stage took besides its epochs, such as solving the linear head.
    """
    waits, pending = np.zeros(len(joined.ran)), 0.0
    for phase in dict.fromkeys([*record.timing_sec, *joined.stages]):  # in the order in which they ran
        if phase == "total":
            continue
        epochs = joined.stages.get(phase, slice(0))
        durations = joined.values["seconds"][epochs][joined.ran[epochs]]
        seconds = (record.timing_sec.get(phase) or 0.0) if counted is None or phase in counted else 0.0
        # Without recorded times, nothing is known of the seconds besides the epochs.
        pending += max(0.0, seconds - float(durations.sum())) if np.isfinite(durations).all() else 0.0
        if len(durations):
            waits[epochs.start], pending = pending, 0.0
    return waits


def _mean(table: np.ndarray) -> np.ndarray:
    finite = np.isfinite(table)
    runs = max(int(finite.any(axis=1).sum()), 1)  # the others do not record this quantity
    return np.where(finite.sum(axis=0) == runs, np.nansum(table, axis=0) / runs, np.nan)


def _deviation(table: np.ndarray) -> np.ndarray:
    """Return the sample standard deviation of each column, NaN where it has no mean or fewer than two values."""
    count, mean = np.isfinite(table).sum(axis=0), _mean(table)
    squares = np.nansum((table - mean) ** 2, axis=0)
    return np.where((count > 1) & np.isfinite(mean), np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def overfitting(record: RunRecord) -> float:
    """Return the accuracy on training images less that on validation, in points."""
    return 100 * (record.metrics["train_end2end"] - record.metrics["val_end2end"])


def accuracy_before_fine_tuning(record: RunRecord) -> float | None:
    """Return the validation accuracy of the weights that stage 2 starts from: the solved head or stage 1's best."""
    return _before_fine_tuning(record)[1]


def fine_tuning_curve(records: Sequence[RunRecord]) -> np.ndarray:
    """Return the mean validation accuracy before fine-tuning and after each of its epochs.

    Returns:
        float64, shape (1 + n,), where n is the number of epochs of the run that ended or diverged first.
    """
    curves = []
    for record in records:
        curve = [accuracy_before_fine_tuning(record), *record.curves.get("stage2", {}).get("val_accuracy", [])]
        while len(curve) > 1 and curve[-1] is None:  # a diverged run ends with such epochs
            curve.pop()
        # NaN keeps the place of an epoch whose accuracy is not recorded.
        curves.append([math.nan if accuracy is None else accuracy for accuracy in curve])
    shortest = min(map(len, curves))
    return np.mean([curve[:shortest] for curve in curves], axis=0)


def fell_back(record: RunRecord) -> bool:
    """Return whether the weights of stage 1 were kept, since stage 2 was no better on validation."""
    return record.network.get("weights_from") == "stage1"


def trained_accuracy(record: RunRecord) -> float:
    """Return the validation accuracy of the trained network: of its last epoch where the weights from before were kept.

    A diverged run counts with the accuracy of random guessing.
    """
    if record.status == "diverged":
        return 1 / len(record.dataset["class_names"])
    return record.curves["stage2"]["val_accuracy"][-1] if fell_back(record) else record.metrics["val_end2end"]


def collapsed(record: RunRecord) -> bool:
    """Return whether stage 2 ended with the same answer for all images: a training loss of ln(classes)."""
    classes = len(record.dataset["class_names"])
    losses, accuracies = (_numbers(record, "stage2", name) for name in ("loss", "val_accuracy"))
    return bool(losses) and math.isclose(losses[-1], math.log(classes), rel_tol=0.02) and accuracies[-1] < 1.5 / classes


class EarlyStop(NamedTuple):
    """Where a patience ends stage 2: the epochs trained, the best of them (0: before), and its validation accuracy."""

    epochs: int
    best_epoch: int
    val_accuracy: float


def replay_patience(record: RunRecord, patience: int) -> EarlyStop:
    """Return where ``patience`` would have ended a stage 2 that was trained to its end.

    The stage starts from the lowest ``val_loss`` of stage 1, and ends there if its best epoch is less accurate.
    """
    best, start = _before_fine_tuning(record)
    accuracy = start or 0.0
    curve = record.curves["stage2"]
    epochs = best_epoch = 0
    for loss, val_accuracy in zip(curve["val_loss"], curve["val_accuracy"], strict=True):
        epochs += 1
        if loss < best:
            best, best_epoch, accuracy = loss, epochs, val_accuracy
        elif epochs - best_epoch >= patience:
            break
    if start is not None and is_lower(accuracy, start):
        best_epoch, accuracy = 0, start
    return EarlyStop(epochs, best_epoch, accuracy)


def dip(record: RunRecord) -> int:
    """Return for how many epochs stage 2 is behind its start: the longest patience that ends it there.

    A stage that never gets ahead of its start is behind it for all its epochs.
    """
    (start, _), losses = _before_fine_tuning(record), record.curves["stage2"]["val_loss"]
    return next((epoch for epoch, loss in enumerate(losses) if loss < start), len(losses))


def _before_fine_tuning(record: RunRecord) -> tuple[float, float | None]:
    """Return ``val_loss`` and accuracy of the weights that stage 2 starts from: the lowest loss of those before it."""
    curves = record.curves.get("stage1", {})
    epochs = zip(curves.get("val_loss", []), curves.get("val_accuracy", []), strict=False)
    # A damaged record lacks the loss of an epoch, which then cannot be the best.
    known = [epoch for epoch in epochs if epoch[0] is not None]
    best, accuracy = min(known, key=lambda epoch: epoch[0], default=(math.inf, None))
    solved, solved_loss = (record.metrics.get(name) for name in ("val_convex", "val_convex_loss"))
    if solved_loss is None:  # older records do not have it: the solved head counts as the start
        return best, accuracy if solved is None else solved
    return (solved_loss, solved) if solved_loss <= best else (best, accuracy)


def _numbers(record: RunRecord, stage: str, quantity: str) -> list[float]:
    return [value for value in record.curves.get(stage, {}).get(quantity, []) if value is not None]
