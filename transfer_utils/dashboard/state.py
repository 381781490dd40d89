"""What the reader chose, kept in the address, so that a view can be shared and the browser's back button works.

Single choices are widgets that Streamlit binds to the address itself. The lists of chosen and hidden runs are kept
here, because no one widget stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

# The pages by the names that stand in the navigation and in the address.
RUNS, COMPARE, ONE_RUN, STUDY, TRY_IT = "Runs", "Compare", "One run", "Study", "Try it"

# The keys of widgets that more than one module speaks of.
PAGE = "page"
FORMAT = "format"
RUN = "run"


def chosen() -> list[str]:
    """Return the names of the runs that were chosen for comparison, in the order of choosing."""
    return st.query_params.get_all("chosen")


def hidden() -> list[str]:
    """Return the names of the runs that were hidden from the table."""
    return st.query_params.get_all("hidden")


def choose(names: Iterable[str]) -> None:
    """Choose exactly these runs."""
    _put("chosen", names)


def hide(names: Iterable[str]) -> None:
    """Hide these runs besides those already hidden; they are no longer chosen."""
    names = list(names)
    _put("hidden", [*hidden(), *names])
    choose(name for name in chosen() if name not in names)


def show_all() -> None:
    """Bring all hidden runs back."""
    _put("hidden", [])


def open_page(page: str, run: str | None = None) -> None:
    """Go to a page, for one run if need be. To be called from a widget's callback, before the widgets are drawn."""
    if run is not None:
        st.session_state[RUN] = run
    st.session_state[PAGE] = page


def _put(key: str, names: Iterable[str]) -> None:
    names = list(dict.fromkeys(names))
    if names:
        st.query_params[key] = names
    elif key in st.query_params:
        del st.query_params[key]
