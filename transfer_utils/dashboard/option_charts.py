"""Charts of the results of several runs: accuracies, accuracy against time, and parallel coordinates of the options."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from transfer_utils.dashboard import style
from transfer_utils.evaluation.percent import percent
from transfer_utils.results.formatting import duration
from transfer_utils.results.groups import RunGroup
from transfer_utils.results.options import REPEATS, sort_key
from transfer_utils.results.table import Row, differing
from transfer_utils.results.timing import OTHER, PHASE_NAMES, time_spent
from transfer_utils.utils.palette import OKABE_ITO
from transfer_utils.utils.text import MISSING, as_label, as_label_lines

MAX_AXES, MAX_LINES_ACROSS, MAX_MARKS = 7, 150, 12
# Training is strong and everything else pale; stage 2 and the boundary activations that it needs share a colour.
PHASE_COLOURS = {
    "loading": (OKABE_ITO["reddish purple"], 0.25),
    "data": (OKABE_ITO["reddish purple"], 0.5),
    "building": (OKABE_ITO["reddish purple"], 0.9),
    "source_task": (OKABE_ITO["vermillion"], 0.5),
    "features": (OKABE_ITO["bluish green"], 0.45),
    "stage1": (OKABE_ITO["bluish green"], 1.0),
    "boundary": (OKABE_ITO["blue"], 0.45),
    "stage2": (OKABE_ITO["blue"], 1.0),
    "source_task_after": (OKABE_ITO["vermillion"], 0.75),
    "baseline": (OKABE_ITO["vermillion"], 1.0),
    "saving": (style.NEUTRAL, 1.0),
    "evaluation": (OKABE_ITO["orange"], 0.7),
    "thumbnails": (OKABE_ITO["orange"], 0.3),
    "export": (OKABE_ITO["yellow"], 1.0),
}
SPLIT_MARKS = {"train": ("training", "square"), "val": ("validation", "circle"), "test": ("test", "diamond")}


# What the bars of ``results`` mean.
BARS = "Bars: 95 % interval of a single run, ± one standard deviation over several."


def results(groups: list[RunGroup], splits: tuple[str, ...] = ("val", "test")) -> go.Figure | None:
    """Draw the final accuracies of every group, with the 95 % interval of a single run or ± std of several.

    Returns None if there are none.
    """
    figure = go.Figure()
    for row, split in enumerate(splits):
        split_name, symbol = SPLIT_MARKS[split]
        marker = {"symbol": symbol, "size": 10}
        for place, group in enumerate(groups):
            mean = group.mean(f"{split}_end2end")
            if mean is None:
                continue
            low, high = _error_bar(group, split, mean)
            figure.add_scatter(
                x=[mean],
                y=[place + 0.26 * (row - (len(splits) - 1) / 2)],
                error_x={"type": "data", "symmetric": False, "array": [high], "arrayminus": [low], "thickness": 1.5},
                mode="markers",
                marker={"color": style.colour(place), **marker},
                customdata=[as_label(group.name)],
                hovertemplate=f"%{{customdata}}<br>{split_name} %{{x:.1%}}<extra></extra>",
                showlegend=False,
            )
        in_legend = {"color": style.NEUTRAL, **marker}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=split_name, marker=in_legend)
    if len(figure.data) == len(splits):
        return None
    style.lay_out(figure, 110 + 16 * (1 + len(splits)) * len(groups))
    figure.update_xaxes(tickformat=style.PERCENT_TICKS)
    style.name_rows(figure, [as_label_lines(group.name) for group in groups])
    return figure


def against_time(groups: list[RunGroup]) -> go.Figure | None:
    """Draw final validation accuracy against the total seconds of each run; return None if no run has both."""
    figure = go.Figure()
    for place, group in enumerate(groups):
        rows = [row for row in group.rows if row.seconds is not None and row.metric("val_end2end") is not None]
        if rows:
            figure.add_scatter(
                x=[row.seconds for row in rows],
                y=[row.metric("val_end2end") for row in rows],
                mode="markers",
                name=as_label_lines(group.name, 44),
                uid=style.trace_id(group.name),
                marker={"color": style.colour(place), "symbol": style.symbol(place) or "circle", "size": 11},
                customdata=[
                    [as_label(row.name), duration(row.seconds), " on a GPU" if row.record.on_gpu else ""]
                    for row in rows
                ],
                hovertemplate="%{customdata[0]}<br>%{y:.1%} after %{customdata[1]}%{customdata[2]}<extra></extra>",
            )
    if not figure.data:
        return None
    style.lay_out(figure, 380)
    figure.update_xaxes(title_text="seconds of the whole run", rangemode="tozero")
    figure.update_yaxes(tickformat=style.PERCENT_TICKS, title_text="validation accuracy")
    return figure


def phases(groups: list[RunGroup]) -> go.Figure | None:
    """Draw where the time of each group's runs went, as means over its runs; None if nothing is recorded."""
    spent = [time_spent(group.records) for group in groups]
    unknown = (name for table in spent for name in table if name != OTHER)
    figure = go.Figure()
    for phase in dict.fromkeys([*PHASE_NAMES, *unknown, OTHER]):
        seconds = [table.get(phase, 0.0) for table in spent]
        if any(seconds):
            colour, opacity = PHASE_COLOURS.get(phase, (style.NEUTRAL, 0.5))
            figure.add_bar(
                x=seconds,
                y=list(range(len(groups))),
                name=as_label(PHASE_NAMES.get(phase, phase), 30),
                orientation="h",
                marker={"color": style.tinted(colour, opacity)},
                customdata=[duration(value) for value in seconds],
                hovertemplate="%{fullData.name}: %{customdata}<extra></extra>",
            )
    if not figure.data:
        return None
    style.lay_out(figure, 130 + 44 * len(groups), barmode="stack", bargap=0.35)
    figure.update_xaxes(title_text="seconds")
    style.name_rows(figure, [as_label_lines(group.name) for group in groups])
    return figure


def axes(rows: list[Row]) -> list[str]:
    """Return the options in which the finished runs differ, the most informative first."""
    return [name for name in differing(_finished(rows)) if name not in REPEATS]


def _finished(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.metric("val_end2end") is not None]


def parallel(rows: list[Row]) -> go.Figure | None:
    """Draw parallel coordinates: each run as a line across the options that differ, to its validation accuracy.

    Better runs have stronger lines. Plotly's own parallel coordinates need WebGL and cannot be saved as SVG, so these
    are ordinary lines, and ``chart.js`` fades those that miss the part of an axis that the reader selects. Returns None
    for fewer than two finished runs, or if no option differs.
    """
    rows = sorted(_finished(rows), key=lambda row: row.metric("val_end2end"))
    options = axes(rows)[:MAX_AXES]
    if len(rows) < 2 or not options:
        return None
    rows = rows[-MAX_LINES_ACROSS:]
    accuracy = np.array([row.metric("val_end2end") for row in rows])
    low, span = accuracy.min(), max(np.ptp(accuracy), 1e-9)
    shares = (accuracy - low) / span
    heights = np.column_stack([*(_heights(name, rows) for name in options), shares])
    figure = go.Figure()
    for row, height, share in zip(rows, heights, shares, strict=True):
        figure.add_scatter(
            x=list(range(len(options) + 1)),
            y=height.tolist(),
            mode="lines",
            line={"color": style.tinted(style.colour(0), 0.6 + 0.4 * share), "width": 1.4 + 1.2 * share},
            name=as_label(row.name),
            text=[*(as_label(row.options.get(name, MISSING)) for name in options), row.accuracy("val")],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            showlegend=False,
        )
    ends = [(share, percent(low + share * span)) for share in (0, 0.5, 1)]
    marked = [*((as_label(name, 24), _marks(name, rows)) for name in options), ("validation", ends)]
    for place, (title, marks) in enumerate(marked):
        # The heights of the titles alternate, so that long ones do not overlap.
        _add_axis(figure, place, title, marks, raised=len(options) > 1 and place % 2 == 1)
    selecting = {"dragmode": "select", "selectdirection": "d", "newselection": {"line": {"color": style.NEUTRAL}}}
    style.lay_out(figure, 400, legend=False, meta={"parallel": True}, **selecting)
    figure.update_xaxes(visible=False, range=[-0.3, len(options) + 0.4], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.06, 1.3], fixedrange=True)
    return figure


def _heights(name: str, rows: list[Row]) -> pd.Series:
    """Return the height of each run on an axis from 0 to 1; runs with the same value are spread a little apart."""
    height_of = {value: height for height, value in _marks(name, rows)}
    values = pd.Series([row.options.get(name, MISSING) for row in rows])
    equal = values.groupby(values)
    count = equal.transform("size")
    spread = 0.05 * (count / 8).clip(upper=1)
    return values.map(height_of) + spread * ((equal.cumcount() + 0.5) / count - 0.5)


def _marks(name: str, rows: list[Row]) -> list[tuple[float, str]]:
    """Return the values of an option in their order, with heights spaced evenly from 0 to 1."""
    values = {row.options.get(name, MISSING): row.config.get(name) for row in rows}
    order = sorted(values, key=lambda text: (text == MISSING, sort_key(name, values[text])))
    return [(place / max(len(order) - 1, 1), text) for place, text in enumerate(order)]


def _add_axis(figure: go.Figure, place: int, title: str, marks: list[tuple[float, str]], raised: bool) -> None:
    figure.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line={"color": style.NEUTRAL, "width": 1})
    figure.add_annotation(x=place, y=1.26 if raised else 1.16, text=f"<b>{title}</b>", showarrow=False)
    beside = {"showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 11}, "name": style.ON_PAPER}
    step = -(-len(marks) // MAX_MARKS)
    for height, text in marks[::step]:
        figure.add_annotation(x=place, y=height, text=as_label(text, 20), yshift=12 if height else -12, **beside)


def _error_bar(group: RunGroup, split: str, mean: float) -> tuple[float, float]:
    """Return the lengths of an error bar below and above the mean, which end at 0 and 1."""
    deviation = group.deviation(f"{split}_end2end")
    if deviation is not None:
        return min(deviation, mean), min(deviation, 1 - mean)
    [row] = group.with_metric(f"{split}_end2end")
    _, low, high = row.record.bounded(f"{split}_end2end")
    return max(mean - (mean if low is None else low), 0), max((mean if high is None else high) - mean, 0)
