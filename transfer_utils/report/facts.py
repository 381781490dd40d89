"""What the article says that is more than one number: rows of tables, and facts that need a look at several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

# The groups that vary one option from the same starting point, with a title and the words for a value.
TURNED = {
    "depth": ("n_unfreeze", "layers unfrozen", layers),
    "learning_rate": ("learning_rate_stage2", "learning rate of stage 2", rate),
    "image_size": ("image_size", "image size", "{} px".format),
    **{name: CHOICES[name] for name in ("mixup", "batch_norm", "head_start")},
}


class Choice(NamedTuple):
    """What one option moves: its best and its worst value on validation, and how many points they are apart."""

    title: str
    best: str
    worst: str
    gap: Estimate
    many: bool


def turned(results: Results, names: Sequence[str] = tuple(TURNED)) -> list[Choice]:
    """Return what each option moves that the study varies on its own, the most telling first."""
    return sorted((choice(results, name) for name in names if name in results), key=lambda one: -one.gap.mean)


def choice(results: Results, name: str) -> Choice:
    """Return what the option of one group moves."""
    option, title, word = (TURNED | CHOICES)[name]
    best, worst, gap = pairs(results.configurations[name])[0]
    said = (word(getattr(configuration.config, option)) for configuration in (best, worst))
    if name == "depth":  # all of them are asked apart, with fewer seeds
        title += f", up to {max(configuration.config.n_unfreeze for configuration in results.configurations[name])}"
    return Choice(title, *said, gap, len(results.configurations[name]) > 2)


def classes(record: RunRecord) -> dict[str, Any]:
    """Return the best and the worst recognised class, and the most frequent mistake with its counterpart."""
    known = [one for one in record.per_class if one["recall"] is not None]
    counts = np.array(record.confusion_matrix)
    np.fill_diagonal(counts, 0)
    true, predicted = np.unravel_index(counts.argmax(), counts.shape)
    names = record.dataset["class_names"]
    return {
        "best": max(known, key=lambda one: one["recall"]),
        "worst": min(known, key=lambda one: one["recall"]),
        "confused": {
            "true": names[true],
            "predicted": names[predicted],
            "count": int(counts[true, predicted]),
            "back": int(counts[predicted, true]),
        },
    }


def confidence_gap(record: RunRecord) -> float:
    """Return by how many points the mean confidence on test is above the accuracy; negative for a modest model."""
    found = record.calibration
    count = np.array(found["count"], float)
    filled = count > 0
    sure, right = (np.array(found[name], float)[filled] @ count[filled] for name in ("confidence", "accuracy"))
    return float(100 * (sure - right) / count.sum())


def best_epoch(record: RunRecord) -> dict[str, float]:
    """Return the epoch of least validation loss in stage 1, and what the last one is by comparison."""
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
    """Return what each further step of unfreezing adds on validation, in points; the step to all layers is apart."""
    steps = [
        (name, configuration) for name, configuration in depths(results).items() if configuration.config.n_unfreeze >= 0
    ]
    return [
        {
            "shallow": shallow,
            "deep": deep,
            "gap": difference(later.measured("val_end2end"), earlier.measured("val_end2end")),
        }
        for (shallow, earlier), (deep, later) in pairwise(steps)
    ]


def all_gap(results: Results) -> Estimate | None:
    """Return what unfreezing all layers adds over the last 30, in points; None where the study does not ask."""
    every, last = results.configuration("depth_all"), results.configuration("depth", n_unfreeze=30)
    return difference(every.measured("val_end2end"), last.measured("val_end2end")) if every and last else None


def forgets(results: Results) -> dict[str, Any] | None:
    """Return how the aggressive fine-tuning went at both its rates; None where the study does not ask."""
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


def undone(configuration: Configuration) -> float | None:
    """Return the best validation accuracy of any epoch of fine-tuning, where what remained is the head before it."""
    best = max(_fine_tuned(configuration), default=None)
    return best if best is not None and best < configuration.accuracy().low else None


def stopping(results: Results) -> dict[str, Any] | None:
    """Return what early stopping saved and what it cost; None where the study does not ask."""
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
        "fell_back": epochs == early.config.patience,  # no epoch was better than the weights that stage 2 began with
        "change": difference(early.measured("val_end2end"), never.measured("val_end2end")),
    }


def labels_worth(results: Results) -> str:
    """Say from how many labels the CNN is as good as transfer learning is from the fewest."""
    found = _by_labels(results)
    few, many = next(iter(found)), next(reversed(found))
    target = found[few]["transfer"].accuracy("test_end2end").mean
    enough = next((n for n, pair in found.items() if pair["baseline"].accuracy("test_end2end").mean >= target), None)
    said = f"From {labels(few)} labels per class, transfer learning gets {percent(target)} of the test images right"
    if enough is None:
        best = max(pair["baseline"].accuracy("test_end2end").mean for pair in found.values())
        at_best = f"from {labels(many)} ({percent(best)} at best)"
        return f"{said}; the {MODEL_NAMES['baseline']} does not get there {at_best}."
    return f"{said}; the {MODEL_NAMES['baseline']} first does about as well from {labels(enough)}."


def label_rows(results: Results) -> list[list[str]]:
    """Return a row for each number of labels: both accuracies on test, and the difference seed by seed."""
    rows = []
    for n, pair in _by_labels(results).items():
        a, b = (pair[model].accuracy("test_end2end") for model in ("transfer", "baseline"))
        gap = difference(*(pair[model].measured("test_end2end") for model in ("transfer", "baseline")))
        rows.append([labels(n), percent(a), percent(b), points(gap)])
    return rows


def rows_of(configurations: dict[str, Configuration]) -> list[list[str]]:
    """Return a row for each setting: accuracy on validation and on test, and from how many runs."""
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
    """Return a row for each image size: accuracies, and the time to classify an image and to fine-tune."""
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
    """Return the options that the groups vary one at a time: of the first run with some labels only and a stage 2."""

    def typical(config: RunConfig) -> tuple[bool, bool]:
        return config.labels_per_class > 0, bool(config.n_unfreeze and config.epochs_stage2)

    return max(
        (
            configuration.config
            for configurations in results.configurations.values()
            for configuration in configurations
        ),
        key=typical,
    )


def _by_labels(results: Results) -> dict[int, dict[str, Configuration]]:
    found: dict[int, dict[str, Configuration]] = {}
    for configuration in results.configurations["label_efficiency"]:
        found.setdefault(configuration.config.labels_per_class, {})[configuration.config.model] = configuration
    return dict(sorted(found.items(), key=lambda item: item[0] or math.inf))  # 0 means all labels


def _fine_tuned(configuration: Configuration) -> list[float]:
    """Return the validation accuracies of all epochs of stage 2, run after run."""
    curves = [record.curves.get("stage2", {}).get("val_accuracy", []) for record in configuration.records]
    return [value for curve in curves for value in curve if value is not None]


def _mean(measured: dict[int, Any]) -> float:
    return float(np.mean([one.value for one in measured.values()]))
