"""Values for the article that combine several numbers or runs, and the rows of its tables."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.evaluation import Estimate
from transfer_utils.records import RunRecord
from transfer_utils.report.figures import CHOICES, depths
from transfer_utils.results.claims import LOW_RATE, STANDARD_RATE, forgetting, frozen_features, pairs
from transfer_utils.results.formatting import duration, labels, layers, percent, points, rate, seeds
from transfer_utils.results.summary import Configuration, Results, difference
from transfer_utils.utils.palette import MODEL_NAMES

# The groups that vary one option from the same starting point: the option, its title, and a formatter of its values.
VARIED = {
    "depth": ("n_unfreeze", "layers unfrozen", layers),
    "learning_rate": ("learning_rate_stage2", "learning rate of stage 2", rate),
    "image_size": ("image_size", "image size", "{} px".format),
    **{name: CHOICES[name] for name in ("mixup", "batch_norm", "head_start")},
}


class Choice(NamedTuple):
    """The effect of one option: its best and worst value on validation, and the difference in points.

    Attributes:
        many: whether the option has more than two values.
    """

    title: str
    best: str
    worst: str
    gap: Estimate
    many: bool


def ranked_choices(results: Results) -> list[Choice]:
    """Return the effect of each option that the study varies, the largest first."""
    choices = (choice(results, group) for group in VARIED if group in results)
    return sorted(choices, key=lambda choice: -choice.gap.mean)


def choice(results: Results, group: str) -> Choice:
    """Return the effect of the option that a group varies."""
    option, title, formatter = (VARIED | CHOICES)[group]
    configurations = results.configurations[group]
    best, worst, gap = pairs(configurations)[0]
    values = (formatter(getattr(configuration.config, option)) for configuration in (best, worst))
    if group == "depth":  # unfreezing all layers is a group of its own, with fewer seeds
        title += f", up to {max(configuration.config.n_unfreeze for configuration in configurations)}"
    return Choice(title, *values, gap, len(configurations) > 2)


def classes(record: RunRecord) -> dict[str, Any]:
    """Return the classes of highest and lowest recall, and the most frequent confusion in both directions."""
    rows = [row for row in record.per_class if row["recall"] is not None]
    counts = np.array(record.confusion_matrix)
    np.fill_diagonal(counts, 0)
    true, predicted = np.unravel_index(counts.argmax(), counts.shape)
    names = record.dataset["class_names"]
    return {
        "best": max(rows, key=lambda row: row["recall"]),
        "worst": min(rows, key=lambda row: row["recall"]),
        "confused": {
            "true": names[true],
            "predicted": names[predicted],
            "count": int(counts[true, predicted]),
            "back": int(counts[predicted, true]),
        },
    }


def confidence_gap(record: RunRecord) -> float:
    """Return the mean confidence minus the accuracy on test, in points; negative for an underconfident model."""
    bins = record.calibration
    count = np.array(bins["count"], float)
    filled = count > 0
    confidence, correct = (np.array(bins[name], float)[filled] @ count[filled] for name in ("confidence", "accuracy"))
    return float(100 * (confidence - correct) / count.sum())


def best_epoch(record: RunRecord) -> dict[str, float]:
    """Return the epoch of lowest validation loss in stage 1, and loss and accuracy there and in the last epoch."""
    curve = record.curves["stage1"]
    best = int(np.argmin(np.array(curve["val_loss"], float)))
    return {
        "epoch": best + 1,
        "epochs": len(curve["val_loss"]),
        "loss": curve["val_loss"][best],
        "later_loss": curve["val_loss"][-1],
        "train": curve["accuracy"][best],
        "later_train": curve["accuracy"][-1],
    }


def depth_steps(results: Results) -> list[dict[str, Any]]:
    """Return the gain on validation of each step to more unfrozen layers, in points, except the step to all layers."""
    by_depth = [
        (name, configuration) for name, configuration in depths(results).items() if configuration.config.n_unfreeze >= 0
    ]
    return [
        {
            "shallow": shallow,
            "deep": deep,
            "gap": difference(later.measured("val_end2end"), earlier.measured("val_end2end")),
        }
        for (shallow, earlier), (deep, later) in pairwise(by_depth)
    ]


def all_gap(results: Results) -> Estimate | None:
    """Return the gain of unfreezing all layers over the last 30, in points; None without these runs."""
    every, last = results.configuration("depth_all"), results.configuration("depth", n_unfreeze=30)
    return difference(every.measured("val_end2end"), last.measured("val_end2end")) if every and last else None


def aggressive_fine_tuning(results: Results) -> dict[str, Any] | None:
    """Return validation accuracies and changes of the aggressive fine-tuning at both rates; None without these runs."""
    configuration = results.configuration("aggressive", learning_rate_stage2=STANDARD_RATE)
    if not configuration:
        return None
    low = results.configuration("aggressive", learning_rate_stage2=LOW_RATE)
    end = _mean(configuration.last("stage2"))
    return {
        "rate": STANDARD_RATE,
        "low_rate": LOW_RATE,
        "change": forgetting(results, configuration),
        "frozen": _mean(frozen_features(results, configuration)),
        "start": _mean(configuration.last("stage1")),
        "end": end,
        "lowest": min([end, *_fine_tuned(configuration)]),
        "cure": difference(low.last("stage2"), configuration.last("stage2")) if low else None,
        "low_end": _mean(low.last("stage2")) if low else None,
    }


def best_reverted_epoch(configuration: Configuration) -> float | None:
    """Return the best validation accuracy in stage 2 if every epoch was worse than the final model, else None.

    The final model then has the weights from before fine-tuning.
    """
    best = max(_fine_tuned(configuration), default=None)
    return best if best is not None and best < configuration.accuracy().low else None


def early_stopping(results: Results) -> dict[str, Any] | None:
    """Return the epochs that early stopping saved and the change in accuracy; None without these runs."""
    configurations = sorted(
        results.configurations.get("early_stopping", []), key=lambda configuration: configuration.config.patience
    )
    if len(configurations) < 2 or any(configuration.diverged for configuration in configurations):
        return None
    never, early = configurations[:2]
    epochs, every = early.epochs("stage2"), never.epochs("stage2")
    return {
        "patience": early.config.patience,
        "epochs": epochs,
        "all_epochs": every,
        "saved": 1 - epochs / every,
        "fell_back": epochs == early.config.patience,  # no epoch improved on the initial weights of stage 2
        "change": difference(early.measured("val_end2end"), never.measured("val_end2end")),
    }


def labels_worth(results: Results) -> str:
    """Describe how many labels the baseline needs to match transfer learning with the fewest labels."""
    by_labels = _by_labels(results)
    few, many = next(iter(by_labels)), next(reversed(by_labels))
    target = by_labels[few]["transfer"].accuracy("test_end2end").mean
    baseline = {n: pair["baseline"].accuracy("test_end2end").mean for n, pair in by_labels.items()}
    enough = next((n for n, accuracy in baseline.items() if accuracy >= target), None)
    start = f"From {labels(few)} labels per class, transfer learning gets {percent(target)} of the test images right"
    if enough is None:
        at_best = f"from {labels(many)} ({percent(max(baseline.values()))} at best)"
        return f"{start}; the {MODEL_NAMES['baseline']} does not get there {at_best}."
    return f"{start}; the {MODEL_NAMES['baseline']} first does about as well from {labels(enough)}."


def label_rows(results: Results) -> list[list[str]]:
    """Return a row for each number of labels: both accuracies on test and their paired difference."""
    rows = []
    for n, pair in _by_labels(results).items():
        a, b = (pair[model].accuracy("test_end2end") for model in ("transfer", "baseline"))
        gap = difference(*(pair[model].measured("test_end2end") for model in ("transfer", "baseline")))
        rows.append([labels(n), percent(a), percent(b), points(gap)])
    return rows


def rows_of(configurations: dict[str, Configuration]) -> list[list[str]]:
    """Return a row for each setting: accuracy on validation and on test, and the number of runs."""
    return [
        [
            name,
            percent(configuration.accuracy()),
            percent(configuration.accuracy("test_end2end")),
            seeds(len(configuration.runs)),
        ]
        for name, configuration in configurations.items()
    ]


def size_rows(results: Results) -> list[list[str]]:
    """Return a row for each image size: accuracies, milliseconds per image, and the time of fine-tuning."""
    return [
        [
            f"{configuration.config.image_size} px",
            percent(configuration.accuracy()),
            percent(configuration.accuracy("test_end2end")),
            f"{configuration.milliseconds():.1f}",
            duration(configuration.seconds("stage2")),
        ]
        for configuration in results.configurations["image_size"]
    ]


def starting_point(results: Results) -> RunConfig:
    """Return the config from which the groups vary one option: the first with limited labels and a stage 2."""

    def typical(config: RunConfig) -> tuple[bool, bool]:
        return config.labels_per_class > 0, config.fine_tunes

    return max(
        (
            configuration.config
            for configurations in results.configurations.values()
            for configuration in configurations
        ),
        key=typical,
    )


def _by_labels(results: Results) -> dict[int, dict[str, Configuration]]:
    by_labels: dict[int, dict[str, Configuration]] = {}
    for configuration in results.configurations["label_efficiency"]:
        by_labels.setdefault(configuration.config.labels_per_class, {})[configuration.config.model] = configuration
    return dict(sorted(by_labels.items(), key=lambda item: item[0] or math.inf))  # 0 means all labels


def _fine_tuned(configuration: Configuration) -> list[float]:
    """Return the validation accuracies of all epochs of stage 2 of all runs."""
    curves = [record.curves.get("stage2", {}).get("val_accuracy", []) for record in configuration.records]
    return [value for curve in curves for value in curve if value is not None]


def _mean(measured: dict[int, Any]) -> float:
    return float(np.mean([accuracy.value for accuracy in measured.values()]))
