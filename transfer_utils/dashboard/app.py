"""The entry point of the dashboard: it reads the folder, draws the page and updates it when a record changes."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import streamlit as st

from transfer_utils.dashboard import parts, state, store, style
from transfer_utils.dashboard.launch import DEFAULT_RUNS
from transfer_utils.dashboard.pages import compare, mistakes, one_run, runs, study, teach, try_it
from transfer_utils.dashboard.store import View
from transfer_utils.utils.text import as_text

TITLE = "Transfer learning runs"
PAGES = {
    state.RUNS: runs.draw,
    state.COMPARE: compare.draw,
    state.ONE_RUN: one_run.draw,
    state.MISTAKES: mistakes.draw,
    state.STUDY: study.draw,
    state.TRY_IT: try_it.draw,
    state.TEACH: teach.draw,
}
# Static markup without text from files. It reduces the space at the top, aligns digits, shows plain text in the font of
# the page, and gives the pale grey text of Streamlit and Plotly a contrast of 4.5 to 1.
CSS = """
<style>
.stApp { font-variant-numeric: tabular-nums; }
.stMainBlockContainer { padding-top: 1.5rem; padding-bottom: 3rem; max-width: 1500px; }
.stAppHeader { background: transparent; }
[data-testid="stText"] { font-family: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }
.st-key-folder [data-testid="stText"] { font-size: 0.85rem; opacity: 0.75; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: inherit; }
[data-testid="stCaptionContainer"] { opacity: 0.75; }
[data-baseweb="tag"] { background-color: #0072B2 !important; }
[data-testid="stButtonGroup"] [role="radio"][aria-checked="true"], [role="tab"][aria-selected="true"] {
  color: inherit !important;
}
.st-key-preload { display: none; }
.chart.clickable .nsewdrag { cursor: pointer; }
[data-testid="stElementToolbar"] { display: none; } /* it covers the buttons above a table, which offer the same */
@media (max-width: 900px) { /* two lines of filters, so that the chosen order is not cut */
  .st-key-filters [data-testid="stColumn"] { min-width: calc(33% - 1rem); }
}
@media (max-width: 640px) {
  [data-testid="stLayoutWrapper"]:has(> .st-key-best-configurations) { order: 1; }
  .st-key-filters [data-testid="stColumn"], .st-key-numbers [data-testid="stColumn"] { min-width: calc(50% - 1rem); }
  .st-key-page { order: 1; max-width: 100%; } /* the navigation below the title and the camera, which share a line */
  .st-key-remove-marked { position: fixed; z-index: 1; bottom: 1rem; right: 2rem; } /* in sight of each picture */
  .st-key-page button { padding-inline: 0.3rem; } /* so that seven pages fit */
}
[class*="st-key-class-"] [data-testid="stImage"] { gap: 0.25rem; }
[class*="st-key-best"] [data-testid="stText"] { font-size: 1.15rem; font-weight: 600; }
</style>
"""


def main() -> None:
    """Draw the page named in the address."""
    st.set_page_config(TITLE, "📈", layout="wide")
    st.html(CSS)
    folder = Path(os.path.abspath(runs_folder()))
    state.follow_address()
    view = store.read(folder)
    page = _draw_header(view)
    try:
        PAGES[page](view)
    except Exception:  # one record must not take a page away, nor a traceback show paths of this machine
        show_failure(page)
    _watch(view, preload_charts=page == state.RUNS)


def runs_folder() -> str:
    """Return the value of ``--runs``, else ``runs`` in the current folder."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--runs", default=DEFAULT_RUNS)
    return parser.parse_known_args()[0].runs


def show_failure(page: str) -> None:
    """Say on the page that a part of it is missing; write the traceback of the current exception to the terminal."""
    logging.getLogger(__name__).exception("The page %r could not be drawn.", page)
    text = "This page could not be drawn to its end. The terminal in which the dashboard runs shows the reason."
    st.error(text, icon=":material/error:")


def _draw_header(view: View) -> str:
    """Draw title, folder and navigation; return the name of the page to draw."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.container(key="folder", gap=None, width="content"):
            st.markdown(f"**{TITLE}**")
            running = sum(row.status == "running" for row in view.rows)
            st.text(as_text(view.folder.name) + (f" · {running} running" if running else ""))
        st.space("stretch")
        turn = {"on_change": _turn_page, "args": (one_run.first_choice(view),)}
        options = {**state.kept(state.PAGE, state.RUNS, PAGES), **turn, "label_visibility": "collapsed"}
        page = st.segmented_control("Page", list(PAGES), required=True, **options)
        with st.popover("", icon=":material/photo_camera:", help="Saving charts"):
            style.choose_saving()
    return page


def _turn_page(run: str) -> None:
    """Open the page chosen in the navigation; the page of one run opens ``run`` if the address names none."""
    page = st.session_state[state.PAGE]
    state.open_page(page, run if page == state.ONE_RUN and not state.values(state.RUN) else "")


@st.fragment(run_every=parts.REFRESH_SECONDS)
def _watch(view: View, preload_charts: bool) -> None:
    """Redraw the page when a record has been added, changed or deleted, or a run has ended, since ``view``."""
    if store.is_outdated(view):
        st.rerun()
    # A hidden chart, drawn after the page is complete, makes the browser load Plotly before a chart is needed.
    if preload_charts and st.session_state.get("page drawn"):
        with st.container(key="preload"):
            style.preload()
    st.session_state["page drawn"] = True
