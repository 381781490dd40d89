"""How far a run has come: its epoch, the time left, its last accuracy, and the command that resumes it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer_utils.config.recorded import recorded_config
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.record import RESUMABLE, RunRecord
from transfer_utils.results.curves import STAGE_NAMES
from transfer_utils.results.formatting import duration
from transfer_utils.results.table import STOPPED, Row
from transfer_utils.utils.text import command_line

UNFINISHED = (*RESUMABLE, STOPPED)  # the same command resumes a run of these statuses
TIMED_EPOCHS = 5  # the last epochs, whose median predicts the next


class RunProgress(NamedTuple):
    """How far a run has come.

    Attributes:
        epoch: the number of epochs recorded, over all stages.
        planned: the epochs that the run has at most; a stage that stopped early counts with those that it had.
        stage: the last stage that has begun; empty before the first epoch.
        seconds_left: of this stage, as predicted from its last epochs; None if they are not timed.
        last_stage: whether no stage follows.
        val_accuracy: the last one recorded, in [0, 1].
    """

    epoch: int
    planned: int
    stage: str
    seconds_left: float | None
    last_stage: bool
    val_accuracy: float | None


def progress(row: Row) -> RunProgress:
    """Return how far a run has come, by its record."""
    planned, record = row.planned_stages, row.record
    recorded = {stage: max(map(len, curves.values()), default=0) for stage, curves in record.curves.items()}
    epoch = sum(recorded.values())
    stages = list(planned)
    stage = next((name for name in reversed(stages) if recorded.get(name)), "")
    # The record has these once a stage is over, also if it stopped early.
    mark = {"stage1": "trainable_stage2", "stage2": "weights_from"}.get(stage)
    over = row.status == "running" and mark in record.network
    if over:
        planned = planned | {stage: recorded[stage]}
    to_come = stages[stages.index(stage) :] if stage else []
    accuracies = row.history.values["val_accuracy"]
    accuracies = accuracies[np.isfinite(accuracies)]
    return RunProgress(
        epoch=epoch,
        planned=epoch + sum(max(planned[name] - recorded.get(name, 0), 0) for name in to_come),
        stage=stage,
        seconds_left=0.0 if over else _seconds_left(record.curves.get(stage, {}).get("seconds", []), _work(row, stage)),
        last_stage=len(to_come) == 1,
        val_accuracy=float(accuracies[-1]) if len(accuracies) else None,
    )


def _work(row: Row, stage: str) -> list[float]:
    """Return the work of each planned epoch of a stage, as a share of that of the last one: more pixels take longer."""
    planned, grows = row.planned_stages.get(stage, 0), stage == "stage2" and row.config.get("image_size_start")
    # Only of a run that grows: to check the options of every run of a table takes longer than to draw it.
    if grows and (config := recorded_config(row.record.config)) and config.epochs_stage2 == planned:
        return [(side / config.image_size) ** 2 for side in config.side_by_epoch]
    return [1.0] * planned


def _seconds_left(seconds: list[float | None], work: list[float]) -> float | None:
    done = work[: len(seconds)] + [1.0] * (len(seconds) - len(work))  # a record may have more epochs than it planned
    recent = list(zip(seconds, done, strict=True))[-TIMED_EPOCHS:]
    timed = [value / each for value, each in recent if value is not None and value >= 0]
    return statistics.median(timed) * sum(work[len(seconds) :]) if timed else None


def epochs_text(row: Row) -> str:
    """Return the epochs recorded, such as ``20``, or ``12 of 20`` if the run planned more; empty if there are none."""
    done = progress(row)
    if not done.epoch:
        return ""
    return str(done.epoch) if done.epoch == done.planned else f"{done.epoch} of {done.planned}"


def describe_progress(row: Row) -> str:
    """Describe how far an unfinished run has come, such as ``epoch 12 of 20 (stage 2) · about 3 min left``."""
    done = progress(row)
    if not done.stage:
        return "no epoch recorded yet"
    parts = [f"epoch {done.epoch} of {done.planned} ({STAGE_NAMES[done.stage]})"]
    if row.status == "running" and done.seconds_left is not None:
        left = f"about {duration(done.seconds_left)} left"
        if not done.seconds_left:
            left = "evaluating" if done.last_stage else f"{STAGE_NAMES[done.stage]} is complete"
        elif not done.last_stage:
            left += f" of {STAGE_NAMES[done.stage]}"
        parts.append(left)
    if done.val_accuracy is not None:
        parts.append(f"validation {percent(done.val_accuracy)}")
    return " · ".join(parts)


def silence(row: Row) -> str:
    """Return how long ago the record was last written, such as ``last written 4.0 s ago``."""
    try:
        seconds = time.time() - row.run.path.stat().st_mtime
    except OSError:
        return "its record cannot be found"
    return f"last written {duration(max(seconds, 0.0))} ago"


def resume_command(row: Row) -> str:
    """Return the command that resumes an unfinished run, with its folder; empty if this version cannot resume it."""
    record = row.record
    config = recorded_config(record.config) if row.status in UNFINISHED else None
    if config is None or not row.run.has_folder or config.fingerprint != record.fingerprint:
        return ""
    folder, here = row.run.folder.parent.absolute(), Path.cwd()
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    arguments = config.arguments(without=("output_dir",))
    return command_line(["transfer-utils", "train", *arguments, "--output_dir", str(shown)])


def repeat_command(record: RunRecord) -> str:
    """Return the command that makes the same run again; empty if the record does not tell.

    It is not always the recorded command: a preset may have changed since.
    """
    config = recorded_config(record.config) if record.fingerprint else None
    return config.command() if config else record.command
