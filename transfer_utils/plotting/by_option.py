"""Accuracy over the values of one option: unfreezing depth, learning rate, image size, labels per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent
from transfer_utils.plotting.style import DOTTED, MODEL_STYLES, PERCENT, WIDTH, canvas, panels, sanitize, styled
from transfer_utils.records.record import RunRecord
from transfer_utils.results.curves import fell_back
from transfer_utils.utils.palette import MODEL_COLOURS, MODEL_NAMES, NOTE, PAPER, SERIES


@styled
def plot_accuracy_by_setting(accuracies: Mapping[str, Sequence[float]], setting: str, title: str) -> Figure:
    """Draw validation accuracy over the settings of one option, in their order, with 95 % intervals.

    Args:
        accuracies: for each setting, the mean and the ends of its interval.
        setting: label of the horizontal axis.

    Raises:
        UserError: there is no setting.
    """
    if not accuracies:
        raise UserError("accuracies must hold at least one setting, got none")
    figure, axes = canvas(WIDTH * 0.8, 4.2)
    style = {"color": SERIES[0], "marker": "o", "markersize": 7, "capsize": 4, "elinewidth": 1.2}
    mean, low, high = np.array([list(estimate)[:3] for estimate in accuracies.values()]).T
    axes.errorbar(range(len(mean)), mean, [mean - low, high - mean], label="validation", **style)
    for place, value in enumerate(mean):
        offset = (-7, -15) if place and value < mean[place - 1] else (-7, 7)  # away from the line
        axes.annotate(percent(value), (place, value), offset, textcoords="offset points", ha="right")
    axes.set_xticks(range(len(mean)), [sanitize(name, 24) for name in accuracies])
    axes.set_xlim(-0.55, len(mean) - 0.55)
    axes.margins(y=0.14)
    axes.grid(False, axis="x")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel=setting, ylabel="accuracy", title=title)
    figure.legend(loc="outside lower center")
    return figure


@styled
def plot_size_and_time(accuracies: Mapping[int, Sequence[float]], milliseconds: Mapping[int, float]) -> Figure:
    """Draw accuracy over image size, and over the time to classify one image.

    Args:
        accuracies: for each image size in px, the accuracy and the ends of its 95 % interval.
        milliseconds: for the same image sizes, the time to classify one image.

    Raises:
        UserError: ``accuracies`` is empty, or ``milliseconds`` has other sizes.
    """
    if not accuracies or set(accuracies) != set(milliseconds):
        sizes = f"{sorted(accuracies)} and {sorted(milliseconds)}"
        raise UserError(f"accuracies and milliseconds must have the same image sizes, at least one, got {sizes}")
    sizes = sorted(accuracies)
    mean, low, high = np.array([list(accuracies[size])[:3] for size in sizes]).T
    times = np.array([milliseconds[size] for size in sizes])
    title = "A larger input: what it gains, and what it costs"
    figure, [[left, right]] = panels(WIDTH, 4.0, 1, 2, title)
    left.errorbar(sizes, mean, [mean - low, high - mean], color=SERIES[0], marker="o", capsize=4, elinewidth=1.2)
    left.set(xlabel="image size (px)", xticks=sizes, title="Accuracy by size")
    right.plot(times, mean, **DOTTED)
    right.errorbar(times, mean, [mean - low, high - mean], color=SERIES[1], marker="s", capsize=4, linestyle="none")
    for time, top, size in zip(times, high, sizes, strict=True):
        right.annotate(f"{size} px", (time, top), (0, 5), textcoords="offset points", ha="center")
    right.set(xlabel="time to classify one image (ms)", xlim=(0, 1.2 * times.max()), title="Accuracy by time")
    for axes in (left, right):
        axes.grid(True)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set(ylabel="validation accuracy", ymargin=0.14)
    return figure


@styled
def plot_option_effects(effects: Mapping[str, Mapping[str, Sequence[RunRecord]]]) -> Figure:
    """Draw the validation accuracy for each value of each option: one point per run, with its 95 % interval.

    A run that fell back to its start, because its best epoch was no better on validation than the start, is a hollow
    point: its accuracy is that of the head before fine-tuning.

    Args:
        effects: for each option and each of its values, the runs that differ in nothing else but the seed.

    Raises:
        UserError: there is no option, or an option without values.
    """
    if not effects or not all(effects.values()):
        raise UserError("effects must hold at least one option, each with at least one value")
    heights = [len(values) for values in effects.values()]
    figure_height = 0.42 * sum(heights) + 0.45 * len(heights) + 0.6
    figure, grid = panels(WIDTH, figure_height, len(effects), 1, sharex=True, height_ratios=heights)
    for axes, (option, values), colour in zip(grid.flat, effects.items(), SERIES * len(heights), strict=False):
        for place, records in enumerate(values.values()):
            offsets = place + 0.24 * (np.arange(len(records)) - (len(records) - 1) / 2)
            for height, record in zip(offsets, records, strict=True):
                value, low, high = record.bounded("val_end2end")
                if value is not None:
                    interval = None if low is None or high is None else [[value - low], [high - value]]
                    style = {"color": colour, "mfc": PAPER if fell_back(record) else colour, "capsize": 3}
                    axes.errorbar(value, height, xerr=interval, fmt="o", linewidth=1.2, **style)
        axes.set_yticks(range(len(values)), [sanitize(name, 40) for name in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_title(sanitize(option, 80))
        axes.grid(True, axis="x")
    grid[-1, 0].xaxis.set_major_formatter(PERCENT)
    grid[-1, 0].set_xlabel("validation accuracy, with the 95 % interval of each run")
    if any(fell_back(record) for values in effects.values() for records in values.values() for record in records):
        hollow = Line2D([], [], color=NOTE, marker="o", linestyle="none", markerfacecolor=PAPER)
        meaning = "no epoch was better than the start, to which the run fell back"
        figure.legend([hollow], [meaning], loc="outside lower left")
    return figure


@styled
def plot_label_efficiency(
    summary: Mapping[str, Mapping[int, tuple[float, float, float]]], *, transfer: str = MODEL_NAMES["transfer"]
) -> Figure:
    """Draw accuracy over labels per class: the mean of the draws as a line, the range of the draws as a band.

    Args:
        summary: the result of ``results.summarise``.
        transfer: name of the transferred model in the legend, such as ``linear probe``.

    Raises:
        UserError: ``summary`` is empty.
    """
    if not summary:
        raise UserError("summary must hold at least one model, got none")
    figure, axes = canvas(WIDTH * 0.8, 4.3)
    names = MODEL_NAMES | {"transfer": transfer}
    for model, by_labels in summary.items():
        levels = sorted(by_labels)
        mean, low, high = np.array([by_labels[level] for level in levels]).T
        axes.fill_between(levels, low, high, color=MODEL_COLOURS[model], alpha=0.2, linewidth=0)
        axes.plot(levels, mean, label=names[model], markersize=6, **MODEL_STYLES[model])
    axes.set_xscale("log")
    measured = sorted(set().union(*summary.values()))  # a model may lack some numbers of labels
    axes.set_xticks(measured, [f"{level:,}" for level in measured])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel="labelled images per class (logarithmic)", ylabel="accuracy")
    axes.set_title("Accuracy by number of labels; the band spans the draws")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
