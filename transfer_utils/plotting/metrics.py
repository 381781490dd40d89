"""Metrics of the final models (accuracy, confusion matrix, reliability diagram), and the class balance of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.evaluation.percent import percent
from transfer_utils.plotting.style import (
    DOTTED,
    MAX_LEGIBLE_CLASSES,
    MAX_NAMED_CLASSES,
    NOT_RECORDED,
    PERCENT,
    WIDTH,
    bare,
    canvas,
    panels,
    sanitize,
    series,
    styled,
    with_dataset,
)
from transfer_utils.records.record import RunRecord
from transfer_utils.results.options import model_name
from transfer_utils.utils.palette import INK, MODEL_COLOURS, NOTE, PAPER, SEQUENTIAL, SERIES

HATCHES = {"transfer": "", "baseline": "//"}
MIN_BIN_SHARE = 0.01  # of all images; smaller bins of a reliability diagram are not drawn
ON_PAPER = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}  # hides the grid lines behind text


@styled
def plot_accuracy_comparison(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw validation and test accuracy of both models as bars, with 95 % intervals and the numbers above them.

    A third group shows the test accuracy with test-time augmentation if either record has one.
    """
    records = {"transfer": transfer, "baseline": baseline}
    groups = {"validation": "val_end2end", "test": "test_end2end"}
    if any(record.metrics.get("test_tta") is not None for record in records.values()):
        groups["test, averaged views (TTA)"] = "test_tta"
    figure, axes = canvas(WIDTH * (0.4 + 0.16 * len(groups)), 4.4)
    for side, (model, record) in zip((-0.2, 0.2), records.items(), strict=True):
        style = {"color": MODEL_COLOURS[model], "hatch": HATCHES[model], "edgecolor": PAPER}
        name = model_name({**record.config, "model": model})
        # NaN where the record has no number.
        values = np.array([record.bounded(metric) for metric in groups.values()], float)
        axes.bar(np.arange(len(groups)) + side, np.nan_to_num(values[:, 0]), 0.37, label=name, **style)
        for place, (value, low, high) in enumerate(values):
            _write_accuracy(axes, place + side, value, low, high)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    top = max(1.0, max(bar.get_height() for bar in axes.patches) + 0.2)  # space for the numbers
    axes.set(ylim=(0, top), yticks=np.linspace(0, 1, 6), ylabel="accuracy")
    axes.spines.left.set_bounds(0, 1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(False, axis="x")
    axes.set_title(with_dataset("Accuracy of the final models, with 95 % intervals", transfer))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_confusion_matrix(
    matrix: Sequence[Sequence[int]], class_names: Sequence[str], normalise: bool = True
) -> Figure:
    """Draw a confusion matrix, rows true and columns predicted.

    Args:
        matrix: counts of shape (classes, classes).
        class_names: one name per class, in the order of the rows.
        normalise: write percentages of each row instead of counts; the colours always show the share of the row.

    Raises:
        UserError: the matrix is not square, or the number of names differs from its number of rows.
    """
    counts = np.asarray(matrix, float)
    classes = len(class_names)
    if not classes or counts.shape != (classes, classes):
        raise UserError(f"matrix must have a row and a column for each of {classes} class names, got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    side = float(np.clip(0.55 * classes + 1.6, 5, 13))
    numbers = "% of each true class" if normalise else "number of images"
    figure, [[axes]] = panels(side + 0.9, side, 1, 1, f"Confusion matrix, {numbers}")
    figure.set_layout_engine("compressed")  # beside a square picture, "constrained" cuts the label when it draws again
    # The square root makes the few errors visible beside the many correct predictions.
    picture = axes.imshow(shares, cmap=SEQUENTIAL, norm=PowerNorm(0.5, 0, 1))
    ticks = [0, 0.02, 0.1, 0.25, 0.5, 1]
    bar = figure.colorbar(picture, shrink=0.8, format=PERCENT, ticks=ticks, label="share of the true class")
    bar.outline.set_visible(False)
    if classes <= MAX_LEGIBLE_CLASSES:
        for row, column in np.argwhere(counts > 0):
            share = shares[row, column]
            text = f"{100 * share:.1f}" if normalise else f"{counts[row, column]:.0f}"
            colour = PAPER if share > 0.35 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    names = [sanitize(name) for name in class_names]
    size = 9 if classes <= MAX_LEGIBLE_CLASSES else 6
    step = -(-classes // MAX_NAMED_CLASSES)  # of so many, only every second one is named, or fewer
    named = range(0, classes, step)
    axes.set_xticks(named, names[::step], rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(named, names[::step], fontsize=size)
    bare(axes)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


@styled
def plot_reliability(calibrations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw reliability diagrams (Guo et al. 2017, figure 1), and below them the distribution of the confidence.

    The whiskers are 95 % Wilson intervals: a bin with few images has a wide one. A bin with at most 1 % of the
    images is left out of the upper panel, because its accuracy is mostly noise.

    Args:
        calibrations: for each label, the result of ``calibration``; if empty, listed as not recorded.
    """
    figure, [[axes], [below]] = panels(6.4, 6.8, 2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], label="perfectly calibrated", **DOTTED)
    for place, (label, calibration) in enumerate(calibrations.items()):
        line = series(place)
        style = {"color": line["color"], "linewidth": 1.5}
        if not calibration:
            axes.plot([], [], label=f"{sanitize(label, 40)}: {NOT_RECORDED}", **style)
            continue
        counts = np.array(calibration["count"])
        filled = counts > MIN_BIN_SHARE * counts.sum()
        confidence, accuracy = (np.array(calibration[key], float)[filled] for key in ("confidence", "accuracy"))
        ends = [wilson_interval(round(a * n), n) for a, n in zip(accuracy, counts[filled].tolist(), strict=True)]
        whiskers = np.abs(np.transpose(ends) - accuracy)
        points = {"marker": line["marker"], "markersize": 5, "elinewidth": 0.9}
        name = f"{sanitize(label, 40)}: ECE {percent(calibration['ece'])}"
        axes.errorbar(confidence, accuracy, whiskers, label=name, **points, **style)
        below.stairs(counts / counts.sum(), calibration["edges"], **style)
    for panel in (axes, below):
        panel.grid(True)
        panel.yaxis.set_major_formatter(PERCENT)
    below.xaxis.set_major_formatter(PERCENT)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title="How often the model is right when it is this sure")
    axes.spines.left.set_bounds(0, 1)
    below.set(xlabel="confidence (largest probability)", ylabel="images")
    figure.legend(loc="outside lower center")
    return figure


@styled
def plot_class_balance(counts_by_split: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw the number of images of each class, one panel per split.

    Args:
        counts_by_split: for each split, the count by class name; a class missing from a split counts as 0.

    Raises:
        UserError: ``counts_by_split`` is empty.
    """
    if not counts_by_split:
        raise UserError("counts_by_split must hold at least one split, got none")
    classes = list(dict.fromkeys(name for counts in counts_by_split.values() for name in counts))
    figure, [row] = panels(WIDTH, max(2.2, 0.28 * len(classes) + 1), 1, len(counts_by_split), sharey=True)
    for place, (axes, (split, counts)) in enumerate(zip(row, counts_by_split.items(), strict=True)):
        numbers = [int(counts.get(name, 0)) for name in classes]
        bars = axes.barh(range(len(classes)), numbers, 0.72, color=SERIES[place % len(SERIES)])
        axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(True, axis="x")
        axes.tick_params(axis="y", length=0)
        limits = 0, 1.28 * max([*numbers, 1])
        axes.set(xlim=limits, xlabel="images", title=f"{sanitize(split)}: {sum(numbers):,}")
    row[0].set_yticks(range(len(classes)), [sanitize(name) for name in classes])
    row[0].set_ylim(len(classes) - 0.4, -0.6)
    return figure


def _write_accuracy(axes: Axes, x: float, value: float, low: float, high: float) -> None:
    """Write the number above a bar, and draw its interval if both ends are recorded."""
    if np.isnan(value):
        axes.text(x, 0.02, NOT_RECORDED, rotation=90, ha="center", va="bottom", color=NOTE, bbox=ON_PAPER)
        return
    has_interval = not np.isnan([low, high]).any()
    if has_interval:
        axes.errorbar(x, value, [[value - low], [high - value]], color=INK, capsize=4, linewidth=1.2)
    interval = f"{100 * low:.1f} to {100 * high:.1f}" if has_interval else f"interval\n{NOT_RECORDED}"
    above = {"textcoords": "offset points", "ha": "center", "bbox": ON_PAPER}
    note = axes.annotate(interval, (x, high if has_interval else value), (0, 5), fontsize=8, color=NOTE, **above)
    axes.annotate(percent(value), (0.5, 1), (0, 3), xycoords=note, fontweight="bold", **above)
