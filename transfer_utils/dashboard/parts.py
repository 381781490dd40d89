"""Small parts that several pages draw in the same way: how far runs have come, a block of a record's text, a number."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from transfer_utils.results.progress import describe_progress, silence
from transfer_utils.results.table import Row
from transfer_utils.utils.text import MAX_BLOCK, as_text

REFRESH_SECONDS = 2
MAX_RUNS = 5  # unfinished runs that have a line


@st.fragment(run_every=REFRESH_SECONDS)
def show_progress(rows: list[Row], names: bool = True) -> None:
    """Show, renewed every few seconds, a line for each of some unfinished runs, with or without its name."""
    # The record, and so the page, changes after every epoch; only the time since then changes in between.
    lines = [f"{row.name}: " * names + f"{describe_progress(row)} · {silence(row)}" for row in rows[:MAX_RUNS]]
    if len(rows) > MAX_RUNS:
        lines.append(f"… and {len(rows) - MAX_RUNS} more")
    st.text("\n".join(lines))


def show_block(value: Any, lines: bool = False) -> None:
    """Show a command or an error of a record as a block that can be copied; ``lines`` keeps its line ends."""
    st.code(as_text(value, MAX_BLOCK, lines=lines), language=None, wrap_lines=True)


def show_metric(column: DeltaGenerator, label: str, value: str, note: Any = None) -> None:
    """Show a number with a grey note below it, which Streamlit would colour and give an arrow as a change."""
    column.metric(label, value, note, delta_color="off", delta_arrow="off")


def interval_note(low: float, high: float) -> str:
    """Return the 95 % interval of a fraction as the note below it: ``95 %: 84.4–85.8``."""
    return f"95 %: {100 * low:.1f}–{100 * high:.1f}"
