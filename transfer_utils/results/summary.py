"""The results of a study: accuracies and differences with their intervals, by group and configuration.

One run has a Wilson interval over its images. Several seeds have their mean and its Student t interval, which covers
everything that the seed changes: the split, the drawn labels, the initial weights and the augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from transfer_utils.config import RunConfig, identity, preset, tta_count
from transfer_utils.errors import UserError
from transfer_utils.evaluation import TRAIN_SAMPLE, Estimate, difference_interval, summarise_seeds, wilson_interval
from transfer_utils.records import Run, RunRecord, unpack_bits
from transfer_utils.results.curves import accuracy_before_fine_tuning
from transfer_utils.results.options import by_configuration
from transfer_utils.studies.spec import Study, StudyGroup, find_run

HEADLINE = "headline"
COMPLETED_ONLY = {HEADLINE, "frozen", "image_size"}  # groups whose curves and times are reported
BOUNDS = {
    "val_end2end": ("val_low", "val_high"),
    "test_end2end": ("test_low", "test_high"),
    "val_tta": ("val_tta_low", "val_tta_high"),
    "test_tta": ("test_tta_low", "test_tta_high"),
    "train_end2end": ("train_low", "train_high"),
}


class MeasuredAccuracy(NamedTuple):
    """One accuracy of one run.

    Attributes:
        value: fraction of correct predictions, in [0, 1].
        low, high: the bounds of its 95 % Wilson interval.
        hits: bool, shape (n,), whether each image is classified correctly; None if it is not recorded.
    """

    value: float
    low: float
    high: float
    hits: np.ndarray | None = None


@dataclass(frozen=True)
class Configuration:
    """The runs of one configuration, which differ only in the seed.

    Attributes:
        options: the values of the options in the group's grid.
        config: the config of the first seed.
        runs: the completed or diverged run of each seed.
    """

    options: Mapping[str, Any]
    config: RunConfig
    runs: Mapping[int, Run]

    @property
    def records(self) -> list[RunRecord]:
        return [run.record for run in self.runs.values()]

    @property
    def first(self) -> RunRecord:
        return self.records[0]

    @property
    def diverged(self) -> int:
        """The number of runs that diverged."""
        return sum(record.status == "diverged" for record in self.records)

    def measured(self, metric: str) -> dict[int, MeasuredAccuracy]:
        """Return one accuracy of each run, by seed. A diverged run counts with the accuracy of random guessing."""
        return {seed: _measured(run, metric) for seed, run in self.runs.items()}

    def last(self, stage: str) -> dict[int, MeasuredAccuracy]:
        """Return the validation accuracy at the end of a stage, by seed; diverged runs as in ``measured``."""
        return {seed: _last_accuracy(run, stage) for seed, run in self.runs.items()}

    def accuracy(self, metric: str = "val_end2end") -> Estimate:
        """Return the mean accuracy over the seeds and its interval, in [0, 1]."""
        return estimate(self.measured(metric))

    def epochs(self, stage: str) -> float:
        """Return the mean number of epochs of a stage."""
        return float(np.mean([len(record.curves.get(stage, {}).get("val_loss", [])) for record in self.records]))

    def seconds(self, stage: str) -> float:
        """Return the mean number of seconds that the epochs of a stage took."""
        curves = (record.curves.get(stage, {}).get("seconds", []) for record in self.records)
        return float(np.mean([sum(value for value in curve if value is not None) for curve in curves]))

    def milliseconds(self) -> float:
        """Return the mean time to classify one image, in milliseconds."""
        return float(np.mean([_milliseconds(run) for run in self.runs.values()]))


@dataclass(frozen=True)
class Results:
    """A study and its runs.

    Attributes:
        configurations: by group, in the order of the group's grid.
        full: the run of preset cifar10-full, the published best configuration; None if it is not recorded.
        planned: the number of runs of the study.
        recorded: how many of them have been recorded.
    """

    study: Study
    configurations: Mapping[str, list[Configuration]]
    full: Run | None
    planned: int
    recorded: int

    def __contains__(self, group: str) -> bool:
        return group in self.configurations

    def configuration(self, group: str, **options: Any) -> Configuration | None:
        """Return the configuration of a group with these options; None if the study does not have it."""
        for configuration in self.configurations.get(group, []):
            if all(getattr(configuration.config, key) == value for key, value in options.items()):
                return configuration
        return None


def collect(study: Study, runs: Sequence[Run], path: str = "studies/six_stages.yaml") -> Results:
    """Find the runs of every group of a study.

    Args:
        runs: all recorded runs, the newest last.
        path: the study's file, for the command in the error message.

    Raises:
        UserError: a configuration has no run; the message names its group and the command that runs it.
    """
    recorded = {
        status: {identity(run.record.config): run for run in runs if run.record.status == status and run.record.config}
        for status in ("completed", "diverged")
    }
    configurations = {group.name: _group_configurations(study, group, recorded) for group in study.groups}
    missing = {
        name: [_options_text(configuration.options) for configuration in group if not configuration.runs]
        for name, group in configurations.items()
        if not all(configuration.runs for configuration in group)
    }
    if missing or HEADLINE not in configurations:
        raise UserError(_missing_message(missing, path))
    used = {
        identity(record.config)
        for group in configurations.values()
        for configuration in group
        for record in configuration.records
    }
    return Results(study, configurations, find_run(preset("cifar10-full"), runs), len(study.planned()), len(used))


def estimate(measured: Mapping[int, MeasuredAccuracy]) -> Estimate:
    """Summarise one accuracy over seeds: the Wilson interval of a single run, or the Student t interval of several."""
    if len(measured) == 1:
        (accuracy,) = measured.values()
        return Estimate(accuracy.value, accuracy.low, accuracy.high, 1)
    return _over_seeds([accuracy.value for accuracy in measured.values()])


def difference(a: Mapping[int, MeasuredAccuracy], b: Mapping[int, MeasuredAccuracy]) -> Estimate:
    """Return the accuracy of ``a`` minus that of ``b`` in points: the mean difference over the seeds that both have.

    With one seed, the interval is that of paired test images if both have ``hits`` (Bonett and Price 2012), otherwise
    that of two independent accuracies (Newcombe 1998, method 10), which is wider.

    Raises:
        UserError: a and b have no seed in common.
    """
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        raise UserError(f"a and b must have a seed in common, got {sorted(a)} and {sorted(b)}")
    if len(seeds) > 1:
        return _over_seeds([100 * (a[seed].value - b[seed].value) for seed in seeds])
    first, second = a[seeds[0]], b[seeds[0]]
    if first.hits is not None and second.hits is not None and len(first.hits) == len(second.hits):
        interval = difference_interval(first.hits, second.hits)
        return Estimate(interval["difference"], interval["low"], interval["high"], 1)
    gap = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(100 * gap, 100 * (gap - below), 100 * (gap + above), 1)


def _group_configurations(study: Study, group: StudyGroup, recorded: Mapping[str, dict]) -> list[Configuration]:
    configurations = []
    for configs in by_configuration(study.of_group(group.name), lambda config: config):
        runs = {}
        for config in configs:
            run = recorded["completed"].get(identity(config))
            if not run and group.name not in COMPLETED_ONLY:
                run = recorded["diverged"].get(identity(config))
            if run:
                runs[config.seed] = run
        options = {name: getattr(configs[0], name) for name in group.grid}
        configurations.append(Configuration(options, configs[0], runs))
    return configurations


def _over_seeds(values: list[float]) -> Estimate:
    summary = summarise_seeds(values)
    return Estimate(summary["mean"], summary["low"], summary["high"], summary["n"])


def _measured(run: Run, metric: str) -> MeasuredAccuracy:
    record = run.record
    if record.status == "diverged":
        return _guessing(record, "test" if metric.startswith("test") else "validation")
    value, low, high = (record.metrics.get(name) for name in (metric, *BOUNDS[metric]))
    if value is None or low is None or high is None:
        raise UserError(f"{run.path} must hold the metrics {metric}, {' and '.join(BOUNDS[metric])}.")
    if metric != "test_end2end" or not record.test_correct:
        return MeasuredAccuracy(value, low, high)
    return MeasuredAccuracy(value, low, high, unpack_bits(record.test_correct, record.dataset["images"]["test"]))


def _last_accuracy(run: Run, stage: str) -> MeasuredAccuracy:
    if run.record.status == "diverged":
        return _guessing(run.record, "validation")
    curve = run.record.curves.get(stage, {}).get("val_accuracy", [])
    accuracy = accuracy_before_fine_tuning(run.record) if stage == "stage1" else curve[-1] if curve else None
    if accuracy is None:
        raise UserError(f"{run.path} must hold the validation accuracy of each epoch.")
    n = run.record.dataset["images"]["validation"]
    return MeasuredAccuracy(accuracy, *wilson_interval(round(accuracy * n), n))


def _guessing(record: RunRecord, split: str) -> MeasuredAccuracy:
    n, classes = record.dataset["images"][split], len(record.dataset["class_names"])
    return MeasuredAccuracy(1 / classes, *wilson_interval(round(n / classes), n))


def _milliseconds(run: Run) -> float:
    """Return the measured time per image; for an older record, the time of the evaluation per classified image."""
    record = run.record
    if record.inference.get("images") and record.inference.get("seconds"):
        return 1000 * record.inference["seconds"] / record.inference["images"]
    images, config = record.dataset["images"], record.config
    seconds = record.timing_sec.get("evaluation")
    if not seconds:
        raise UserError(f"{run.path} must hold the seconds of the evaluation.")
    # The evaluation classifies the unchanged image once and uses the result as the first of the averaged views.
    views = tta_count(config["horizontal_flip"], config.get("tta_shift", 0)) if config["tta"] else 1
    return 1000 * seconds / (min(TRAIN_SAMPLE, images["train"]) + views * (images["validation"] + images["test"]))


def _options_text(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "its options"


def _missing_message(missing: Mapping[str, list[str]], path: str) -> str:
    if not missing:
        return f"The study must have a group {HEADLINE}, which the article begins with."
    parts = [f"no completed run in group {name} with {' or '.join(texts)}" for name, texts in missing.items()]
    command = f"transfer-utils sweep {path} --groups {','.join(missing)}"
    return f"The article cannot be written: {'; '.join(parts)}. Run `{command}` first."
