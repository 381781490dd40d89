"""The common style of all charts: colours, markers and layout, and how a chart is shown and saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import state
from transfer_utils.utils.palette import OKABE_ITO, SERIES
from transfer_utils.utils.text import as_text

FORMATS = ("PNG", "SVG")
# Black is invisible on the dark page. After six lines, the colours repeat with a marker.
COLOURS = tuple(colour for colour in SERIES if colour != OKABE_ITO["black"])
SYMBOLS = (None, "circle", "diamond", "square")
MAX_LINES = len(COLOURS) * len(SYMBOLS) // 2
# Legible on the light and on the dark page.
NEUTRAL = "#808890"
# At most three digits, without trailing zeros: 85%, 84.6%.
PERCENT = ".3~p"
HIDDEN_BUTTONS = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"]


def colour(place: int) -> str:
    """Return the colour of the line at ``place``, counted from 0."""
    return COLOURS[place % len(COLOURS)]


def symbol(place: int) -> str | None:
    """Return the marker of the line at ``place``; the first six have none."""
    return SYMBOLS[place // len(COLOURS) % len(SYMBOLS)]


def tinted(hexadecimal: str, opacity: float) -> str:
    """Return a colour such as ``#0072B2`` with an opacity in [0, 1]."""
    red, green, blue = (int(hexadecimal[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def lay_out(figure: go.Figure, height: int, legend: bool = True, **layout: Any) -> None:
    """Give a figure the common margins, legend and hover text, and further properties of Plotly's layout.

    ``height`` is in pixels; without a legend the figure is 32 pixels lower.
    """
    figure.update_layout(
        height=height if legend else height - 32,
        margin={"l": 8, "r": 8, "t": 40 if legend else 8, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": None},
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)


def name_rows(figure: go.Figure, names: list[str]) -> None:
    """Name the rows 0, 1, 2, ... of a chart, from the top to the bottom."""
    limits = [len(names) - 0.4, -0.6]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=limits, showgrid=False)


def add_band(figure: go.Figure, colour: str, mean: np.ndarray, deviation: np.ndarray, **trace: Any) -> None:
    """Add a pale band of one standard deviation around a mean; ``trace`` holds x and where the band belongs."""
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, **trace}
    figure.add_scatter(y=mean - deviation, **edge)
    figure.add_scatter(y=mean + deviation, fill="tonexty", fillcolor=tinted(colour, 0.18), **edge)


def show(figure: go.Figure | None, name: str, alt: str, missing: str = "") -> None:
    """Show a chart; the camera in its corner saves it in the format chosen in the header.

    Args:
        figure: None shows the text ``missing`` instead.
        name: name of the saved file without its suffix; unique on a page.
        alt: a description of the chart for readers who cannot see it.
    """
    if figure is None:
        st.caption(missing)
        return
    file_format = (st.session_state.get(state.FORMAT) or FORMATS[0]).lower()
    st.plotly_chart(
        figure,
        key=f"chart {name}",
        alt=alt,
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": HIDDEN_BUTTONS,
            "toImageButtonOptions": {"format": file_format, "filename": as_text(name), "scale": 2},
        },
    )
