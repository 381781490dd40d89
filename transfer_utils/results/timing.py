"""Where the time of a run went, by phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_utils.records.record import RunRecord

# The phases of a run in ``timing_sec``, in their usual order, as charts name them.
PHASE_NAMES = {
    "loading": "loading TensorFlow",
    "data": "data",
    "building": "building the network",
    "source_task": "probing the source task",
    "features": "features",
    "stage1": "stage 1",
    "boundary": "boundary activations",
    "stage2": "stage 2",
    "source_task_after": "probing it again",
    "baseline": "training from scratch",
    "saving": "saving",
    "evaluation": "evaluation",
    "thumbnails": "thumbnails",
    "export": "export",
}
OTHER = "other"


def timed_alike(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the records whose times can be averaged: those without a GPU, or all if each had one."""
    return [record for record in records if not record.on_gpu] or list(records)


def comparable(one: RunRecord, other: RunRecord) -> bool:
    """Return whether the times of two runs can be compared: neither had a GPU, and both had as many cores."""
    return not (one.on_gpu or other.on_gpu) and one.machine.get("cores") == other.machine.get("cores")


def time_spent(records: Sequence[RunRecord]) -> dict[str, float]:
    """Return the mean seconds of each phase over the runs that record any, and of the rest of their total as ``other``.

    A phase without time is left out, and so are runs with a GPU beside others.
    """
    tables = [
        {name: seconds for name, seconds in record.timing_sec.items() if seconds and seconds > 0}
        for record in timed_alike(records)
    ]
    tables = [table for table in tables if table]
    for table in tables:
        total = table.pop("total", 0.0)
        table[OTHER] = max(0.0, total - sum(table.values()))
    names = dict.fromkeys(name for table in tables for name in table)
    means = {name: float(np.mean([table.get(name, 0.0) for table in tables])) for name in names}
    return {name: seconds for name, seconds in means.items() if seconds >= 0.05}
