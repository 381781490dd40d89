"""Charts of one model on the test split: confusion matrix, precision and recall by class, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from transfer_utils.dashboard import style
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.palette import OKABE_ITO
from transfer_utils.utils.text import as_label, as_text, finite_number

RIGHT, WRONG = OKABE_ITO["blue"], OKABE_ITO["vermillion"]
MAX_DRAWN_CLASSES = 200
MAX_OPACITY = 0.6  # of a cell, so that its number is legible on the light and on the dark page
MAX_CLASSES_WITH_NUMBERS = 12


def class_labels(record: RunRecord, n: int) -> list[str]:
    """Return unique, printable names of ``n`` classes: those of the record if it has as many, or 0, 1, 2, ..."""
    recorded = record.class_names or [scores.get("name") for scores in record.per_class]
    if len(recorded) != n:
        return [str(index) for index in range(n)]
    names = [as_text(name, 24) for name in recorded]
    return names if len(set(names)) == n else [f"{index} {name}" for index, name in enumerate(names)]


def confusion_counts(record: RunRecord) -> np.ndarray | None:
    """Return the confusion matrix, float64 of shape (n, n), or None if it is not square or too large."""
    rows = record.confusion_matrix
    if not rows or len(rows) > MAX_DRAWN_CLASSES or len(rows[0]) != len(rows):
        return None
    return np.array(rows, float)


def confusion(counts: np.ndarray, names: list[str], normalised: bool) -> go.Figure:
    """Draw a confusion matrix: correct predictions in blue, errors in vermillion, each on its own colour scale.

    ``counts`` has shape (n, n), rows true and columns predicted; ``normalised`` shows shares of the row sum instead.
    """
    labels = [as_label(name) for name in names]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    diagonal = np.eye(len(counts), dtype=bool)
    number_format = "%{z:.1%}" if normalised else "%{z:,.0f}"
    shown = shares if normalised else counts
    figure = go.Figure()
    for hue, mask in ((WRONG, diagonal), (RIGHT, ~diagonal)):
        part = np.where(mask, np.nan, shown)
        figure.add_heatmap(
            z=part,
            x=labels,
            y=labels,
            zmin=0,
            zmax=max(float(np.nanmax(part, initial=0)), 1e-9),
            colorscale=[[0, style.tinted(hue, 0)], [1, style.tinted(hue, MAX_OPACITY)]],
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate=f"true %{{y}}<br>predicted %{{x}}<br>{number_format}<extra></extra>",
        )
    if len(names) <= MAX_CLASSES_WITH_NUMBERS:
        cells = [f"{value:.0%}" if normalised else f"{value:,.0f}" for value in shown.ravel()]
        # The text of a scatter trace follows the theme of the page; the text of a heatmap does not.
        figure.add_scatter(
            x=labels * len(labels), y=np.repeat(labels, len(labels)), text=cells, mode="text", hoverinfo="skip"
        )
    style.lay_out(figure, 140 + 46 * min(max(len(names), 3), 14), legend=False)
    figure.update_xaxes(title_text="predicted", side="bottom", showgrid=False, type="category")
    figure.update_yaxes(title_text="true", autorange="reversed", showgrid=False, type="category")
    return figure


def by_class(record: RunRecord) -> go.Figure | None:
    """Draw precision and recall of every class, joined by a line; return None if the record has neither."""
    scores = [(finite_number(row.get("precision")), finite_number(row.get("recall"))) for row in record.per_class]
    if not any(value is not None for pair in scores for value in pair) or len(scores) > MAX_DRAWN_CLASSES:
        return None
    names = [as_label(row.get("name"), 24) for row in record.per_class]
    figure = go.Figure()
    connection = {"mode": "lines", "line": {"color": style.tinted(style.NEUTRAL, 0.6), "width": 2}}
    for place, pair in enumerate(scores):
        figure.add_scatter(x=pair, y=[place, place], hoverinfo="skip", showlegend=False, **connection)
    for index, (metric, hue, symbol) in enumerate((("precision", RIGHT, "circle"), ("recall", WRONG, "diamond"))):
        figure.add_scatter(
            x=[pair[index] for pair in scores],
            y=list(range(len(names))),
            mode="markers",
            name=metric,
            marker={"color": hue, "symbol": symbol, "size": 10},
            customdata=names,
            hovertemplate=f"%{{customdata}}: {metric} %{{x:.1%}}<extra></extra>",
        )
    style.lay_out(figure, 100 + 24 * min(max(len(names), 3), 24))
    figure.update_xaxes(tickformat=style.PERCENT_TICKS)
    style.name_rows(figure, names)
    return figure


def reliability(calibration: dict[str, Any]) -> go.Figure | None:
    """Draw the reliability diagram (Guo et al. 2017): accuracy against confidence, and the images in each bin.

    Returns None if the record has no valid bins.
    """
    if (bins := _bins(calibration)) is None:
        return None
    edges, confidence, accuracy, count = bins
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06)
    bars = {"x": (edges[1:] + edges[:-1]) / 2, "col": 1}
    width = np.diff(edges)
    figure.add_bar(
        y=accuracy,
        width=width,
        name="accuracy",
        marker={"color": style.tinted(RIGHT, 0.85), "line": {"width": 0}},
        customdata=np.stack([confidence, count], axis=1),
        hovertemplate="confidence %{customdata[0]:.1%}, accuracy %{y:.1%}, %{customdata[1]:,.0f} images<extra></extra>",
        row=1,
        **bars,
    )
    figure.add_bar(
        y=confidence - accuracy,
        base=accuracy,
        width=width,
        name="gap to confidence",
        marker={"color": style.tinted(WRONG, 0.45), "line": {"width": 0}, "pattern": {"shape": "/", "size": 5}},
        hoverinfo="skip",
        row=1,
        **bars,
    )
    diagonal = {"color": style.NEUTRAL, "dash": "dot"}
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfectly calibrated", line=diagonal, hoverinfo="skip", row=1, col=1
    )
    figure.add_bar(
        y=count,
        width=width * 0.9,
        marker={"color": style.tinted(style.NEUTRAL, 0.6)},
        showlegend=False,
        hovertemplate="%{y:,.0f} images<extra></extra>",
        row=2,
        **bars,
    )
    style.lay_out(figure, 340, barmode="overlay", bargap=0)
    figure.update_xaxes(range=[0, 1], tickformat=style.PERCENT_TICKS)
    figure.update_xaxes(title_text="confidence", row=2)
    figure.update_yaxes(range=[0, 1], tickformat=style.PERCENT_TICKS, title_text="accuracy", row=1)
    figure.update_yaxes(title_text="images", row=2, nticks=3)
    return figure


def _bins(calibration: dict[str, Any]) -> list[np.ndarray] | None:
    """Return the edges, confidence, accuracy and count of the bins, or None if their numbers do not fit each other."""
    recorded = (calibration.get(name) for name in ("edges", "confidence", "accuracy", "count"))
    bins = [
        np.array([finite_number(value) for value in values] if isinstance(values, list) else [], float)
        for values in recorded
    ]
    n = len(bins[2])
    fit = 0 < n <= MAX_DRAWN_CLASSES and [len(array) for array in bins] == [n + 1, n, n, n]
    return bins if fit else None
