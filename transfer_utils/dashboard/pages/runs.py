"""The page "Runs": every run in one table, the best configuration, and the files that could not be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from transfer_utils.dashboard import state, style
from transfer_utils.dashboard.store import View
from transfer_utils.records import STATUSES
from transfer_utils.results.formatting import percent
from transfer_utils.results.groups import Best, RunGroup, best_configurations
from transfer_utils.results.table import Row
from transfer_utils.utils.text import MISSING, as_text, finite_number

FIRST_COMMAND = "transfer-utils compare --preset offline"
ORDERS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "validation accuracy": lambda rows: sorted(rows, key=lambda row: (row.status != "running", -_or_zero(row, "val"))),
    "test accuracy": lambda rows: sorted(rows, key=lambda row: -_or_zero(row, "test")),
    # Runs are numbered as they begin, and the clock may have been set back since.
    "newest": lambda rows: sorted(rows, key=lambda row: row.record.run_id, reverse=True),
    "seconds": lambda rows: sorted(rows, key=lambda row: (row.seconds is None, row.seconds)),
    "name": lambda rows: sorted(rows, key=lambda row: row.name),
}
SIGNS = {"running": "◔", "completed": "●", "failed": "✕", "diverged": "▲", "interrupted": "‖"}
MOST_ROWS_SEEN, PIXELS_OF_LONG_TABLE = 16, 560
MOST_BEST = 3


def draw(view: View) -> None:
    """Draw the page."""
    if not view.rows:
        _say_what_to_run_first(view)
        _list_unreadable(view)
        return
    hidden = set(state.hidden())
    shown = [row for row in view.rows if row.name not in hidden]
    _show_best(shown)
    found = _filtered(shown)
    _offer_actions(view, found)
    _show_table(found)
    _list_unreadable(view)


def _say_what_to_run_first(view: View) -> None:
    with st.container(border=True):
        st.subheader("No runs here yet")
        st.markdown("Every run leaves a record in this folder and appears on this page while it goes on. Start with:")
        st.code(FIRST_COMMAND, language=None)
        st.caption("It needs no download and takes a few minutes. Another folder of records: add `--runs FOLDER`.")


def _show_best(rows: list[Row]) -> None:
    found = best_configurations(rows)
    for place, best in enumerate(found[:MOST_BEST]):
        with st.container(border=True, key=f"best {place}"):
            _describe_best(best, several=len(found) > 1)


def _describe_best(best: Best, several: bool) -> None:
    words, validation, test = st.columns([4, 1, 1], vertical_alignment="center")
    with words:
        st.caption("Best configuration")
        data = "Data not recorded" if best.dataset == MISSING else best.dataset
        st.text(f"{data}: {best.options}" if several else best.options)
        st.caption(best.why)
    for place, label, split in ((validation, "Validation", "val"), (test, "Test", "test")):
        _show_mean(place, label, best.group, f"{split}_end2end")


def _show_mean(place: st.delta_generator.DeltaGenerator, label: str, group: RunGroup, metric: str) -> None:
    deviation = group.deviation(metric)
    spread = group.size if deviation is None else f"± {100 * deviation:.1f}, {group.size}"
    place.metric(label, percent(group.mean(metric)), spread, delta_color="off", delta_arrow="off")


def _filtered(rows: list[Row]) -> list[Row]:
    """Draw the filters and return the rows that pass, in the chosen order."""
    search, status, dataset, order = st.columns([3, 2, 2, 2])
    wanted = search.text_input(
        "Search", key="search", bind="query-params", placeholder="name or option=value", icon=":material/search:"
    )
    statuses = status.multiselect("Status", STATUSES, key="status", bind="query-params", placeholder="any")
    datasets = dataset.multiselect(
        "Data", sorted({row.dataset for row in rows}), key="data", bind="query-params", placeholder="any"
    )
    by = order.selectbox("Sort by", list(ORDERS), key="sort", bind="query-params")
    words = (wanted or "").lower().split()
    found = [
        row
        for row in rows
        if (not statuses or row.status in statuses)
        and (not datasets or row.dataset in datasets)
        and all(word in row.words for word in words)
    ]
    return ORDERS[by](found)


def _or_zero(row: Row, split: str) -> float:
    return row.metric(f"{split}_end2end") or 0.0


def _offer_actions(view: View, found: list[Row]) -> None:
    chosen, hidden = view.named(state.chosen()), state.hidden()
    names = [row.name for row in chosen]
    none = "Tick runs in the table first" if not chosen else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(f"{len(found)} of {len(view.rows)} runs" + (f", {len(chosen)} chosen" if chosen else ""))
        st.space("stretch")
        st.button(
            "Compare", icon=":material/stacked_line_chart:", type="primary", disabled=not chosen,
            on_click=state.open_page, args=(state.COMPARE,), help=none,
        )  # fmt: skip
        st.button(
            "Open", icon=":material/open_in_full:", disabled=len(chosen) != 1,
            on_click=state.open_page, args=(state.ONE_RUN, *names[:1]),
        )  # fmt: skip
        st.button(
            "Hide", icon=":material/visibility_off:", disabled=not chosen, on_click=state.hide, args=(names,),
        )  # fmt: skip
        if hidden:
            st.button(f"Show {len(hidden)} hidden", icon=":material/visibility:", on_click=state.show_all)
        st.download_button(
            "CSV", lambda: as_csv(chosen or found), "runs.csv", "text/csv", icon=":material/download:",
            on_click="ignore", help="The chosen runs, or all that are listed when none is chosen",
        )  # fmt: skip


def _show_table(rows: list[Row]) -> None:
    if not rows:
        st.info("No run passes these filters.", icon=":material/filter_alt_off:")
        return
    names = [row.name for row in rows]
    chosen = set(state.chosen())
    # The browser reports the places of the ticked rows: another set or order of rows is another table.
    key = f"table {hash(tuple(names))}"

    def keep() -> None:
        ticked = [names[place] for place in st.session_state[key].selection.rows]
        state.choose([*(name for name in state.chosen() if name not in names or name in ticked), *ticked])

    st.dataframe(
        frame(rows),
        key=key,
        height="content" if len(rows) <= MOST_ROWS_SEEN else PIXELS_OF_LONG_TABLE,
        hide_index=True,
        column_config=COLUMNS | {"Curve": _curve_column(rows)},
        placeholder="",
        on_select=keep,
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [place for place, name in enumerate(names) if name in chosen]}},
        alt="Table of runs",
    )


COLUMNS = {
    "Run": st.column_config.TextColumn(pinned=True, width=160),
    "Validation": st.column_config.TextColumn(help="Final accuracy on the validation split, with its 95 % interval"),
    "Test": st.column_config.TextColumn(help="Final accuracy on the test split, with its 95 % interval"),
    "Unfrozen": st.column_config.TextColumn(help="Layers of the backbone that stage 2 trained"),
    "Labels": st.column_config.TextColumn(help="Labelled training images per class"),
    "Seconds": st.column_config.NumberColumn(format="%,d", help="Seconds, all phases together"),
}


def frame(rows: list[Row]) -> pd.DataFrame:
    """Return the table of runs, ready to show."""
    return pd.DataFrame(
        {
            "Run": [row.name for row in rows],
            "Status": [f"{SIGNS[row.status]} {row.status}" for row in rows],
            "Validation": [_padded(row.accuracy("val")) for row in rows],
            "Curve": [_sparkline(row) for row in rows],
            "Test": [_padded(row.accuracy("test")) for row in rows],
            "Preset": [as_text(row.config.get("preset"), 40) for row in rows],
            "Network": [row.network for row in rows],
            "Unfrozen": [row.unfrozen for row in rows],
            "Augmented": [row.augmentation for row in rows],
            "Labels": [row.labels for row in rows],
            "Seed": [as_text(row.config.get("seed"), 20) for row in rows],
            "Seconds": pd.array([row.seconds and round(row.seconds) for row in rows], dtype="Float64"),
            "Date": [row.created for row in rows],
            "Data": [row.dataset for row in rows],
        }
    )


def as_csv(rows: list[Row]) -> bytes:
    """Return the rows with every metric and option as CSV that a spreadsheet opens (UTF-8 with a byte-order mark)."""
    lines = [
        {
            "run": row.name,
            "status": row.status,
            "created": row.created,
            "seconds": row.seconds,
            **{f"metrics.{as_text(name)}": value for name, value in row.record.metrics.items()},
            **{f"config.{name}": value for name, value in row.config.items()},
        }
        for row in rows
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return file.getvalue().encode("utf-8-sig")


def _cell(value: object) -> object:
    if isinstance(value, bool) or finite_number(value) is not None:
        return value
    words = "" if value is None else as_text(value)
    # A spreadsheet runs a text that begins like a formula.
    return f"'{words}" if words.startswith(("=", "+", "-", "@")) else words


def _padded(words: str) -> str:
    # Text sorts by its letters: blanks in front of 9.8 % put it below 84.4 %, and that below 100.0 %.
    return "" if words == MISSING else " " * (3 - len(words.split(".")[0])) + words


def _curve_column(rows: list[Row]) -> dict:
    """Give all the small curves one scale, from the lowest to the highest accuracy among them."""
    values = [value for row in rows for value in _sparkline(row)]
    return st.column_config.LineChartColumn(
        width=60,
        y_min=min(values, default=0.0),
        y_max=max(values, default=1.0),
        color=style.colour(0),
        help="Validation accuracy, epoch by epoch, all on one scale",
    )


def _sparkline(row: Row) -> list[float]:
    curve = row.history.values["val_accuracy"]
    return np.round(curve[np.isfinite(curve)][-100:], 4).tolist()


def _list_unreadable(view: View) -> None:
    unreadable = view.unreadable
    if not unreadable:
        return
    some = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
    with st.expander(f"{some} could not be read", icon=":material/warning:", expanded=not view.rows):
        st.dataframe(
            pd.DataFrame(
                {
                    "File": [as_text(path.relative_to(view.folder).as_posix()) for path in unreadable],
                    "Reason": [as_text(reason) for reason in unreadable.values()],
                }
            ),
            hide_index=True,
        )
