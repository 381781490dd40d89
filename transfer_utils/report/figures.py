"""The figures of the report, each drawn from recorded runs."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from transfer_utils import plotting
from transfer_utils.report.comparison import draw_comparison
from transfer_utils.report.facts import depths
from transfer_utils.report.sides import best_cnn, by_labels, sides, timed
from transfer_utils.results.by_labels import LabelEfficiencyPoint, summarise
from transfer_utils.results.curves import fine_tuning_curve
from transfer_utils.results.formatting import rate
from transfer_utils.results.summary import Results


def draw_figures(results: Results, folder: Path) -> dict[str, str]:
    """Write the figures into ``folder`` as ``<name>.png``; return their alt texts by name."""
    transfer, cnn = (next(iter(side.runs.values())) for side in (sides(results)["transfer"], best_cnn(results)))
    draw_comparison(transfer, cnn, folder)
    alts = figures_of(results)
    for name, (_, draw, alt) in FIGURES.items():
        if draw and name in alts:
            plotting.save_figure(draw(results), folder / f"{name}.png", alt)
    return alts


def figures_of(results: Results) -> dict[str, str]:
    """Return the alt texts of the figures that there are runs for, by name."""
    there = {"", *results.groups, *([FEW_LABELS] if by_labels(results) else [])}
    return {name: alt for name, (needed, _, alt) in FIGURES.items() if needed in there}


def _over_time(results: Results) -> Figure:
    compared = timed(results)
    return plotting.plot_accuracy_over_time(*(side.typical.record for side in compared.values()), models=list(compared))


def _matrix(results: Results) -> Figure:
    record = sides(results)["transfer"].first
    return plotting.plot_confusion_matrix(record.confusion_matrix, record.dataset["class_names"])


def _label_efficiency(results: Results) -> Figure:
    measured = [
        LabelEfficiencyPoint(kind, n, seed, accuracy.mean)
        for n, compared in by_labels(results).items()
        for kind, side in compared.items()
        for seed, accuracy in side.measured("test_end2end").items()
    ]
    return plotting.plot_label_efficiency(summarise(measured))


def _depth(results: Results) -> Figure:
    trained = {name: each.trained for name, each in depths(results).items()}
    return plotting.plot_accuracy_by_setting(trained, "layers unfrozen", "How deep to fine-tune")


def _learning_rate(results: Results) -> Figure:
    trained = {rate(each.config.learning_rate_stage2): each.trained for each in results.groups["learning_rate"]}
    return plotting.plot_accuracy_by_setting(trained, "learning rate of stage 2", "How fast to fine-tune")


def _fine_tunings(results: Results) -> Figure:
    group = results.groups["learning_rate"]
    curves = {rate(each.config.learning_rate_stage2): fine_tuning_curve(each.records).tolist() for each in group}
    return plotting.plot_fine_tunings({f"learning rate {name}": curve for name, curve in curves.items()})


def _sizes(results: Results) -> Figure:
    group = results.groups["image_size"]
    trained = {each.config.image_size: each.trained for each in group}
    return plotting.plot_size_and_time(trained, {each.config.image_size: each.milliseconds for each in group})


FEW_LABELS = "few labels"
# What a figure needs (nothing, a group of the study, or runs with few labels), what draws it (None: `draw_comparison`
# does), and its alt text.
FIGURES = {
    "label_efficiency": (FEW_LABELS, _label_efficiency, "Test accuracy by labels per class, bands over seeds"),
    "accuracy_over_time": ("", _over_time, "Validation accuracy over the seconds since the start, by model"),
    "model_comparison": ("", None, "Accuracy and loss of transfer learning and of the best CNN, epoch by epoch"),
    "accuracy_comparison": ("", None, "Validation and test accuracy of transfer learning and of the best CNN"),
    "confusion_matrix": ("", _matrix, "Which classes transfer learning takes for which, in percent of the true class"),
    "unfreezing_depth": ("depth", _depth, "Validation accuracy by the number of unfrozen layers, with 95 % intervals"),
    "learning_rate": ("learning_rate", _learning_rate, "Validation accuracy by learning rate, with 95 % intervals"),
    "collapse": ("learning_rate", _fine_tunings, "Validation accuracy over the epochs of stage 2, by learning rate"),
    "image_size": ("image_size", _sizes, "Validation accuracy by image size, and by the time to classify one image"),
}
