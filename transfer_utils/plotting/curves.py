"""Accuracy and loss over the epochs of one run, or of two side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from transfer_utils.errors import UserError
from transfer_utils.plotting.style import DOTTED, MISSING, PERCENT, WIDTH, canvas, captioned, plain, ruled, styled
from transfer_utils.records import RunRecord
from transfer_utils.results.curves import timeline
from transfer_utils.utils.palette import MODEL_COLOURS, MODEL_NAMES, NOTE, PAPER, SERIES, SPLIT_DASHES

MARKERS = {"transfer": "o", "baseline": "s"}
DASHES = {"dash": "--", "solid": "-"}


@styled
def plot_model_comparison(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw accuracy and loss over the epochs of both models, training dashed and validation solid.

    The stages of the transfer model stand one after the other on one axis, a dotted line where the next begins.
    """
    title = captioned("Transfer learning and a CNN from scratch, epoch by epoch", transfer)
    return _draw({"transfer": transfer, "baseline": baseline}, title)


@styled
def plot_curves(record: RunRecord) -> Figure:
    """Draw accuracy and loss of one run over its epochs, its stages joined, training dashed and validation solid."""
    model = "baseline" if record.config.get("model") == "baseline" or "baseline" in record.curves else "transfer"
    name = MODEL_NAMES[model]
    return _draw({model: record}, captioned(f"{name[0].upper()}{name[1:]}, epoch by epoch", record))


def _draw(records: Mapping[str, RunRecord], title: str) -> Figure:
    figure = Figure((WIDTH, 4.3), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left")
    panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("accuracy", "loss"), strict=True):
        _draw_quantity(axes, quantity, records)
    panels[0].yaxis.set_major_formatter(PERCENT)
    panels[0].set_ylabel("accuracy")
    panels[1].set_ylabel("loss (nats)")
    handles = [
        Line2D([], [], label=f"{MODEL_NAMES[model]}, {split}", **_look(model, split))
        for model, split in _lines(records)
    ]
    if any(_boundaries(record) for record in records.values()):
        handles.append(Line2D([], [], label="stage 2 (fine-tuning) begins", **DOTTED))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=3)
    return figure


def _draw_quantity(axes: Axes, quantity: str, records: Mapping[str, RunRecord]) -> None:
    missing = []
    longest = max(sum(epochs for epochs, _ in _stages(record)) for record in records.values())
    size = 4 if longest <= 30 else 2
    for model, split in _lines(records):
        values = _joined(records[model], quantity if split == "training" else f"val_{quantity}")
        if np.isnan(values).all():
            missing.append(f"{MISSING}: {MODEL_NAMES[model]}, {split}")
        # The marker keeps an epoch in sight that stands alone between gaps.
        axes.plot(np.arange(1, len(values) + 1), values, markersize=size, **_look(model, split))
    for record in records.values():
        for epoch in _boundaries(record):
            axes.axvline(epoch + 0.5, **DOTTED)
    ruled(axes)
    axes.set_title(quantity.capitalize())
    axes.set_xlim(0.5, max(longest, 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if len(missing) == 2 * len(records):
        axes.text(0.5, 0.5, MISSING, ha="center", va="center", color=NOTE, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        missing = []
    axes.set_xlabel("\n".join(["epoch", *missing]))


def _lines(records: Mapping[str, RunRecord]) -> list[tuple[str, str]]:
    return [(model, split) for model in records for split in SPLIT_DASHES]


def _look(model: str, split: str) -> dict[str, Any]:
    colour = MODEL_COLOURS[model]
    inside = colour if split == "validation" else PAPER
    return {
        "color": colour,
        "linestyle": DASHES[SPLIT_DASHES[split]],
        "marker": MARKERS[model],
        "markerfacecolor": inside,
    }


def _joined(record: RunRecord, quantity: str) -> np.ndarray:
    """Return one quantity over the epochs of all stages, NaN where there is no number."""
    parts = [np.array([])]
    for epochs, stage in _stages(record):
        values = stage.get(quantity, [])
        parts.append(np.array([*values, *[None] * (epochs - len(values))], float))
    return np.concatenate(parts)


def _boundaries(record: RunRecord) -> list[int]:
    """Return the last epoch of each stage that another one follows."""
    return np.cumsum([epochs for epochs, _ in _stages(record)])[:-1].tolist()


def _stages(record: RunRecord) -> Iterable[tuple[int, Mapping[str, list[float | None]]]]:
    """Yield each stage that ran with its number of epochs."""
    for stage in record.curves.values():
        epochs = max(map(len, stage.values()), default=0)
        if epochs:
            yield epochs, stage


MAX_MARKERS = 40  # along one line: more of them hide it
LINES = {"transfer": "-", "baseline": "--"}


@styled
def plot_accuracy_over_time(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw validation accuracy over the seconds since the start, what came before the first epoch included."""
    figure, axes = canvas(WIDTH * 0.8, 4.0)
    for model, record in (("transfer", transfer), ("baseline", baseline)):
        moments = timeline(record)
        look = {"color": MODEL_COLOURS[model], "linestyle": LINES[model], "marker": MARKERS[model], "markersize": 4}
        look["markevery"] = max(1, len(moments) // MAX_MARKERS)
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
