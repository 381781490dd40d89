"""What a run reached by when: validation accuracy against seconds, from its record."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transfer_utils.records import RunRecord

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
