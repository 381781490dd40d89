"""What a finished model does on the test split: confusion matrix, precision and recall by class, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from transfer_utils.dashboard import style
from transfer_utils.records import RunRecord
from transfer_utils.utils.palette import OKABE_ITO
from transfer_utils.utils.text import as_label, finite_number

RIGHT, WRONG = OKABE_ITO["blue"], OKABE_ITO["vermillion"]
MAX_CLASSES = 200
DEEPEST = 0.6  # opacity of the fullest cell: black text reads on it on the light page, white text on the dark one
MOST_WRITTEN = 12  # classes up to which every cell shows its number


def class_names(record: RunRecord) -> list[str]:
    """Return the names of the classes as labels: those of the record, or 0, 1, 2, ..."""
    given: Any = record.dataset.get("class_names")
    if not isinstance(given, list):
        given = [one.get("name") for one in record.per_class]
    n = len(record.confusion_matrix) or len(given)
    names = [as_label(name, 24) for name in given] if len(given) == n else [str(place) for place in range(n)]
    repeated = len(set(names)) < n
    return [f"{place} {name}" for place, name in enumerate(names)] if repeated else names


def confusion_counts(record: RunRecord) -> np.ndarray | None:
    """Return the confusion matrix as float64 of shape (n, n), or None without a square one of a size to draw."""
    rows = record.confusion_matrix
    if not rows or len(rows) > MAX_CLASSES or any(len(row) != len(rows) for row in rows):
        return None
    numbers = [[finite_number(count) for count in row] for row in rows]
    return np.array(numbers, float)


def confusion(counts: np.ndarray, names: list[str], normalised: bool) -> go.Figure:
    """Draw a confusion matrix: right answers in blue, mistakes in vermillion, each on a scale of its own.

    Args:
        counts: shape (n, n), rows true, columns predicted.
        names: n labels.
        normalised: show each row as shares of its sum in place of counts.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    diagonal = np.eye(len(counts), dtype=bool)
    shape = "%{z:.1%}" if normalised else "%{z:,.0f}"
    shown = shares if normalised else counts
    figure = go.Figure()
    for hue, mask in ((WRONG, diagonal), (RIGHT, ~diagonal)):
        part = np.where(mask, np.nan, shown)
        figure.add_heatmap(
            z=part,
            x=names,
            y=names,
            zmin=0,
            zmax=max(float(np.nanmax(part, initial=0)), 1e-9),
            colorscale=[[0, style.tinted(hue, 0)], [1, style.tinted(hue, DEEPEST)]],
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate=f"true %{{y}}<br>predicted %{{x}}<br>{shape}<extra></extra>",
        )
    if len(names) <= MOST_WRITTEN:
        cells = [f"{value:.0%}" if normalised else f"{value:,.0f}" for value in shown.ravel()]
        # A trace of text takes the colour of the page's text; a heatmap's own text does not know of the dark page.
        figure.add_scatter(
            x=names * len(names), y=np.repeat(names, len(names)), text=cells, mode="text", hoverinfo="skip"
        )
    style.lay_out(figure, 140 + 46 * min(max(len(names), 3), 14), legend=False)
    figure.update_xaxes(title_text="predicted", side="bottom", showgrid=False, type="category")
    figure.update_yaxes(title_text="true", autorange="reversed", showgrid=False, type="category")
    return figure


def by_class(record: RunRecord) -> go.Figure | None:
    """Draw precision and recall of every class, joined by a line; None when the record has neither."""
    scores = [(finite_number(one.get("precision")), finite_number(one.get("recall"))) for one in record.per_class]
    if not any(value is not None for pair in scores for value in pair) or len(scores) > MAX_CLASSES:
        return None
    names = [as_label(one.get("name"), 24) for one in record.per_class]
    places = list(range(len(names)))
    figure = go.Figure()
    for place, (precision, recall) in zip(places, scores, strict=True):
        figure.add_scatter(
            x=[precision, recall],
            y=[place, place],
            mode="lines",
            line={"color": style.tinted(style.NEUTRAL, 0.6), "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    for which, (word, hue, symbol) in enumerate((("precision", RIGHT, "circle"), ("recall", WRONG, "diamond"))):
        figure.add_scatter(
            x=[pair[which] for pair in scores],
            y=places,
            mode="markers",
            name=word,
            marker={"color": hue, "symbol": symbol, "size": 10},
            customdata=names,
            hovertemplate=f"%{{customdata}}: {word} %{{x:.1%}}<extra></extra>",
        )
    style.lay_out(figure, 100 + 24 * min(max(len(names), 3), 24))
    figure.update_xaxes(tickformat=style.PERCENT)
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", showgrid=False)
    return figure


def reliability(calibration: dict[str, Any]) -> go.Figure | None:
    """Draw the reliability diagram (Guo et al. 2017): how often the model is right when it is so sure.

    Returns None when the record's bins cannot be drawn.
    """
    edges, confidence, accuracy, count = (
        _numbers(calibration.get(name)) for name in ("edges", "confidence", "accuracy", "count")
    )
    bins = len(accuracy)
    if bins == 0 or bins > MAX_CLASSES or len(edges) != bins + 1 or len(confidence) != bins or len(count) != bins:
        return None
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    figure.add_bar(
        x=middle,
        y=accuracy,
        width=width,
        name="accuracy",
        marker={"color": style.tinted(RIGHT, 0.85), "line": {"width": 0}},
        customdata=np.stack([confidence, count], axis=1),
        hovertemplate="confidence %{customdata[0]:.1%}, accuracy %{y:.1%}, %{customdata[1]:,.0f} images<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=middle,
        y=confidence - accuracy,
        base=accuracy,
        width=width,
        name="gap to confidence",
        marker={"color": style.tinted(WRONG, 0.45), "line": {"width": 0}, "pattern": {"shape": "/", "size": 5}},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="perfectly calibrated",
        line={"color": style.NEUTRAL, "dash": "dot"},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=middle,
        y=count,
        width=width * 0.9,
        marker={"color": style.tinted(style.NEUTRAL, 0.6)},
        showlegend=False,
        hovertemplate="%{y:,.0f} images<extra></extra>",
        row=2,
        col=1,
    )
    style.lay_out(figure, 340, barmode="overlay", bargap=0)
    figure.update_xaxes(range=[0, 1], tickformat=style.PERCENT)
    figure.update_xaxes(title_text="confidence", row=2)
    figure.update_yaxes(range=[0, 1], tickformat=style.PERCENT, title_text="accuracy", row=1)
    figure.update_yaxes(title_text="images", row=2, nticks=3)
    return figure


def _numbers(values: Any) -> np.ndarray:
    if not isinstance(values, list):
        return np.empty(0)
    return np.array([finite_number(value) for value in values], float)
