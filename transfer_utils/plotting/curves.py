"""Training curves: accuracy and loss over epochs, and validation accuracy over time and over fine-tuning epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from transfer_utils.errors import UserError
from transfer_utils.plotting.style import (
    DOTTED,
    MODEL_STYLES,
    NOT_RECORDED,
    PERCENT,
    WIDTH,
    canvas,
    panels,
    sanitize,
    series,
    styled,
    with_dataset,
)
from transfer_utils.records.record import RunRecord
from transfer_utils.results.curves import History, mean_history, timeline
from transfer_utils.results.options import model_name
from transfer_utils.utils.palette import MODEL_COLOURS, MODEL_NAMES, NOTE, PAPER, SPLIT_DASHES

LINESTYLES = {"dash": "--", "solid": "-"}
MAX_MARKERS = 40  # on one line; more would hide it


@styled
def plot_model_comparison(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw accuracy and loss of both models over their epochs, training dashed and validation solid.

    The stages of the transfer model share one axis; a dotted line marks where the second stage begins.
    """
    title = with_dataset("Transfer learning and a CNN from scratch, epoch by epoch", transfer)
    return _draw({"transfer": transfer, "baseline": baseline}, title)


@styled
def plot_curves(record: RunRecord) -> Figure:
    """Draw accuracy and loss of one run over its epochs, its stages joined, training dashed and validation solid."""
    model = "baseline" if record.config.get("model") == "baseline" or "baseline" in record.curves else "transfer"
    name = model_name({**record.config, "model": model})
    return _draw({model: record}, with_dataset(f"{name[0].upper()}{name[1:]}, epoch by epoch", record))


def _draw(records: Mapping[str, RunRecord], title: str) -> Figure:
    histories = {model: mean_history([record]) for model, record in records.items()}
    figure, [[left, right]] = panels(WIDTH, 4.3, 1, 2, title)
    _draw_quantity(left, "accuracy", "accuracy", histories)
    _draw_quantity(right, "loss", "loss (nats)", histories)
    left.yaxis.set_major_formatter(PERCENT)
    handles = [
        Line2D([], [], label=f"{model_name({**record.config, 'model': model})}, {split}", **_line_style(model, split))
        for model, record in records.items()
        for split in SPLIT_DASHES
    ]
    if any(_boundaries(history) for history in histories.values()):
        handles.append(Line2D([], [], label="stage 2 (fine-tuning) begins", **DOTTED))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=3)
    return figure


def _draw_quantity(axes: Axes, quantity: str, label: str, histories: Mapping[str, History]) -> None:
    missing = []
    longest = max(len(history.epochs) for history in histories.values())
    for model, history in histories.items():
        for split, name in (("training", quantity), ("validation", f"val_{quantity}")):
            if not history.has(name):
                missing.append(f"{NOT_RECORDED}: {MODEL_NAMES[model]}, {split}")
            # Without markers, an epoch between two gaps would be invisible.
            markersize = 4 if longest <= 30 else 2
            axes.plot(history.epochs, history.values[name], markersize=markersize, **_line_style(model, split))
    for boundary in (boundary for history in histories.values() for boundary in _boundaries(history)):
        axes.axvline(boundary, **DOTTED)
    axes.grid(True)
    axes.set(ylabel=label, title=quantity.capitalize(), xlim=(0.5, max(longest, 1) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if len(missing) == 2 * len(histories):
        axes.text(0.5, 0.5, NOT_RECORDED, ha="center", va="center", color=NOTE, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        missing = []
    axes.set_xlabel("\n".join(["epoch", *missing]))


def _line_style(model: str, split: str) -> dict[str, Any]:
    inside = MODEL_COLOURS[model] if split == "validation" else PAPER
    return MODEL_STYLES[model] | {"linestyle": LINESTYLES[SPLIT_DASHES[split]], "markerfacecolor": inside}


def _boundaries(history: History) -> list[float]:
    """Return the places on the epoch axis where a stage after the first begins."""
    return [start - 0.5 for start in list(history.starts.values())[1:]]


@styled
def plot_accuracy_over_time(*records: RunRecord, models: Sequence[str] = ("transfer", "tutorial")) -> Figure:
    """Draw validation accuracy over training time in seconds, as ``results.timeline`` counts it.

    Args:
        records: one or more runs; one without recorded times is listed as not recorded.
        models: for each record a key of ``MODEL_NAMES``, which sets its name and style.

    Raises:
        ValueError: the numbers of records and models differ.
    """
    figure, axes = canvas(WIDTH * 0.8, 4.0)
    ends = []
    for model, record in zip(models, records, strict=True):
        moments = timeline(record)
        ends += [moment.seconds for moment in moments[-1:]]
        axes.plot(
            [moment.seconds for moment in moments],
            [moment.val_accuracy for moment in moments],
            label=MODEL_NAMES[model] if moments else f"{MODEL_NAMES[model]}: {NOT_RECORDED}",
            markersize=4,
            markevery=max(1, len(moments) // MAX_MARKERS),
            **MODEL_STYLES[model],
        )
    if ends and max(ends) > 10 * min(ends):  # a linear axis would crowd the fast ones together
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
    else:
        axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel="seconds since the start", ylabel="validation accuracy", title="Accuracy by time")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_fine_tunings(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the validation accuracy of several fine-tunings that start from the same weights.

    Args:
        curves: for each label, one accuracy an epoch; the first value, at epoch 0, is the accuracy before fine-tuning.

    Raises:
        UserError: ``curves`` is empty.
    """
    if not curves:
        raise UserError("curves must hold at least one curve, got none")
    figure, axes = canvas(WIDTH * 0.7, 3.8)
    axes.axhline(next(iter(curves.values()))[0], label="before fine-tuning", **DOTTED)
    for place, (label, values) in enumerate(curves.items()):
        axes.plot(range(len(values)), values, label=sanitize(label, 40), **series(place))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel="epoch of fine-tuning", ylabel="validation accuracy")
    axes.set_title("The same start, different learning rates")
    axes.legend()
    return figure
