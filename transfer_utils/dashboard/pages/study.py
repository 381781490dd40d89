"""The page "Study": what each choice does, all else being equal, drawn from the runs that are there."""

from __future__ import annotations

import streamlit as st

from transfer_utils.dashboard import drawing, option_charts
from transfer_utils.dashboard.reading import View
from transfer_utils.dashboard.table import differing, families

STUDY_COMMAND = "transfer-utils sweep studies/six_stages.yaml"


def draw(view: View) -> None:
    """Draw the page."""
    for option in differing(view.rows):
        found = families(view.rows, option)
        if found:
            st.subheader(option)
            drawing.show(option_charts.one_option(found[:6], option, "val"), f"study-{option}", "x")
