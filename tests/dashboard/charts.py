"""The charts of a page, as they are sent to the browser."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def sent(app: AppTest) -> list[dict[str, Any]]:
    """Return what each chart of a page is drawn from, in their order."""
    return [json.loads(chart.proto.json) for chart in app.get("bidi_component")]


def figures(app: AppTest) -> list[dict[str, Any]]:
    """Return the figure of each chart of a page, in their order."""
    return [json.loads(chart["figure"]) for chart in sent(app)]
