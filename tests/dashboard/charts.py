"""What a page shows: its charts, as they are sent to the browser, and its buttons."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button


def sent(app: AppTest) -> list[dict[str, Any]]:
    """Return what each chart of a page is drawn from, in their order."""
    return [json.loads(chart.proto.json) for chart in app.get("bidi_component")]


def figures(app: AppTest) -> list[dict[str, Any]]:
    """Return the figure of each chart of a page, in their order."""
    return [json.loads(chart["figure"]) for chart in sent(app)]


def legend(app: AppTest) -> list[str]:
    """Return the names of the lines in the legend of the first chart."""
    return [trace["name"] for trace in figures(app)[0]["data"] if trace.get("showlegend")]


def button(app: AppTest, label: str) -> Button:
    """Return the first button with this label."""
    return next(button for button in app.button if button.label == label)
