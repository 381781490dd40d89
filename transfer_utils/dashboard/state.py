"""The state of the view, kept in the address, so that a link shows the same view and the browser's back button works.

The address is written in one place, ``put``, and each call of it is one step of the browser's history. Streamlit's own
binding of widgets to the address replaces the last step instead, and removes what the current page does not show.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

# The names of the pages in the navigation and in the address.
RUNS, COMPARE, ONE_RUN, MISTAKES, STUDY = "Runs", "Compare", "One run", "Mistakes", "Study"
TRY_IT, TEACH = "Try it", "Teach"

# The parameters of the address that several modules use; each is the key of a widget as well.
PAGE = "page"
RUN = "run"
CHOSEN, HIDDEN = "chosen", "hidden"  # names of runs: those to compare, as they were chosen, and those not in the table

# Entries of the session: the parameters that were read or written, and the values with which the page drew its widgets.
_KNOWN, _DRAWN = "address", "drawn"


def follow_address() -> None:
    """Adopt an address to which the reader went back or forward. Call it before the first widget is drawn.

    Otherwise the session is newer: a click that the browser sent before it knew of the last change has an old address.
    If a widget's message overtakes the run of a step back, Streamlit drops the mark of that step, which then looks like
    such a click: the address stays, and the reader has to go back once more.
    """
    known = st.session_state.setdefault(_KNOWN, {})
    st.session_state[_DRAWN] = {}
    if get_script_run_ctx().is_history_navigation:
        known.clear()
    elif lost := _lost():
        st.query_params.update(lost)


def values(name: str) -> list[str]:
    """Return all values of a parameter of the address."""
    known = st.session_state.setdefault(_KNOWN, {})
    if name not in known:
        known[name] = list(dict.fromkeys(st.query_params.get_all(name)))
    return known[name]


def put(parameters: Mapping[str, str | Iterable[str]]) -> None:
    """Write parameters into the address, all in one step; an empty value removes its parameter.

    Nothing is written by callbacks of widgets that no reader has changed (see ``_are_widgets_old``).
    """
    if _are_widgets_old():
        # A timer that is due between a click and the message of that click sends the click's new value first. With the
        # drawn value put back, that message changes the widget again, and so calls its callback.
        for key, value in st.session_state.get(_DRAWN, {}).items():
            if st.session_state.get(key) != value:
                st.session_state[key] = value
        return
    lists = {
        name: [value] * bool(value) if isinstance(value, str) else list(dict.fromkeys(value))
        for name, value in parameters.items()
    }
    changed = {name: new for name, new in lists.items() if new != values(name)}
    if changed:
        st.session_state[_KNOWN] |= changed
        st.query_params.update(_lost())


def _are_widgets_old() -> bool:
    """Return whether the callbacks of this run are for values that the browser showed before the last change.

    The timer of a fragment and a step back or forward send all widgets as the browser shows them. While a change or an
    earlier step has not reached it, these differ from the session, and their callbacks would undo that change.
    """
    context = get_script_run_ctx()
    # In a step back, the page itself writes into the address only after the callbacks.
    stepped = context.is_history_navigation and not context.has_script_started
    return stepped or bool(context.fragment_ids_this_run)


def _lost() -> dict[str, list[str]]:
    """Return the known parameters that differ from those of the address with which this run began."""
    known = st.session_state[_KNOWN]
    return {name: new for name, new in known.items() if st.query_params.get_all(name) != new}


def kept(key: str, default: Any = "", valid: Container | None = None) -> dict[str, Any]:
    """Return the arguments with which a widget keeps its value in the address, and set it to the value there.

    Args:
        key: of the widget, and the name of the parameter.
        default: the value of the widget without the parameter; a list if it has several.
        valid: the values that the widget offers; others in the address are ignored.
    """
    valid_values = [value for value in values(key) if valid is None or value in valid]
    value = valid_values if isinstance(default, list) else valid_values[-1] if valid_values else default
    if key not in st.session_state or st.session_state[key] != value:  # not always: it undoes what is being typed
        st.session_state[key] = value
    drawn(key, value)
    return {"key": key, "on_change": _keep, "args": (key, default)}


def drawn(key: str, value: Any) -> None:
    """Remember with which value a widget is drawn whose callback writes into the address; ``kept`` does so itself."""
    st.session_state.setdefault(_DRAWN, {})[key] = value


def _keep(key: str, default: Any) -> None:
    value = st.session_state[key]
    put({key: "" if value is None or value == default else value})


def choice(place: Any, label: str, options: Sequence[str], key: str, **more: Any) -> str:
    """Draw buttons in a column or in ``st``, of which one is always pressed, at first the first; return its value."""
    return place.segmented_control(label, options, required=True, **kept(key, options[0], options), **more)


def hide(names: Iterable[str]) -> None:
    """Hide these runs in addition to those already hidden, and remove them from the chosen runs."""
    names = list(names)
    put({HIDDEN: [*values(HIDDEN), *names], CHOSEN: [name for name in values(CHOSEN) if name not in names]})


def open_page(page: str, run: str = "", compare: Iterable[str] = ()) -> None:
    """Open a page, optionally for one run or with other runs to compare. Call it from a callback of a widget."""
    more = {name: value for name, value in ((RUN, run), (CHOSEN, compare)) if value}
    put({PAGE: page if page != RUNS else "", **more})
