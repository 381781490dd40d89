"""What the fine-tuning and the comparison notebooks measure, drawn in the style of ``plotting`` and returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from transfer_utils.errors import UserError
from transfer_utils.palette import MODEL_COLOURS, MODEL_NAMES, SERIES
from transfer_utils.plotting.curves import MARKERS
from transfer_utils.plotting.style import DOTTED, PERCENT, WIDTH, bare, canvas, plain, styled
from transfer_utils.records import RunRecord
from transfer_utils.timeline import timeline

MOST_MARKERS = 40  # along one line: more of them hide it
LINES = {"transfer": "-", "baseline": "--"}


@styled
def plot_label_efficiency(
    summary: Mapping[str, Mapping[int, tuple[float, float, float]]], *, transfer: str = MODEL_NAMES["transfer"]
) -> Figure:
    """Draw accuracy over labels per class: the mean of the draws as a line, from the worst to the best as a band.

    Args:
        summary: what ``label_efficiency.summarise`` returned.
        transfer: what to call the transferred model, which may be but a probe.

    Raises:
        UserError: it is empty.
    """
    if not summary:
        raise UserError("summary must hold at least one model, got none")
    figure, axes = canvas(WIDTH * 0.8, 4.3)
    names = MODEL_NAMES | {"transfer": transfer}
    for model, by_labels in summary.items():
        levels = sorted(by_labels)
        mean, low, high = np.array([by_labels[level] for level in levels]).T
        look = {"color": MODEL_COLOURS[model], "linestyle": LINES[model], "marker": MARKERS[model]}
        axes.fill_between(levels, low, high, color=MODEL_COLOURS[model], alpha=0.2, linewidth=0)
        axes.plot(levels, mean, label=names[model], markersize=6, **look)
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:,}" for level in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("labelled images per class (logarithmic)")
    axes.set_ylabel("accuracy")
    axes.set_title("Accuracy by number of labels; the band spans the draws")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_accuracy_over_time(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw validation accuracy over the seconds since the start, what came before the first epoch included."""
    figure, axes = canvas(WIDTH * 0.8, 4.0)
    for model, record in (("transfer", transfer), ("baseline", baseline)):
        moments = timeline(record)
        look = {"color": MODEL_COLOURS[model], "linestyle": LINES[model], "marker": MARKERS[model], "markersize": 4}
        look["markevery"] = max(1, len(moments) // MOST_MARKERS)
        axes.plot(
            [moment.seconds for moment in moments],
            [moment.val_accuracy for moment in moments],
            label=MODEL_NAMES[model],
            **look,
        )
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("validation accuracy")
    axes.set_title("Accuracy by time")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_fine_tunings(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the validation accuracy of several fine-tunings that began at the same place.

    Args:
        curves: by label, one accuracy an epoch; the first, epoch 0, is from before the fine-tuning.

    Raises:
        UserError: there is no curve.
    """
    if not curves:
        raise UserError("curves must hold at least one curve, got none")
    figure, axes = canvas(WIDTH * 0.7, 3.8)
    axes.axhline(next(iter(curves.values()))[0], label="before fine-tuning", **DOTTED)
    for place, (label, values) in enumerate(curves.items()):
        look = {"color": SERIES[place % len(SERIES)], "marker": "osD^vP*"[place % 7]}
        axes.plot(range(len(values)), values, linestyle=("-", "--", "-.")[place % 3], label=plain(label, 40), **look)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("epoch of fine-tuning")
    axes.set_ylabel("validation accuracy")
    axes.set_title("The same start, different learning rates")
    axes.legend()
    return figure


@styled
def plot_blends(
    blends: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], labels: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Draw pairs of images and what Mixup made of them, one column a pair, with the blended label below.

    Args:
        blends: for each pair the image, its partner and the blend, each (side, side, 3) in 0-255.
        labels: shape (pairs, classes), the blended labels, rows that sum to 1.
        class_names: one name a class.

    Raises:
        UserError: labels are not as many as pairs.
    """
    labels = np.asarray(labels)
    if len(labels) != len(blends):
        raise UserError(f"labels must be as many as blends, got {len(labels)} and {len(blends)}")
    figure = Figure((1.5 * len(blends) + 1.0, 5.0), layout="constrained")
    panels = figure.subplots(3, len(blends), squeeze=False)
    for column, (pictures, label) in enumerate(zip(blends, labels, strict=True)):
        for axes, picture in zip(panels[:, column], pictures, strict=True):
            axes.imshow(np.asarray(picture, np.uint8), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            bare(axes)
        parts = [
            f"{label[which]:.0%} {plain(class_names[which], 14)}" for which in np.argsort(-label)[:2] if label[which]
        ]
        panels[2, column].set_xlabel("\n".join(parts), fontsize=9)
    for axes, name in zip(panels[:, 0], ("image", "partner", "blend"), strict=True):
        axes.set_ylabel(name)
    return figure
