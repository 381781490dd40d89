"""The state of the view, kept in the address, so that a view can be shared and the browser's back button works.

Streamlit binds most widgets to the address itself. This module handles the lists of chosen and hidden runs, which
several widgets change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

# The names of the pages in the navigation and in the address.
RUNS, COMPARE, ONE_RUN, STUDY, TRY_IT = "Runs", "Compare", "One run", "Study", "Try it"

# The keys of widgets that several modules use.
PAGE = "page"
FORMAT = "format"
RUN = "run"


def chosen() -> list[str]:
    """Return the names of the runs chosen for comparison, in the order in which they were chosen."""
    return st.query_params.get_all("chosen")


def hidden() -> list[str]:
    """Return the names of the runs hidden from the table."""
    return st.query_params.get_all("hidden")


def choose(names: Iterable[str]) -> None:
    """Choose exactly these runs."""
    _put("chosen", names)


def hide(names: Iterable[str]) -> None:
    """Hide these runs in addition to those already hidden, and remove them from the chosen runs."""
    names = list(names)
    _put("hidden", [*hidden(), *names])
    choose(name for name in chosen() if name not in names)


def show_all() -> None:
    """Show all hidden runs again."""
    _put("hidden", [])


def open_page(page: str, run: str | None = None) -> None:
    """Open a page, optionally for one run. Call it from a callback of a widget, before the widgets are drawn."""
    if run is not None:
        st.session_state[RUN] = run
    st.session_state[PAGE] = page


def choice(place: Any, label: str, values: Sequence[str], key: str, **options: Any) -> str:
    """Draw buttons in a column or in ``st``, of which one is always pressed, at first the first; return its value."""
    return place.segmented_control(
        label, values, default=values[0], required=True, key=key, bind="query-params", **options
    )


def _put(key: str, names: Iterable[str]) -> None:
    names = list(dict.fromkeys(names))
    if names:
        st.query_params[key] = names
    elif key in st.query_params:
        del st.query_params[key]
