"""What all charts share: colours, type, the way they are put on the page and saved from it."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import state
from transfer_utils.utils.palette import OKABE_ITO, SERIES
from transfer_utils.utils.text import as_text

FORMATS = ("PNG", "SVG")
# Black would vanish on the dark page; beyond the six colours a marker tells the lines apart.
COLOURS = tuple(colour for colour in SERIES if colour != OKABE_ITO["black"])
SYMBOLS = (None, "circle", "diamond", "square")
MAX_LINES = len(COLOURS) * len(SYMBOLS) // 2
# Halfway between black and white, so that it reads on the light and on the dark page.
NEUTRAL = "#808890"
# Three digits at most, and no noughts that say nothing: 85%, 84.6%.
PERCENT = ".3~p"
BUTTONS = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"]


def colour(place: int) -> str:
    """Return the colour of the line at ``place``, counted from 0."""
    return next(islice(cycle(COLOURS), place, None))


def symbol(place: int) -> str | None:
    """Return the marker of the line at ``place``; the first six have none."""
    return SYMBOLS[place // len(COLOURS) % len(SYMBOLS)]


def tinted(hexadecimal: str, share: float) -> str:
    """Return a colour such as ``#0072B2`` at an opacity in [0, 1]."""
    red, green, blue = (int(hexadecimal[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"


def lay_out(figure: go.Figure, height: int, legend: bool = True, **layout: Any) -> None:
    """Give a figure the common margins, legend and hover text.

    Args:
        height: of the whole figure, in pixels, with 40 of them for a legend.
        legend: whether there is one; without it the figure is that much lower.
        layout: further properties of Plotly's layout.
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


def show(figure: go.Figure, name: str, alt: str) -> None:
    """Put a chart on the page; the camera in its corner saves it as ``name`` in the format the reader chose.

    Args:
        name: the name of the saved file, without its ending; it also tells the charts of a page apart.
        alt: what the chart shows, for readers who do not see it.
    """
    form = (st.session_state.get(state.FORMAT) or FORMATS[0]).lower()
    st.plotly_chart(
        figure,
        key=f"chart {name}",
        alt=alt,
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": BUTTONS,
            "toImageButtonOptions": {"format": form, "filename": as_text(name), "scale": 2},
        },
    )
