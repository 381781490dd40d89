"""The figures of the report, each drawn from the runs of one group of the study."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from transfer_utils import plotting
from transfer_utils.records import RunRecord
from transfer_utils.report.comparison import draw_comparison
from transfer_utils.results.claims import frozen_features
from transfer_utils.results.curves import LabelEfficiencyPoint, fine_tuning_curve, summarise
from transfer_utils.results.formatting import layers, rate
from transfer_utils.results.summary import HEADLINE, Configuration, Results, estimate
from transfer_utils.utils.palette import MODEL_NAMES

# The alt texts of the figures that `transfer-utils compare` draws as well.
COMPARED = {
    "model_comparison": "Accuracy and loss of transfer learning and of the CNN from scratch, epoch by epoch",
    "accuracy_comparison": "Validation and test accuracy of transfer learning and of the CNN from scratch",
}
# Groups that vary an option without an order of its values; they share a figure. The option, its title, a formatter.
CHOICES = {
    "optimizers": ("optimizer_stage1", "optimizer of the head, nothing unfrozen", str),
    "mixup": ("use_mixup", "Mixup", {True: "on", False: "off"}.get),
    "batch_norm": ("batch_norm", "BatchNorm of the unfrozen layers", str),
    "head_start": ("head_start", "head at the start of fine-tuning", {"convex": "solved", "random": "random"}.get),
}


class Drawing(NamedTuple):
    """A figure of the report: the groups of which it needs at least one, its alt text, and its drawing function."""

    groups: tuple[str, ...]
    alt: str
    draw: Callable[[Results], Figure]


def draw_figures(results: Results, folder: Path) -> dict[str, str]:
    """Write the figures of the study into ``folder`` as ``<name>.png``; return their alt texts by name."""
    draw_comparison(*(next(iter(configuration.runs.values())) for configuration in headline(results)), folder)
    alts = figures_of(results)
    for name in alts:
        if name not in COMPARED:
            plotting.save_figure(DRAWINGS[name].draw(results), folder / f"{name}.png", alts[name])
    return alts


def figures_of(results: Results) -> dict[str, str]:
    """Return the alt texts of the figures that the study has runs for, by name."""
    return COMPARED | {
        name: drawing.alt for name, drawing in DRAWINGS.items() if any(group in results for group in drawing.groups)
    }


def headline(results: Results) -> tuple[Configuration, Configuration]:
    """Return the configurations of transfer learning and of the baseline with all labels."""
    return tuple(results.configuration(HEADLINE, model=model) for model in ("transfer", "baseline"))


def depths(results: Results) -> dict[str, Configuration]:
    """Return the configurations by number of unfrozen layers, from none to all."""
    configurations = [*results.configurations.get("depth", []), *results.configurations.get("depth_all", [])]
    by_depth = {configuration.config.n_unfreeze: configuration for configuration in configurations}
    return {layers(n): by_depth[n] for n in sorted(by_depth, key=lambda n: n if n >= 0 else math.inf)}


def _first(results: Results) -> tuple[RunRecord, RunRecord]:
    return tuple(configuration.first for configuration in headline(results))


def _confusion(results: Results) -> Figure:
    record, _ = _first(results)
    return plotting.plot_confusion_matrix(record.confusion_matrix, record.dataset["class_names"])


def _reliability(results: Results) -> Figure:
    records = zip(MODEL_NAMES.values(), _first(results), strict=True)
    return plotting.plot_reliability({name: record.calibration for name, record in records})


def _depth(results: Results) -> Figure:
    return _by_setting(depths(results), "layers unfrozen in stage 2", "How deep to fine-tune")


def _learning_rate(results: Results) -> Figure:
    configurations = {
        rate(configuration.config.learning_rate_stage2): configuration
        for configuration in results.configurations["learning_rate"]
    }
    return _by_setting(configurations, "learning rate of stage 2", "How fast to fine-tune")


def _by_setting(configurations: dict[str, Configuration], setting: str, title: str) -> Figure:
    metrics = {"validation": "val_end2end", "test": "test_end2end"}
    accuracies = {
        split: {name: configuration.accuracy(metric) for name, configuration in configurations.items()}
        for split, metric in metrics.items()
    }
    return plotting.plot_accuracy_by_setting(accuracies, setting, title)


def _forgetting(results: Results) -> Figure:
    configurations = results.configurations["aggressive"]
    curves = {
        f"learning rate {rate(configuration.config.learning_rate_stage2)}": fine_tuning_curve(
            configuration.records
        ).tolist()
        for configuration in configurations
    }
    if results.configuration("depth", n_unfreeze=0):
        level = estimate(frozen_features(results, configurations[0])).mean
        curves["frozen features, solved head"] = [level] * max(map(len, curves.values()))
    return plotting.plot_fine_tunings(curves)


def _label_efficiency(results: Results) -> Figure:
    measured = [
        LabelEfficiencyPoint(configuration.config.model, configuration.config.labels_per_class, seed, accuracy.value)
        for configuration in results.configurations["label_efficiency"]
        for seed, accuracy in configuration.measured("test_end2end").items()
    ]
    return plotting.plot_label_efficiency(summarise(measured))


def _image_size(results: Results) -> Figure:
    configurations = {
        configuration.config.image_size: configuration for configuration in results.configurations["image_size"]
    }
    return plotting.plot_size_and_time(
        {size: configuration.accuracy() for size, configuration in configurations.items()},
        {size: configuration.milliseconds() for size, configuration in configurations.items()},
    )


def _choices(results: Results) -> Figure:
    effects = {}
    for group, (option, title, formatter) in CHOICES.items():
        if group in results:
            effects[title] = {
                formatter(getattr(configuration.config, option)): configuration.records
                for configuration in results.configurations[group]
            }
    return plotting.plot_option_effects(effects)


DRAWINGS = {
    "accuracy_over_time": Drawing(
        (HEADLINE,),
        "Validation accuracy over the seconds since the start, for transfer learning and the CNN from scratch",
        lambda results: plotting.plot_accuracy_over_time(*_first(results)),
    ),
    "confusion_matrix": Drawing(
        (HEADLINE,), "Which classes transfer learning takes for which, in percent of each true class", _confusion
    ),
    "reliability": Drawing(
        (HEADLINE,), "How often each model is right, by how sure it says it is; the diagonal is perfect", _reliability
    ),
    "head_overfitting": Drawing(
        ("frozen",),
        "Accuracy and loss of the head on frozen features over its epochs, on training and on validation images",
        lambda results: plotting.plot_curves(results.configurations["frozen"][0].first),
    ),
    "choices": Drawing(
        tuple(CHOICES),
        "Validation accuracy of each run, by optimizer, Mixup, BatchNorm and start of the head",
        _choices,
    ),
    "unfreezing_depth": Drawing(("depth",), "Accuracy by the number of unfrozen layers, with 95 % intervals", _depth),
    "learning_rate": Drawing(
        ("learning_rate",), "Accuracy by the learning rate of fine-tuning, with 95 % intervals", _learning_rate
    ),
    "forgetting": Drawing(
        ("aggressive",),
        "Validation accuracy over the epochs of an aggressive fine-tuning, at a standard and a very low learning rate",
        _forgetting,
    ),
    "label_efficiency": Drawing(
        ("label_efficiency",),
        "Test accuracy by labelled images per class, for transfer learning and the CNN from scratch, bands over seeds",
        _label_efficiency,
    ),
    "image_size": Drawing(
        ("image_size",), "Validation accuracy by image size, and by the time to classify one image", _image_size
    ),
}
