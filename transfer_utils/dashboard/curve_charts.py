"""Charts of training curves: accuracy and loss over epochs or time, for single runs and for means over runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from transfer_utils.dashboard import style
from transfer_utils.results.curves import STAGE_NAMES, History
from transfer_utils.utils.palette import SPLIT_DASHES
from transfer_utils.utils.text import as_label, as_label_lines

PANELS = {"Accuracy": ("accuracy", "val_accuracy"), "Loss": ("loss", "val_loss")}
MAX_BOUNDARIES, MAX_DECADES = 3, 4


class Line(NamedTuple):
    """One run or one group of runs in a chart of curves; ``place`` chooses its colour and marker."""

    name: str
    history: History
    place: int = 0


def curves(lines: list[Line], against: str = "epoch") -> go.Figure:
    """Draw accuracy above loss, training dashed and validation solid, with the start of each stage marked.

    ``against`` is ``epoch``, or ``time`` for the seconds since the start of the run, all of its work included, which
    leaves out runs without recorded times.
    """
    titles = [f"<b>{title}</b>" for title in PANELS]
    figure = make_subplots(2, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.09)
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    for panel, quantities in enumerate(PANELS.values(), 1):
        for line in lines:
            for quantity in quantities:
                _add_line(figure, panel, line, quantity, against)
    _add_split_legend(figure)
    _mark_stages(figure, lines, against)
    style.lay_out(figure, 560)
    figure.update_layout(legend={"y": 1.06})  # above the title of the first panel
    x_title = "epoch" if against == "epoch" else "seconds since the start of the run"
    figure.update_xaxes(title_text=x_title, row=2)
    figure.update_xaxes(rangemode="tozero", showticklabels=True)
    figure.update_yaxes(tickformat=style.PERCENT_TICKS, row=1)
    return figure


def learning_rate(line: Line) -> go.Figure:
    """Draw the learning rate of each epoch on a logarithmic axis."""
    figure = go.Figure()
    points = line.history.points()
    rates = line.history.values["learning_rate"][points]
    figure.add_scatter(
        x=line.history.epochs[points],
        y=np.where(rates > 0, rates, np.nan),
        mode="lines",
        line={"color": style.colour(0), "shape": "hv"},
        hovertemplate="epoch %{x:,.0f}: %{y:.2g}<extra></extra>",
    )
    style.lay_out(figure, 200, legend=False)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", title_text="learning rate", range=_decades(rates))
    return figure


def _decades(rates: np.ndarray) -> list[float] | None:
    """Return the ends of a logarithmic axis of at most ``MAX_DECADES``, which cuts off the end of a cosine decay."""
    positive = rates[rates > 0]
    if not len(positive):
        return None
    highest = np.log10(positive.max())
    return [max(np.log10(positive.min()), highest - MAX_DECADES) - 0.2, highest + 0.2]


def _add_line(figure: go.Figure, panel: int, line: Line, quantity: str, against: str) -> None:
    history, split = line.history, "validation" if quantity.startswith("val_") else "training"
    points = history.points()
    x = (history.epochs if against == "epoch" else history.seconds)[points]
    is_accuracy = panel == 1
    y = style.possible(history.values[quantity][points], is_accuracy)
    colour, symbol = style.colour(line.place), style.symbol(line.place)
    number_format = ".1%" if is_accuracy else ".3f"
    x_format = "epoch %{x:,.0f}" if against == "epoch" else "%{x:,.0f} s"
    common = {"legendgroup": str(line.place), "row": panel, "col": 1}
    if quantity in history.deviations and split == "validation":
        deviation = np.nan_to_num(history.deviations[quantity][points])
        style.add_band(figure, colour, x, y, deviation, is_accuracy, **common)
    figure.add_scatter(
        x=x,
        y=y,
        name=as_label_lines(line.name, 44),
        uid=style.trace_id(line.name, quantity),
        mode="lines+markers" if symbol or len(points) == 1 else "lines",
        line={"color": colour, "dash": SPLIT_DASHES[split], "width": 2.2 if split == "validation" else 1.4},
        marker={"symbol": symbol or "circle", "size": 6},
        opacity=1 if split == "validation" else 0.75,
        showlegend=is_accuracy and split == "validation",
        hovertemplate=f"{split} %{{y:{number_format}}}, {x_format}<extra>%{{fullData.name}}</extra>",
        **common,
    )


def _add_split_legend(figure: go.Figure) -> None:
    """Add solid and dashed lines to the legend."""
    empty = {"x": [None], "y": [None], "mode": "lines", "row": 1, "col": 1}
    for split, dash in reversed(SPLIT_DASHES.items()):
        figure.add_scatter(name=split, uid=split, line={"color": style.NEUTRAL, "dash": dash, "width": 2}, **empty)


def _mark_stages(figure: go.Figure, lines: list[Line], against: str) -> None:
    """Draw a dotted line where a stage after the first begins, unless the runs differ in too many places."""
    boundaries: dict[float, str] = {}
    for line in lines:
        for stage, start in list(line.history.starts.items())[1:]:
            x = start - 0.5 if against == "epoch" else line.history.seconds[start - 2]
            if np.isfinite(x):
                boundaries[round(float(x), 1)] = STAGE_NAMES.get(stage, as_label(stage, 20))
    if len(boundaries) > MAX_BOUNDARIES:
        return
    last = {boundaries[x]: x for x in sorted(boundaries)}  # names of neighbouring lines would overlap
    for x, stage in boundaries.items():
        figure.add_vline(x=x, line={"color": style.NEUTRAL, "dash": "dot", "width": 1})
        if last[stage] == x:
            # At the top, as the accuracy often falls where a stage begins.
            place = {"x": x, "y": 1, "yref": "y domain", "xanchor": "left", "yanchor": "top", "showarrow": False}
            figure.add_annotation(text=stage, font={"size": 11}, name=style.ON_PAPER, **place, row=1, col=1)
