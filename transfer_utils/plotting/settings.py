"""Accuracy over the settings of one option: depths, learning rates, image sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from transfer_utils.errors import UserError
from transfer_utils.palette import NOTE, PAPER, SERIES
from transfer_utils.plotting.style import PERCENT, WIDTH, canvas, plain, ruled, styled

# One behind the other, so that intervals of the same setting do not cover each other.
SPLIT_LOOKS = {
    "validation": {"color": SERIES[0], "marker": "o", "linestyle": "-", "shift": -0.06},
    "test": {"color": SERIES[1], "marker": "s", "linestyle": "--", "shift": 0.06},
}


@styled
def plot_accuracy_by_setting(
    accuracies: Mapping[str, Mapping[str, Sequence[float]]], setting: str, title: str
) -> Figure:
    """Draw accuracy over the settings of one option, in their order, with 95 % intervals: one line a split.

    Args:
        accuracies: by split (``validation``, ``test``), by setting in words: the mean and the ends of its interval.
        setting: what the settings are, for the axis.
        title: what the chart shows.

    Raises:
        UserError: there is no split, or one without settings.
    """
    if not accuracies or not all(accuracies.values()):
        raise UserError("accuracies must hold at least one split, each with at least one setting")
    figure, axes = canvas(WIDTH * 0.8, 4.2)
    for split, by_setting in accuracies.items():
        look = dict(SPLIT_LOOKS[split])
        places = np.arange(len(by_setting)) + look.pop("shift")
        mean, low, high = np.array([list(found)[:3] for found in by_setting.values()]).T
        inside = PAPER if split == "test" else look["color"]
        axes.errorbar(
            places, mean, [mean - low, high - mean], capsize=4, elinewidth=1.2, markersize=7, label=split,
            markerfacecolor=inside, **look,
        )  # fmt: skip
        if split == "validation":
            for i, (place, value) in enumerate(zip(places, mean, strict=True)):
                offset = (-7, -15) if i and value < mean[i - 1] else (-7, 7)  # on the side that the line is not
                axes.annotate(f"{100 * value:.1f} %", (place, value), offset, textcoords="offset points", ha="right")
    names = next(iter(accuracies.values()))
    axes.set_xticks(range(len(names)), [plain(name, 24) for name in names])
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
    """Draw accuracy over the time that one image takes, and that time over the image size: what a pixel costs.

    Args:
        accuracies: by image size in px: the accuracy and the ends of its 95 % interval.
        milliseconds: by the same image sizes.

    Raises:
        UserError: the sizes are none, or not the same in both.
    """
    if not accuracies or set(accuracies) != set(milliseconds):
        raise UserError(f"the sizes must be the same in both, got {sorted(accuracies)} and {sorted(milliseconds)}")
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
        ruled(axes)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.margins(y=0.14)
    left.set_title("Accuracy by size")
    right.set_title("Accuracy by time")
    return figure
