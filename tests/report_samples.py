"""Made-up runs of a whole study, for the tests of the report."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.samples import N_TEST, N_VALIDATION, cifar10, write_run
from transfer_utils.config import RunConfig
from transfer_utils.evaluation import wilson_interval
from transfer_utils.records import RECORD_NAME, RunRecord, pack_bits, read_record
from transfer_utils.studies.spec import Study

Change = Callable[[RunConfig, RunRecord], None]


def write_planned(folder: Path, study: Study, change: Change = lambda config, record: None) -> Path:
    """Write a completed run for every planned run of a study; ``change`` may alter each record before it is saved."""
    for index, plan in enumerate(study.planned(), 1):
        config = plan.config
        options = {name: value for name, value in config if value != getattr(RunConfig(), name)}
        path = write_run(folder / f"{index:04d}-{config.preset}-{config.model}", options, "completed", index)
        record = read_record(path)
        complete(record, config)
        change(config, record)
        record.save(path)
    return folder


def complete(record: RunRecord, config: RunConfig) -> None:
    """Add the fields that the report needs and the samples for the dashboard lack."""
    size = config.image_size
    record.dataset = record.dataset or cifar10(config)
    record.network |= {"parameters": 428_138 if config.model == "transfer" else 315_722}
    record.machine = {"system": "Linux", "cores": 2, "memory_gb": 25.3}
    record.timing_sec |= {"evaluation": 65 * (0.4 + (size / 160) ** 2), "features": 110.0}
    record.metrics["val_tta"] = min(record.metrics["val_end2end"] + 0.009, 1.0)
    set_accuracies(record, **{name: record.metrics[f"{name}_end2end"] for name in ("val", "test", "train")})
    if config.epochs_stage2 and config.patience and config.schedule == "plateau":
        for values in record.curves["stage2"].values():
            del values[12:]


def set_accuracies(record: RunRecord, **accuracies: float) -> None:
    """Set accuracies of a record (``val``, ``test``, ``train``, ``test_tta``), with their intervals and hits."""
    if "test" in accuracies and "test_tta" not in accuracies and record.metrics.get("test_tta"):
        accuracies["test_tta"] = min(accuracies["test"] + 0.009, 1.0)
    for name, value in accuracies.items():
        n = 5000 if name == "train" else N_TEST
        key = name if name.endswith("tta") else f"{name}_end2end"
        low, high = wilson_interval(round(value * n), n)
        record.metrics |= {key: value, f"{name}_low": low, f"{name}_high": high}
    if record.metrics.get("val_tta"):
        low, high = wilson_interval(round(record.metrics["val_tta"] * N_VALIDATION), N_VALIDATION)
        record.metrics |= {"val_tta_low": low, "val_tta_high": high}
    if "test" in accuracies:
        record.test_correct = pack_bits(np.arange(N_TEST) < round(accuracies["test"] * N_TEST))


def diverge(record: RunRecord) -> None:
    """Turn a completed record into that of a run that diverged in the third epoch of stage 2."""
    record.status, record.error = "diverged", "the loss is no longer a finite number"
    record.metrics, record.confusion_matrix, record.per_class, record.calibration = {}, [], [], {}
    record.test_correct, record.timing_sec = "", {"features": 110.0}
    for stage, name in itertools.product(record.curves, ("loss", "accuracy", "val_loss", "val_accuracy")):
        if stage == "stage2":
            record.curves[stage][name][2:] = [None]


def records_in(folder: Path) -> list[Path]:
    """Return the paths of all records below a folder."""
    return sorted(folder.rglob(RECORD_NAME))


def set_last(record: RunRecord, **accuracies: float) -> None:
    """Set the validation accuracy of the last epoch of each given stage."""
    for stage, value in accuracies.items():
        if record.curves.get(stage, {}).get("val_accuracy"):
            record.curves[stage]["val_accuracy"][-1] = value
