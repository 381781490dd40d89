"""Accuracy over the values of one option: unfreezing depth, learning rate, image size, labels per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from transfer_utils.errors import UserError
from transfer_utils.plotting.style import MODEL_LINESTYLES, MODEL_MARKERS, PERCENT, WIDTH, canvas, sanitize, styled
from transfer_utils.records import RunRecord
from transfer_utils.utils.palette import MODEL_COLOURS, MODEL_NAMES, NOTE, PAPER, SERIES

# Shifted apart, so that the intervals of both splits at one setting do not overlap.
SPLIT_STYLES = {
    "validation": {"color": SERIES[0], "marker": "o", "linestyle": "-", "shift": -0.06},
    "test": {"color": SERIES[1], "marker": "s", "linestyle": "--", "shift": 0.06},
}
REEVALUATION_ERROR = 0.01  # a run's last evaluation rounds otherwise than its epochs did: a few images differ


@styled
def plot_accuracy_by_setting(
    accuracies: Mapping[str, Mapping[str, Sequence[float]]], setting: str, title: str
) -> Figure:
    """Draw accuracy over the settings of one option, in their order, with 95 % intervals: one line per split.

    Args:
        accuracies: for each split (``validation``, ``test``) and setting, the mean and the ends of its interval.
        setting: label of the horizontal axis.
        title: title of the figure.

    Raises:
        UserError: there is no split, or a split without settings.
    """
    if not accuracies or not all(accuracies.values()):
        raise UserError("accuracies must hold at least one split, each with at least one setting")
    figure, axes = canvas(WIDTH * 0.8, 4.2)
    for split, by_setting in accuracies.items():
        style = dict(SPLIT_STYLES[split])
        places = np.arange(len(by_setting)) + style.pop("shift")
        mean, low, high = np.array([list(estimate)[:3] for estimate in by_setting.values()]).T
        inside = PAPER if split == "test" else style["color"]
        axes.errorbar(
            places, mean, [mean - low, high - mean], capsize=4, elinewidth=1.2, markersize=7, label=split,
            markerfacecolor=inside, **style,
        )  # fmt: skip
        if split == "validation":
            for i, (place, value) in enumerate(zip(places, mean, strict=True)):
                offset = (-7, -15) if i and value < mean[i - 1] else (-7, 7)  # away from the line
                axes.annotate(f"{100 * value:.1f} %", (place, value), offset, textcoords="offset points", ha="right")
    names = next(iter(accuracies.values()))
    axes.set_xticks(range(len(names)), [sanitize(name, 24) for name in names])
    axes.set_xlim(-0.55, len(names) - 0.55)
    axes.margins(y=0.14)
    axes.grid(False, axis="x")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(setting)
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2)
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
    figure = Figure((WIDTH, 4.0), layout="constrained")
    figure.suptitle("A larger input: what it gains, and what it costs", x=0.012, ha="left")
    left, right = figure.subplots(1, 2)
    left.errorbar(sizes, mean, [mean - low, high - mean], color=SERIES[0], marker="o", capsize=4, elinewidth=1.2)
    left.set(xlabel="image size (px)", ylabel="validation accuracy", xticks=sizes)
    right.plot(times, mean, color=NOTE, linestyle=":", linewidth=1.2)
    right.errorbar(times, mean, [mean - low, high - mean], color=SERIES[1], marker="s", capsize=4, linestyle="none")
    for time, top, size in zip(times, high, sizes, strict=True):
        right.annotate(f"{size} px", (time, top), (0, 5), textcoords="offset points", ha="center")
    right.set(xlabel="time to classify one image (ms)", ylabel="validation accuracy", xlim=(0, 1.2 * times.max()))
    for axes in (left, right):
        axes.grid(True)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.margins(y=0.14)
    left.set_title("Accuracy by size")
    right.set_title("Accuracy by time")
    return figure


@styled
def plot_option_effects(effects: Mapping[str, Mapping[str, Sequence[RunRecord]]]) -> Figure:
    """Draw the validation accuracy for each value of each option: one point per run, with its 95 % interval.

    A run that fell back to its start, because no epoch of fine-tuning had a lower validation loss, is a hollow point:
    its accuracy is that of the head before fine-tuning.

    Args:
        effects: for each option and each of its values, the runs that differ in nothing else but the seed.

    Raises:
        UserError: there is no option, or an option without values.
    """
    if not effects or not all(effects.values()):
        raise UserError("effects must hold at least one option, each with at least one value")
    heights = [len(values) for values in effects.values()]
    figure = Figure((WIDTH, 0.42 * sum(heights) + 0.45 * len(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(effects), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (option, values), colour in zip(panels, effects.items(), SERIES * len(heights), strict=False):
        for place, records in enumerate(values.values()):
            for number, record in enumerate(records):
                _draw_run(axes, place + 0.24 * (number - (len(records) - 1) / 2), record, colour)
        axes.set_yticks(range(len(values)), [sanitize(name, 40) for name in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_title(sanitize(option, 80))
        axes.grid(True, axis="x")
    panels[-1].xaxis.set_major_formatter(PERCENT)
    panels[-1].set_xlabel("validation accuracy, with the 95 % interval of each run")
    if any(_fell_back(record) for values in effects.values() for records in values.values() for record in records):
        hollow = Line2D([], [], color=NOTE, marker="o", linestyle="none", markerfacecolor=PAPER)
        figure.legend(
            [hollow], ["no epoch was better than the start, to which the run fell back"], loc="outside lower left"
        )
    return figure


def _draw_run(axes: Axes, height: float, record: RunRecord, colour: str) -> None:
    value, low, high = (record.metrics.get(name) for name in ("val_end2end", "val_low", "val_high"))
    if value is None:
        return
    errors = None if low is None or high is None else [[value - low], [high - value]]
    inside = PAPER if _fell_back(record) else colour
    axes.errorbar([value], [height], xerr=errors, fmt="o", color=colour, mfc=inside, capsize=3, linewidth=1.2)


def _fell_back(record: RunRecord) -> bool:
    """Return whether the final accuracy is not that of the epoch of least validation loss, but of the start."""
    curves, final = record.curves.get("stage2", {}), record.metrics.get("val_end2end")
    pairs = zip(curves.get("val_loss", []), curves.get("val_accuracy", []), strict=False)
    epochs = [pair for pair in pairs if None not in pair]
    return final is not None and bool(epochs) and final - min(epochs)[1] > REEVALUATION_ERROR


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
        style = {"color": MODEL_COLOURS[model], "linestyle": MODEL_LINESTYLES[model], "marker": MODEL_MARKERS[model]}
        axes.fill_between(levels, low, high, color=MODEL_COLOURS[model], alpha=0.2, linewidth=0)
        axes.plot(levels, mean, label=names[model], markersize=6, **style)
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:,}" for level in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("labelled images per class (logarithmic)")
    axes.set_ylabel("accuracy")
    axes.set_title("Accuracy by number of labels; the band spans the draws")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
