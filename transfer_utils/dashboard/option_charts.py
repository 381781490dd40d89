"""Results against options: intervals side by side, accuracy against time, one option at a time, all at once."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from transfer_utils.dashboard import drawing, plain
from transfer_utils.dashboard.options import sort_key
from transfer_utils.dashboard.table import Family, Group, Row, differing

MOST_AXES = 8
SPLITS = {"val": ("validation", "circle"), "test": ("test", "diamond")}


def results(groups: list[Group], height: int = 110) -> go.Figure:
    """Draw validation and test accuracy of every group, with the 95 % interval of one run or ± std of several."""
    figure = go.Figure()
    for split, (word, symbol) in SPLITS.items():
        for place, group in enumerate(groups):
            mean = group.mean(f"{split}_end2end")
            if mean is None:
                continue
            low, high = _reach(group, split, mean)
            figure.add_scatter(
                x=[mean],
                y=[place + (0.14 if split == "test" else -0.14)],
                error_x={"type": "data", "symmetric": False, "array": [high], "arrayminus": [low], "thickness": 1.5},
                mode="markers",
                marker={"color": drawing.colour(place), "symbol": symbol, "size": 10},
                customdata=[plain.label(group.name)],
                hovertemplate=f"%{{customdata}}<br>{word} %{{x:.1%}}<extra></extra>",
                showlegend=False,
            )
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=word,
            marker={"color": drawing.NEUTRAL, "symbol": symbol, "size": 10},
        )  # fmt: skip
    drawing.laid_out(figure, height + 34 * len(groups))
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(
        tickvals=list(range(len(groups))),
        ticktext=[plain.label(group.name, 40) for group in groups],
        range=[len(groups) - 0.4, -0.6],
        showgrid=False,
    )
    return figure


def against_time(groups: list[Group]) -> go.Figure | None:
    """Draw final validation accuracy against the seconds the whole run took; None when no run has both."""
    figure = go.Figure()
    for place, group in enumerate(groups):
        rows = [row for row in group.rows if row.seconds is not None and row.metric("val_end2end") is not None]
        if rows:
            figure.add_scatter(
                x=[row.seconds for row in rows],
                y=[row.metric("val_end2end") for row in rows],
                mode="markers",
                name=plain.label(group.name),
                marker={"color": drawing.colour(place), "symbol": drawing.symbol(place) or "circle", "size": 11},
                customdata=[[plain.label(row.name), plain.duration(row.seconds)] for row in rows],
                hovertemplate="%{customdata[0]}<br>%{y:.1%} after %{customdata[1]}<extra></extra>",
            )
    if not figure.data:
        return None
    drawing.laid_out(figure, 360 + 22 * (len(groups) // 3))
    figure.update_xaxes(title_text="seconds in all", rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", title_text="validation accuracy")
    return figure


def parallel(rows: list[Row]) -> go.Figure | None:
    """Draw each run as a line across the options that differ, ending at its validation accuracy.

    Returns None with fewer than two finished runs, or when nothing differs.
    """
    rows = [row for row in rows if row.metric("val_end2end") is not None]
    options = [name for name in differing(rows) if name != "seed"][:MOST_AXES]
    if len(rows) < 2 or not options:
        return None
    accuracy = [100 * row.metric("val_end2end") for row in rows]
    axes = [_axis(name, rows) for name in options]
    axes.append({"label": "validation %", "values": accuracy})
    figure = go.Figure(
        go.Parcoords(
            dimensions=axes,
            line={"color": accuracy, "colorscale": "Cividis", "showscale": False},
            labelangle=0,
        )
    )
    drawing.laid_out(figure, 360)
    figure.update_layout(margin={"l": 60, "r": 60, "t": 60, "b": 20})
    return figure


def one_option(families: list[Family], option: str, split: str) -> go.Figure:
    """Draw accuracy against one option: the mean over seeds, a band of one standard deviation, and every run.

    Positive numbers spread over a factor of 100 are spaced by their ratio; other values stand side by side.

    Args:
        families: the lines, at most as many as there are colours and markers.
        option: the name of the option.
        split: ``val`` or ``test``.
    """
    rows = [group.rows[0] for family in families for group in family.groups]
    values = {row.options[option]: row.config[option] for row in rows}
    order = sorted(values, key=lambda words: sort_key(option, values[words]))
    sizes = [plain.number(values[words]) for words in order]
    by_ratio = None not in sizes and min(sizes) > 0 and max(sizes) >= 100 * min(sizes)
    x_of = {words: size if by_ratio else place for place, (words, size) in enumerate(zip(order, sizes, strict=True))}
    figure = go.Figure()
    for place, family in enumerate(families):
        found = [(x_of[group.rows[0].options[option]], group) for group in family.groups]
        _add_family(figure, place, family.name, [pair for pair in found if pair[1].values(f"{split}_end2end")], split)
    drawing.laid_out(figure, 340 + 22 * (len(families) // 2), showlegend=len(families) > 1)
    figure.update_xaxes(
        title_text=plain.label(option),
        type="log" if by_ratio else "linear",
        tickvals=list(x_of.values()),
        ticktext=[plain.label(words, 20) for words in order],
    )
    figure.update_yaxes(tickformat=".0%", title_text=f"{SPLITS[split][0]} accuracy")
    return figure


def _add_family(figure: go.Figure, place: int, name: str, found: list[tuple[float, Group]], split: str) -> None:
    metric, colour = f"{split}_end2end", drawing.colour(place)
    x = [at for at, _ in found]
    mean = np.array([group.mean(metric) for _, group in found])
    deviation = np.array([group.deviation(metric) or 0 for _, group in found])
    common = {"legendgroup": str(place)}
    edge = {"x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, **common}
    figure.add_scatter(y=mean - deviation, **edge)
    figure.add_scatter(y=mean + deviation, fill="tonexty", fillcolor=drawing.tinted(colour, 0.18), **edge)
    figure.add_scatter(
        x=x,
        y=mean,
        mode="lines+markers",
        name=plain.label(name, 80),
        line={"color": colour, "width": 2.2},
        marker={"size": 8, "symbol": drawing.symbol(place) or "circle"},
        customdata=[[plain.label(group.name), group.shown(metric), group.size] for _, group in found],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]} (%{customdata[2]})<extra></extra>",
        **common,
    )
    figure.add_scatter(
        x=[at for at, group in found for _ in group.values(metric)],
        y=[value for _, group in found for value in group.values(metric)],
        mode="markers",
        marker={"color": drawing.tinted(colour, 0.45), "size": 5},
        showlegend=False,
        hoverinfo="skip",
        **common,
    )


def _reach(group: Group, split: str, mean: float) -> tuple[float, float]:
    if len(group.values(f"{split}_end2end")) > 1:
        deviation = group.deviation(f"{split}_end2end") or 0.0
        return deviation, deviation
    row = next(row for row in group.rows if row.metric(f"{split}_end2end") is not None)
    low, high = row.metric(f"{split}_low"), row.metric(f"{split}_high")
    return max(mean - (mean if low is None else low), 0), max((mean if high is None else high) - mean, 0)


def _axis(name: str, rows: list[Row]) -> dict:
    values = {row.options.get(name, plain.MISSING): row.config.get(name) for row in rows}
    order = sorted(values, key=lambda words: sort_key(name, values[words]))
    return {
        "label": plain.label(name, 24),
        "values": [order.index(row.options.get(name, plain.MISSING)) for row in rows],
        "tickvals": list(range(len(order))),
        "ticktext": [plain.label(words, 20) for words in order],
    }
