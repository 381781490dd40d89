"""The results of recorded runs: accuracies and differences with their intervals, by configuration and study group.

All intervals are 95 %. One run has a Wilson interval over its images. Several seeds have the Student t interval of
their mean, which covers what the seed changes: split, drawn labels, initial weights, augmentation, and on validation
the images. All seeds share the test images, so on test the interval of sampling these is added in quadrature.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.config.recorded import Identity, identity, recorded_config
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate, difference_interval, summarise_seeds
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord, unpack_bits
from transfer_utils.results.curves import trained_accuracy
from transfer_utils.results.options import REPEATS, model_kind
from transfer_utils.studies.spec import Study
from transfer_utils.utils.text import finite_number

SHARED = ("test", "source")  # beginnings of the metrics whose images are the same for all seeds
OPPONENTS = ("random", "compact", "tutorial")  # keys of MODEL_NAMES
FIXED_TEST_SPLIT = ("cifar10", "photo-digits")  # elsewhere the seed may choose the test images
CIFAR10_TRAIN, CIFAR10_TEST = 50_000, 10_000  # images
MIN_SEEDS = 3  # below, the mean of a configuration may owe its rank to a lucky seed


@dataclass(frozen=True)
class Configuration:
    """The runs of one configuration, which differ only in the seed.

    Attributes:
        config: the config of the first run.
        runs: the completed or diverged run of each seed.
    """

    config: RunConfig
    runs: Mapping[int, Run]

    @property
    def records(self) -> list[RunRecord]:
        return [run.record for run in self.runs.values()]

    @property
    def first(self) -> RunRecord:
        """The record of the first seed whose run was completed; of the first seed if all diverged."""
        completed = [run.record for run in self._completed]
        return (completed or self.records)[0]

    @property
    def kind(self) -> str:
        """``transfer``, or which of the ``OPPONENTS`` this is."""
        return model_kind(self.first.config)

    @property
    def rate(self) -> float:
        """The learning rate of the last stage of these options."""
        stage = "baseline" if self.config.model == "baseline" else "stage2" if self.config.fine_tunes else "stage1"
        return getattr(self.config, f"learning_rate_{stage}")

    @property
    def epochs(self) -> int:
        """The number of epochs of the last stage that was trained; 0 for a head that was solved."""
        curves = list(self.first.curves.values())
        return len(curves[-1].get("val_loss", [])) if curves else 0

    @property
    def steps(self) -> int:
        """The number of optimizer steps of the last stage that was trained."""
        images, planned = self.first.dataset["images"]["train"], {"stage2": self.config.epochs_stage2}
        planned["baseline"] = self.config.baseline_epochs
        if epochs := planned.get(next(reversed(self.first.curves), "")):
            images = self.config.epoch_size(images, epochs)
        return self.epochs * math.ceil(images / self.config.batch_size)

    @property
    def _completed(self) -> list[Run]:
        return [run for run in self.runs.values() if run.record.status == "completed"]

    @property
    def clocked(self) -> list[Run]:
        """The completed runs without a GPU, the only ones whose times are compared, the fastest first."""
        runs = [run for run in self._completed if not run.record.on_gpu and run.record.timing_sec.get("total")]
        return sorted(runs, key=lambda run: run.record.timing_sec["total"])

    @property
    def typical(self) -> Run | None:
        """The run of median time, which one busy hour does not move; None if all had a GPU."""
        return self.clocked[(len(self.clocked) - 1) // 2] if self.clocked else None

    @property
    def timed(self) -> RunRecord:
        """The record of the typical run, which tells the machine of its time; of the first run if all had a GPU."""
        return self.typical.record if self.typical else self.first

    @property
    def seconds(self) -> float:
        """The seconds of the typical run; NaN if all had a GPU."""
        return self.typical.record.timing_sec["total"] if self.typical else math.nan

    def measured(self, metric: str) -> dict[int, Estimate]:
        """Return one accuracy of each run by seed; a diverged run counts with the accuracy of random guessing."""
        return {seed: _measured(run, metric) for seed, run in self.runs.items()}

    def accuracy(self, metric: str = "val_end2end") -> Estimate:
        """Return the mean accuracy over the seeds and its interval, in [0, 1]."""
        return over_seeds(list(self.measured(metric).values()), shared=metric.startswith(SHARED)).within(0.0, 1.0)

    @cached_property
    def trained(self) -> Estimate:
        """The mean validation accuracy of the trained networks, also where the weights from before were kept."""
        values = [trained_accuracy(record) for record in self.records]
        n = self.first.dataset["images"]["validation"]
        return over_seeds([Estimate.on_images(value, n) for value in values]).within(0.0, 1.0)

    @property
    def milliseconds(self) -> float:
        """The median time to classify one image, over the runs without a GPU if there are any; NaN without any run."""
        times = [_milliseconds(run) for run in self.clocked or self._completed]
        return float(np.median(times)) if times else math.nan


@dataclass(frozen=True)
class Results:
    """What is on record about one copy of CIFAR-10, and the part of it that a study planned.

    Attributes:
        groups: for each group of the study with all its configurations on record, these in the order of its grid.
        missing: the names of the other groups.
        pool: every configuration on record, in the order of its first run.
        probed: every configuration, of whatever data, whose backbone was probed on its source task.
        planned, recorded: the number of runs of the study, and how many of them are on record.
        elsewhere: the number of runs on other copies of CIFAR-10, whose results are left out.
    """

    study: Study
    groups: Mapping[str, list[Configuration]]
    missing: list[str]
    pool: list[Configuration]
    probed: list[Configuration]
    planned: int
    recorded: int
    elsewhere: int = 0

    def alike(self, config: RunConfig, *options: str) -> list[Configuration]:
        """Return every configuration on record that differs from a config in nothing but the seed and these options."""
        ignoring = {*REPEATS, *options}
        own = identity(config, ignoring=ignoring)
        return [each for each in self.pool if identity(each.config, ignoring=ignoring) == own]

    def of_kind(self, kind: str, labels: int = 0) -> list[Configuration]:
        """Return every configuration of a kind on record with this number of labels per class, 0 for all."""
        return [each for each in self.pool if (each.kind, each.config.labels_per_class) == (kind, labels)]

    def best(self, kind: str, labels: int = 0) -> Configuration | None:
        """Return the configuration of a kind with the highest mean validation accuracy; None if none is on record.

        Those with at least ``MIN_SEEDS`` seeds come first, since of many single runs the best one was lucky as well.
        With few labels, those that chose nothing on validation come before all: what one chooses on are labels too.
        """
        tried = self.of_kind(kind, labels)
        if labels:
            tried = [each for each in tried if each.config.selection == "none"] or tried
        repeated = [each for each in tried if len(each.runs) >= MIN_SEEDS] or tried
        return max(repeated, key=lambda configuration: configuration.accuracy().mean, default=None)


def collect(study: Study, runs: Sequence[Run]) -> Results:
    """Group the runs of CIFAR-10 by configuration, and find those of every group of a study.

    The original images and a JPEG copy differ in accuracy, so only one of them counts: that of most completed runs.

    Args:
        runs: in any order. Per seed the newest counts, but a completed run always before a diverged one.
    """
    usable = [run for run in runs if run.record.status in ("diverged", "completed")]
    usable = [run for run in usable if run.has_folder and recorded_config(run.record.config)]
    cifar10 = [run for run in usable if _is_of_cifar10(run.record)]
    counted = _on_one_copy(cifar10)
    pool = configurations(counted)
    probed = configurations([run for run in usable if run.record.metrics.get("source_after") is not None])
    on_record = {identity(each.first.config, ignoring=REPEATS): each.runs for each in pool}
    groups = {}
    for group in study.groups:
        repeats: dict[Identity, list[RunConfig]] = {}
        for config in study.of_group(group.name):
            repeats.setdefault(identity(config, ignoring=REPEATS), []).append(config)
        groups[group.name] = []
        for own, configs in repeats.items():
            seeds = {config.seed for config in configs}
            planned = {seed: run for seed, run in on_record.get(own, {}).items() if seed in seeds}
            groups[group.name].append(Configuration(configs[0], planned))
    complete = {name: group for name, group in groups.items() if all(configuration.runs for configuration in group)}
    recorded = {run.path for group in groups.values() for configuration in group for run in configuration.runs.values()}
    missing = [name for name in groups if name not in complete]
    numbers = len(study.planned()), len(recorded), len(cifar10) - len(counted)
    return Results(study, complete, missing, pool, probed, *numbers)


def difference(a: Configuration, b: Configuration, metric: str = "val_end2end", of_b: str = "") -> Estimate:
    """Return the accuracy of ``a`` minus that of ``b`` in percentage points, the mean over the seeds that both have.

    With one seed, the interval for ``test_end2end`` is that of paired images if both runs record their answers to the
    same ones (Bonett and Price 2012), otherwise that of two independent accuracies (Newcombe 1998, Statistics in
    Medicine 17:873-890, method 10), which is wider. With several seeds it is Student's t interval. ``of_b`` is the
    metric of b, if another.

    Raises:
        UserError: a and b have no seed in common, or a run lacks the metric or its interval.
    """
    seeds = common_seeds(a, b)
    if not seeds:
        names = (", ".join(str(run.path) for run in side.runs.values()) for side in (a, b))
        raise UserError(f"{' and '.join(names)} must have a seed in common, got {sorted(a.runs)} and {sorted(b.runs)}.")
    measured_a, measured_b = a.measured(metric), b.measured(of_b or metric)
    gaps = []
    for seed in seeds:
        records = [side.runs[seed].record for side in (a, b)]
        hits = [answers_on_test(record) for record in records] if (metric, of_b) == ("test_end2end", "") else [None]
        independent = _independent(measured_a[seed], measured_b[seed])
        paired = all(correct is not None for correct in hits) and tested_on(records[0]) == tested_on(records[1])
        gaps.append(difference_interval(*hits) if paired else independent)
    return over_seeds(gaps, shared=metric.startswith(SHARED)).within(-100.0, 100.0)


def common_seeds(a: Configuration, b: Configuration) -> list[int]:
    """Return the seeds of the runs that both have, the only ones that ``difference`` compares."""
    return [seed for seed in a.runs if seed in b.runs]


def over_seeds(measured: Sequence[Estimate], *, shared: bool = False) -> Estimate:
    """Return the mean of the seeds with its interval; that of one seed is its own.

    If they share the images that measure them, half the mean width of their own intervals is added in quadrature.
    """
    if len(measured) == 1:
        return measured[0]
    summary = summarise_seeds([each.mean for each in measured])
    images = float(np.mean([each.high - each.low for each in measured])) / 2 if shared else 0.0
    reach = math.hypot(summary["high"] - summary["mean"], images)
    return Estimate(summary["mean"], summary["mean"] - reach, summary["mean"] + reach, summary["n"])


def configurations(runs: Sequence[Run]) -> list[Configuration]:
    """Group runs by configuration and copy of the images; of one seed the newest counts, completed before diverged."""
    groups: dict[tuple[Identity, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((identity(run.record.config, ignoring=REPEATS), _copy(run.record)), []).append(run)
    pool = []
    for repeats in groups.values():
        # Not by path: a subfolder of older runs comes after the newer ones beside it.
        repeats.sort(key=lambda run: (run.record.status == "completed", run.record.created))
        newest = {run.record.config.get("seed", 0): run for run in repeats}
        pool.append(Configuration(recorded_config(repeats[0].record.config), dict(sorted(newest.items()))))
    return pool


def _is_of_cifar10(record: RunRecord) -> bool:
    # The name alone does not tell: that of an image folder is the folder's.
    return record.dataset.get("name") == record.config.get("dataset", "cifar10") == "cifar10"


def _on_one_copy(runs: Sequence[Run]) -> list[Run]:
    """Return the runs on that copy of the images which most completed runs have; of several, the first recorded."""
    copies = [_copy(run.record) for run in runs if run.record.status == "completed"] or [_copy(r.record) for r in runs]
    most = statistics.mode(copies) if copies else ""
    return [run for run in runs if _copy(run.record) == most]


def _copy(record: RunRecord) -> str:
    """Return what tells the original images from a JPEG copy, which have the same options."""
    return repr(record.dataset.get("description"))


def _independent(a: Estimate, b: Estimate) -> Estimate:
    """Return the difference of two accuracies of different images in points (Newcombe 1998, method 10)."""
    gap = a.mean - b.mean
    below = math.hypot(a.mean - a.low, b.high - b.mean)
    above = math.hypot(a.high - a.mean, b.mean - b.low)
    return Estimate(100 * gap, 100 * (gap - below), 100 * (gap + above), 1)


def answers_on_test(record: RunRecord) -> np.ndarray | None:
    """Return whether each test image is classified correctly, bool, shape (n,); None if it is not recorded."""
    n = record.images.get("test", 0)
    return unpack_bits(record.test_correct, n) if record.test_correct and n else None


def tested_on(record: RunRecord) -> tuple[str, ...]:
    """Return what tells the test images of a run: equal for runs whose answers can be compared image by image."""
    dataset, config, n = record.dataset, record.config, record.images.get("test")
    name = dataset.get("name")
    # An image folder may have any name. A copy of CIFAR-10 without a test split gets one by the seed: a fifth of its
    # 50,000 training images, again 10,000. Then fewer images are left to validate on, which tells such runs apart.
    fixed = name in FIXED_TEST_SPLIT and config.get("dataset", name) == name
    if config.get("data_dir"):
        share = finite_number(config.get("validation_share", RunConfig.model_fields["validation_share"].default)) or 0.0
        share = min(max(share, 0.0), 1.0)  # a damaged record may have any number
        held_out = {"validation": math.ceil(share * CIFAR10_TRAIN), "test": CIFAR10_TEST}
        fixed = fixed and {split: record.images.get(split) for split in held_out} == held_out
    own = () if fixed else (dataset.get("fingerprint"), config.get("seed"))
    return tuple(map(repr, (name, dataset.get("description"), dataset.get("class_names"), n, *own)))


def _measured(run: Run, metric: str) -> Estimate:
    record = run.record
    if record.status == "diverged":
        n = record.dataset["images"]["test" if metric.startswith("test") else "validation"]
        classes = len(record.dataset["class_names"])
        return Estimate.on_images(1 / classes, n)
    values = record.bounded(metric)
    if None in values:
        raise UserError(f"{run.path} must hold {metric} and its interval: train it again, or move it away.")
    return Estimate(*values, 1)


def _milliseconds(run: Run) -> float:
    timed = run.record.inference
    if not timed.get("images") or not timed.get("seconds"):
        raise UserError(f"{run.path} must hold the time of its predictions: train it again, or move it away.")
    return 1000 * timed["seconds"] / timed["images"]
