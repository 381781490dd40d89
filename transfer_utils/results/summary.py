"""What the runs of a study measured: accuracies and differences with their intervals, group by group.

One run gives Wilson's interval over its images. Several seeds give their mean and Student's t interval of it, which
holds whatever the seeds change: the split, the drawn labels, the initial weights and the augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from transfer_utils.config import RunConfig, preset, tta_count
from transfer_utils.errors import UserError
from transfer_utils.evaluation import TRAIN_SAMPLE, Estimate, difference_interval, summarise_seeds, wilson_interval
from transfer_utils.records import Run, RunRecord, unpack_bits
from transfer_utils.studies.spec import Study, StudyGroup, find_run, question

HEADLINE = "headline"
COMPLETED_ONLY = {HEADLINE, "frozen", "image_size"}  # whose curves and times are told, of which a diverged run has none
ENDS = {
    "val_end2end": ("val_low", "val_high"),
    "test_end2end": ("test_low", "test_high"),
    "val_tta": ("val_tta_low", "val_tta_high"),
    "test_tta": ("test_tta_low", "test_tta_high"),
    "train_end2end": ("train_low", "train_high"),
}


class MeasuredAccuracy(NamedTuple):
    """One accuracy of one run: the fraction right, its Wilson interval and, where kept, which images were right."""

    value: float
    low: float
    high: float
    hits: np.ndarray | None = None


@dataclass(frozen=True)
class Configuration:
    """The runs of one configuration that differ in the seed alone.

    Attributes:
        options: the values of the group's grid, by option.
        config: of the first seed.
        runs: by seed; completed, or diverged where the training gave no number.
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
        """How many of the runs diverged."""
        return sum(record.status == "diverged" for record in self.records)

    def measured(self, metric: str) -> dict[int, MeasuredAccuracy]:
        """Return one accuracy of each run, by seed. A run that diverged knows nothing: it counts as guessing."""
        return {seed: _measured(run, metric) for seed, run in self.runs.items()}

    def last(self, stage: str) -> dict[int, MeasuredAccuracy]:
        """Return the validation accuracy after the last epoch of a stage, by seed; diverged runs as in ``measured``."""
        return {
            seed: _guessing(run.record, "validation")
            if run.record.status == "diverged"
            else _of_images(run, run.record.curves.get(stage, {}).get("val_accuracy", [])[-1:])
            for seed, run in self.runs.items()
        }

    def accuracy(self, metric: str = "val_end2end") -> Estimate:
        """Return an accuracy of these runs, in [0, 1]."""
        return estimate(self.measured(metric))

    def epochs(self, stage: str) -> float:
        """Return how many epochs a stage took, the mean over the runs."""
        return float(np.mean([len(record.curves.get(stage, {}).get("val_loss", [])) for record in self.records]))

    def seconds(self, stage: str) -> float:
        """Return how long the epochs of a stage took, the mean over the runs."""
        return float(np.mean([sum(_numbers(record.curves.get(stage, {}), "seconds")) for record in self.records]))

    def milliseconds(self) -> float:
        """Return the time to classify one image: of the evaluation, which nothing caches, per image judged."""
        return float(np.mean([_milliseconds(run) for run in self.runs.values()]))


@dataclass(frozen=True)
class Results:
    """A study and the runs that answer it.

    Attributes:
        cells: by group, in the order of its grid.
        full: the run of the published best configuration, preset cifar10-full, where somebody has it on record.
        planned, found: how many runs the study asks for, and how many of them are on record.
    """

    study: Study
    configurations: Mapping[str, list[Configuration]]
    full: Run | None
    planned: int
    found: int

    def group(self, name: str) -> StudyGroup:
        return next(group for group in self.study.groups if group.name == name)

    def __contains__(self, name: str) -> bool:
        return name in self.configurations

    def configuration(self, name: str, **options: Any) -> Configuration | None:
        """Return the runs of a group that have these options; None where the study does not ask for them."""
        for configuration in self.configurations.get(name, []):
            if all(getattr(configuration.config, key) == value for key, value in options.items()):
                return configuration
        return None


def collect(study: Study, runs: Sequence[Run], path: str = "studies/six_stages.yaml") -> Results:
    """Find the runs of every group of a study.

    Raises:
        UserError: a configuration has no run at all; the message names its group and the command that makes it.
    """
    runs = list(runs)
    configurations: dict[str, list[Configuration]] = {}
    missing: dict[str, list[str]] = {}
    for group in study.groups:
        found: dict[str, Configuration] = {}
        for config in study.of_group(group.name):
            options = {name: getattr(config, name) for name in group.grid}
            configuration = found.setdefault(str(options), Configuration(options, config, {}))
            run = find_run(config, runs)
            if not run and group.name not in COMPLETED_ONLY:
                run = find_run(config, runs, "diverged")
            if run:
                configuration.runs[config.seed] = run
        configurations[group.name] = list(found.values())
        if empty := [configuration for configuration in found.values() if not configuration.runs]:
            missing[group.name] = [_told(configuration.options) for configuration in empty]
    if missing or HEADLINE not in configurations:
        raise UserError(_what_is_missing(missing, path))
    planned = [_key(plan.config.model_dump()) for plan in study.planned()]
    answered = {
        _key(one.record.config)
        for group in configurations.values()
        for configuration in group
        for one in configuration.runs.values()
    }
    full = find_run(preset("cifar10-full"), runs)
    return Results(study, configurations, full, len(planned), len(answered))


def estimate(measured: Mapping[int, MeasuredAccuracy]) -> Estimate:
    """Summarise one accuracy over seeds: one run keeps its Wilson interval, several give Student's t interval."""
    if len(measured) == 1:
        (one,) = measured.values()
        return Estimate(one.value, one.low, one.high, 1)
    return _over_seeds([one.value for one in measured.values()])


def difference(a: Mapping[int, MeasuredAccuracy], b: Mapping[int, MeasuredAccuracy]) -> Estimate:
    """Return by how many points ``a`` is more accurate than ``b``: seed by seed, over the seeds that both have.

    With one seed, the interval is that of paired test images where these are known (Bonett and Price 2012), and else
    that of two independent accuracies (Newcombe 1998, method 10), which is wide for runs that judged the same images.

    Raises:
        UserError: there is no seed that both have.
    """
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        raise UserError(f"a and b must have a seed in common, got {sorted(a)} and {sorted(b)}")
    if len(seeds) > 1:
        return _over_seeds([100 * (a[seed].value - b[seed].value) for seed in seeds])
    one, other = a[seeds[0]], b[seeds[0]]
    if one.hits is not None and other.hits is not None and len(one.hits) == len(other.hits):
        found = difference_interval(one.hits, other.hits)
        return Estimate(found["difference"], found["low"], found["high"], 1)
    gap = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(100 * gap, 100 * (gap - down), 100 * (gap + up), 1)


def _over_seeds(values: list[float]) -> Estimate:
    found = summarise_seeds(values)
    return Estimate(found["mean"], found["low"], found["high"], found["n"])


def _measured(run: Run, metric: str) -> MeasuredAccuracy:
    record, split = run.record, "test" if metric.startswith("test") else "validation"
    if record.status == "diverged":
        return _guessing(record, split)
    value, low, high = (record.metrics.get(name) for name in (metric, *ENDS[metric]))
    if value is None or low is None or high is None:
        raise UserError(f"{run.path} must hold the metrics {metric}, {' and '.join(ENDS[metric])}.")
    if metric != "test_end2end" or not record.test_correct:
        return MeasuredAccuracy(value, low, high)
    return MeasuredAccuracy(value, low, high, unpack_bits(record.test_correct, record.dataset["images"]["test"]))


def _guessing(record: RunRecord, split: str) -> MeasuredAccuracy:
    n, classes = record.dataset["images"][split], len(record.dataset["class_names"])
    return MeasuredAccuracy(1 / classes, *wilson_interval(round(n / classes), n))


def _of_images(run: Run, values: list[float | None]) -> MeasuredAccuracy:
    """Return an accuracy on validation that stands in a curve, which keeps no interval of its own."""
    if not values or values[0] is None:
        raise UserError(f"{run.path} must hold the validation accuracy of each epoch.")
    n = run.record.dataset["images"]["validation"]
    return MeasuredAccuracy(values[0], *wilson_interval(round(values[0] * n), n))


def _milliseconds(run: Run) -> float:
    """Divide the seconds of the evaluation by the images it classified, each view for itself."""
    images, config = run.record.dataset["images"], run.record.config
    seconds = run.record.timing_sec.get("evaluation")
    if not seconds:
        raise UserError(f"{run.path} must hold the seconds of the evaluation.")
    held_out = images["validation"] + images["test"]
    # The first view is the image as it is, which is classified once for both accuracies.
    views = tta_count(config["horizontal_flip"], config.get("tta_shift", 0)) if config["tta"] else 1
    return 1000 * seconds / (min(TRAIN_SAMPLE, images["train"]) + views * held_out)


def _numbers(stage: Mapping[str, list[float | None]], name: str) -> list[float]:
    return [value for value in stage.get(name, []) if value is not None]


def _key(options: dict[str, Any]) -> str:
    return repr(sorted(question(options).items()))


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "its options"


def _what_is_missing(missing: Mapping[str, list[str]], path: str) -> str:
    if not missing:
        return f"The study must have a group {HEADLINE}, which the article begins with."
    lines = [f"no completed run in group {name} with {'; nor with '.join(told)}" for name, told in missing.items()]
    command = f"transfer-utils sweep {path} --groups {','.join(missing)}"
    return f"The article cannot be written: {'. And '.join(lines)}. `{command}` makes what is missing."
