"""The component that draws a Plotly figure in the browser (``chart.js``).

``st.plotly_chart`` starts anew whenever its figure changes: a chart of a run in progress would lose its zoom and its
hidden lines every few seconds. It also saves charts without the font of the page, whose text then takes another width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
import streamlit as st
from streamlit.components import v1

JAVASCRIPT = Path(__file__).with_name("chart.js").read_text(encoding="utf-8")

# Plotly's JavaScript is part of its Python package; a declared component makes the server serve the folder.
_SERVED = v1.declare_component("plotly", path=str(Path(plotly.__file__).with_name("package_data")))
PLOTLY = f"component/{_SERVED.name}/plotly.min.js"


def draw(
    figure: go.Figure,
    key: str,
    *,
    alt: str,
    name: str,
    file_format: str,
    palette: dict[str, str] | None,
    revision: str,
    min_width: int = 0,
    on_click: Callable[[dict], None] | None = None,
) -> None:
    """Draw a figure whose layout has a height.

    Args:
        key: unique on a page.
        alt: a description for readers who cannot see the figure.
        name: of the saved file, without its suffix.
        file_format: of the saved file, ``PNG`` or ``SVG``.
        palette: the colours ``ink``, ``paper`` and ``grid``; by default those of the page.
        revision: as long as it is the same, the reader's zoom and hidden lines are kept.
        min_width: in pixels; on a narrower page the figure is scrolled.
        on_click: called with ``x`` and ``y`` of a clicked point, before the page is drawn again.
    """

    def report() -> None:
        clicked = st.session_state[key]["clicked"]
        if on_click and clicked:
            on_click(clicked)

    data = {
        "figure": plotly.io.to_json(figure, validate=False, remove_uids=False),
        "plotly": PLOTLY,
        "alt": alt,
        "name": name,
        "format": file_format,
        "palette": palette,
        "revision": revision,
        "min_width": min_width,
        "clickable": on_click is not None,
    }
    # Registered here, not on import: in Streamlit before 1.66 each AppTest begins without what was registered earlier.
    chart = st.components.v2.component(
        "chart", html='<div class="chart" role="figure"></div>', js=JAVASCRIPT, isolate_styles=False
    )
    chart(key=key, data=data, on_clicked_change=report)
