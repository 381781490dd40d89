"""How far unfinished runs have come, renewed every few seconds."""

from __future__ import annotations

import streamlit as st

from transfer_utils.results.progress import describe_progress, silence
from transfer_utils.results.table import Row

REFRESH_SECONDS = 2
MAX_RUNS = 5


@st.fragment(run_every=REFRESH_SECONDS)
def draw(rows: list[Row], names: bool = True) -> None:
    """Draw one line for each of some unfinished runs, with or without its name."""
    # The record, and so the page, changes after every epoch; only the time since then changes in between.
    lines = [f"{row.name}: " * names + f"{describe_progress(row)} · {silence(row)}" for row in rows[:MAX_RUNS]]
    if len(rows) > MAX_RUNS:
        lines.append(f"… and {len(rows) - MAX_RUNS} more")
    st.text("\n".join(lines))
