"""The common style of all charts: colours, markers and layout, and how a chart is shown and saved.

The component that shows them (``chart.js``) is our own: ``st.plotly_chart`` starts anew whenever its figure changes, so
that a chart of a run in progress would lose its zoom and its hidden lines every few seconds. It also saves charts
without the font of the page, whose text then takes another width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io
import streamlit as st
from streamlit.components import v1

from transfer_utils.dashboard import state
from transfer_utils.utils.palette import OKABE_ITO, SERIES
from transfer_utils.utils.text import as_text

_JAVASCRIPT = Path(__file__).with_name("chart.js").read_text(encoding="utf-8")
# Plotly's JavaScript is part of its Python package; a declared component makes the server serve the folder.
_SERVED = v1.declare_component("plotly", path=str(Path(plotly.__file__).with_name("package_data")))
_PLOTLY = f"component/{_SERVED.name}/plotly.min.js"

FORMAT_KEY, COLOURS_KEY = "format", "colours"  # in the address
FORMATS = ("PNG", "SVG")
# The colours of charts, on the page and in saved files: those of the page, or others for a document.
PALETTES: dict[str, dict[str, str] | None] = {
    "as the page": None,
    "light": {"ink": "#1F2933", "paper": "#FFFFFF", "grid": "#E1E5E8"},
    "dark": {"ink": "#E4E8EB", "paper": "#14181C", "grid": "#333B42"},
}
ON_PAPER = "on paper"  # name of the annotations that get the colour of the paper behind them
# Black is invisible on the dark page. After six lines, the colours repeat with a marker.
COLOURS = tuple(colour for colour in SERIES if colour != OKABE_ITO["black"])
SYMBOLS = (None, "diamond")
MAX_LINES = len(COLOURS) * len(SYMBOLS)
# Legible on the light and on the dark page.
NEUTRAL = "#808890"
# At most three digits, without trailing zeros: 85%, 84.6%.
PERCENT_TICKS = ".3~p"
LINE_HEIGHT, AROUND_ROWS = 17, 90  # pixels of a line of a label; of the legend and the axis around the rows
MAX_VALUE = 1e6  # a larger value, of a damaged record, is drawn as this one


def colour(place: int) -> str:
    """Return the colour of the line at ``place``, counted from 0."""
    return COLOURS[place % len(COLOURS)]


def symbol(place: int) -> str | None:
    """Return the marker of the line at ``place``; the first six have none."""
    return SYMBOLS[place // len(COLOURS) % len(SYMBOLS)]


def trace_id(*parts: str) -> str:
    """Return an identity of a trace, by which Plotly recognises a line that the reader has hidden; a CSS identifier."""
    return "trace" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def tinted(hexadecimal: str, opacity: float) -> str:
    """Return a colour such as ``#0072B2`` with an opacity in [0, 1]."""
    red, green, blue = (int(hexadecimal[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def lay_out(figure: go.Figure, height: int, legend: bool = True, **layout: Any) -> None:
    """Give a figure the common margins, legend and hover text, and further properties of Plotly's layout.

    ``height`` is in pixels, with a legend of one line; longer legends add to it where their width is known, in the
    browser. Without a legend the figure is 32 pixels lower.
    """
    figure.update_layout(
        template="none",
        height=height if legend else height - 32,
        margin={"l": 8, "r": 8, "t": 40 if legend else 8, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": None, "traceorder": "normal"},
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(automargin=True, zeroline=False, title_standoff=8)
    figure.update_yaxes(automargin=True, zeroline=False, title_standoff=8)


def name_rows(figure: go.Figure, names: list[str]) -> None:
    """Name the rows 0, 1, 2, ... of a chart, from the top to the bottom; names of several lines make it higher."""
    lines = max((name.count("<br>") + 1 for name in names), default=1)
    figure.layout.height = max(figure.layout.height, AROUND_ROWS + LINE_HEIGHT * lines * len(names))
    limits = [len(names) - 0.4, -0.6]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=limits, showgrid=False)


def possible(values: np.ndarray, accuracy: bool) -> np.ndarray:
    """Return values that a chart can draw: accuracies in [0, 1], and losses from 0 to ``MAX_VALUE``."""
    return np.clip(values, 0.0, 1.0 if accuracy else MAX_VALUE)


def add_band(
    figure: go.Figure, colour: str, x: Any, mean: np.ndarray, deviation: np.ndarray, accuracy: bool = True, **trace: Any
) -> None:
    """Add a pale band of one standard deviation around a mean, as far as such values are possible.

    Args:
        accuracy: whether the mean is an accuracy, in [0, 1]; otherwise it is a loss, of at least 0.
        trace: where the band belongs.
    """
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, **trace}
    lower, upper = possible(mean - deviation, accuracy), possible(mean + deviation, accuracy)
    drawn = np.flatnonzero(np.isfinite(mean))
    for part in np.split(drawn, np.flatnonzero(np.diff(drawn) > 1) + 1) if len(drawn) else ():
        # Each part has a band of its own: a filled area would join them across the gap.
        places = np.asarray(x)[part]
        figure.add_scatter(x=places, y=lower[part], **edge)
        figure.add_scatter(x=places, y=upper[part], fill="tonexty", fillcolor=tinted(colour, 0.18), **edge)


def show_chart(
    figure: go.Figure | None,
    name: str,
    alt: str,
    missing: str = "",
    *,
    revision: str = "",
    min_width: int = 0,
    on_click: Callable[[dict], None] | None = None,
) -> None:
    """Show a chart; the camera in its corner saves it in the format and the colours chosen in the header.

    Args:
        figure: None shows the text ``missing`` instead.
        name: name of the saved file without its suffix; unique on a page.
        alt: a description of the chart for readers who cannot see it.
        revision: as long as it is the same, new data keeps the reader's zoom and hidden lines.
        min_width: in pixels; on a narrower page the chart is scrolled.
        on_click: called with ``x`` and ``y`` of a clicked point, before the page is drawn again.
    """
    if figure is None:
        st.caption(missing)
        return
    key = f"chart {name}"

    def report() -> None:
        clicked = st.session_state[key]["clicked"]
        if on_click and clicked:
            on_click(clicked)

    data = {
        "figure": plotly.io.to_json(figure, validate=False, remove_uids=False),
        "plotly": _PLOTLY,
        "alt": alt,
        "name": as_text(name),
        "format": st.session_state.get(FORMAT_KEY) or FORMATS[0],
        "palette": PALETTES.get(st.session_state.get(COLOURS_KEY)),
        "revision": f"{name} {revision}",
        "min_width": min_width,
        "clickable": on_click is not None,
    }
    # Registered here, not on import: in Streamlit before 1.66 each AppTest begins without what was registered earlier.
    chart = st.components.v2.component(
        "chart", html='<div class="chart" role="figure"></div>', js=_JAVASCRIPT, isolate_styles=False
    )
    chart(key=key, data=data, on_clicked_change=report)


def choose_saving() -> None:
    """Draw the choice of format and colours."""
    state.choice(st, "Save charts as", FORMATS, FORMAT_KEY)
    state.choice(st, "Colours of charts", list(PALETTES), COLOURS_KEY)
    st.caption("Point at a chart and click the camera in its corner.")


def preload() -> None:
    """Draw an empty chart, which makes the browser load Plotly."""
    figure = go.Figure()
    lay_out(figure, 100)
    show_chart(figure, "preload", "")
