"""Charts of the effect of one option: accuracy by value, gain of test-time augmentation, epochs saved."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from transfer_utils.dashboard import style
from transfer_utils.dashboard.option_charts import SPLIT_MARKS
from transfer_utils.results.groups import Family, RunGroup
from transfer_utils.results.options import sort_key
from transfer_utils.results.table import Row
from transfer_utils.utils.text import as_label, as_label_lines, finite_number

BANDS = "Small points: runs. Line: their mean. Band: ± one standard deviation."
BARS = "Bars: ± one standard deviation over several runs."


def one_option(families: list[Family], option: str, split: str) -> go.Figure:
    """Draw accuracy against one option: the mean over seeds, a band of one standard deviation, and every run.

    Each family has a line. Positive numbers that span a factor of 100 get a logarithmic axis; other values are spaced
    evenly.
    """
    rows = [group.rows[0] for family in families for group in family.groups]
    values = {row.options[option]: row.config[option] for row in rows}
    order = sorted(values, key=lambda text: sort_key(option, values[text]))
    sizes = [finite_number(values[text]) for text in order]
    logarithmic = None not in sizes and min(sizes) > 0 and max(sizes) >= 100 * min(sizes)
    x_of = dict(zip(order, sizes if logarithmic else range(len(order)), strict=True))
    figure = go.Figure()
    for place, family in enumerate(families):
        groups = [group for group in family.groups if group.values(f"{split}_end2end")]
        x = [x_of[group.rows[0].options[option]] for group in groups]
        _add_line(figure, place, family.name, groups, x, f"{split}_end2end")
    style.lay_out(figure, 340, legend=len(families) > 1)
    figure.update_xaxes(
        title_text=as_label(option),
        type="log" if logarithmic else "linear",
        tickvals=list(x_of.values()),
        ticktext=[as_label(text, 20) for text in order],
    )
    figure.update_yaxes(tickformat=style.PERCENT_TICKS, title_text=f"{SPLIT_MARKS[split][0]} accuracy")
    return figure


def _add_line(figure: go.Figure, place: int, name: str, groups: list[RunGroup], x: list[float], metric: str) -> None:
    colour = style.colour(place)
    mean = np.array([group.mean(metric) for group in groups])
    deviation = np.array([group.deviation(metric) or 0 for group in groups])
    common = {"legendgroup": str(place)}
    style.add_band(figure, colour, x, mean, deviation, **common)
    figure.add_scatter(
        x=x,
        y=mean,
        mode="lines+markers",
        name=as_label_lines(name, 44),
        line={"color": colour, "width": 2.2},
        marker={"size": 8, "symbol": style.symbol(place) or "circle"},
        customdata=[[as_label(group.name), group.shown(metric), group.size] for group in groups],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]} (%{customdata[2]})<extra></extra>",
        **common,
    )
    figure.add_scatter(
        x=[at for at, group in zip(x, groups, strict=True) for _ in group.values(metric)],
        y=[value for group in groups for value in group.values(metric)],
        mode="markers",
        marker={"color": style.tinted(colour, 0.45), "size": 5},
        showlegend=False,
        hoverinfo="skip",
        **common,
    )


def gain_of_views(row: Row, split: str) -> float:
    """Return what averaging over several views gained, in points."""
    return 100 * (row.metric(f"{split}_tta") - row.metric(f"{split}_end2end"))


def augmentation_gain(groups: list[RunGroup], split: str) -> go.Figure:
    """Draw the gain of test-time augmentation in percentage points, for groups that have measured it."""
    figure = go.Figure()
    for place, group in enumerate(groups):
        gains = [gain_of_views(row, split) for row in group.with_metric(f"{split}_tta")]
        figure.add_bar(
            x=[float(np.mean(gains))],
            y=[place],
            error_x={"array": [np.std(gains, ddof=1)], "color": style.NEUTRAL} if len(gains) > 1 else None,
            orientation="h",
            marker={"color": style.colour(0)},
            hovertemplate=f"%{{x:+.1f}} points ({group.size})<extra></extra>",
        )
    style.lay_out(figure, 90 + 36 * len(groups), legend=False, bargap=0.4)
    figure.update_xaxes(title_text=f"points gained on {SPLIT_MARKS[split][0]}", zeroline=True)
    style.name_rows(figure, [as_label_lines(group.name) for group in groups])
    return figure


def epochs_used(groups: list[RunGroup]) -> go.Figure:
    """Draw the epochs that ran and those that early stopping saved, as means over the runs of each group."""
    ran = [float(np.mean([row.epochs for row in group.rows])) for group in groups]
    saved = [float(np.mean([row.planned - row.epochs for row in group.rows])) for group in groups]
    figure = go.Figure()
    for values, name, opacity in ((ran, "epochs run", 1.0), (saved, "epochs saved", 0.25)):
        figure.add_bar(
            x=values,
            y=list(range(len(groups))),
            name=name,
            orientation="h",
            marker={"color": style.tinted(style.colour(0), opacity)},
            hovertemplate=f"%{{x:.0f}} {name}<extra></extra>",
        )
    style.lay_out(figure, 110 + 36 * len(groups), barmode="stack", bargap=0.4)
    figure.update_xaxes(title_text="epochs")
    style.name_rows(figure, [as_label_lines(group.name) for group in groups])
    return figure
