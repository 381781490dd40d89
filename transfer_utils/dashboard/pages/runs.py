"""The page "Runs": a table of all runs, the best configuration, and the unreadable files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from transfer_utils.dashboard import state, style
from transfer_utils.dashboard.parts import show_metric, show_progress
from transfer_utils.dashboard.run_tables import SEEDS, as_csv, as_latex, group_frame, grouped, grouping_options, padded
from transfer_utils.dashboard.store import View, newest_first
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.record import STATUSES
from transfer_utils.results.groups import Best, RunGroup, best_configurations, dataset_order
from transfer_utils.results.progress import UNFINISHED, epochs_text, progress
from transfer_utils.results.search import parse_search
from transfer_utils.results.table import STOPPED, Row
from transfer_utils.utils.files import why_no_folder
from transfer_utils.utils.text import MISSING, as_text, counted

FIRST_COMMAND = "transfer-utils compare --preset offline"
ORDERS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "validation accuracy": lambda rows: sorted(
        rows, key=lambda row: (row.status != "running", *dataset_order(row.dataset), -_or_zero(row, "val"))
    ),
    "test accuracy": lambda rows: sorted(rows, key=lambda row: -_or_zero(row, "test")),
    "newest": newest_first,
    "seconds": lambda rows: sorted(rows, key=lambda row: (row.seconds is None, row.seconds)),
    "name": lambda rows: sorted(rows, key=lambda row: row.name),
}
SIGNS = {"running": "◔", "completed": "●", "failed": "✕", "diverged": "▲", "interrupted": "‖", STOPPED: "◌"}
ALL_STATUSES = (*STATUSES, STOPPED)
MAX_ROWS_IN_FULL, LONG_TABLE_PIXELS = 16, 560
MAX_BEST = 3


def draw(view: View) -> None:
    """Draw the page."""
    if not view.rows:
        _show_first_steps(view)
        _list_unreadable(view)
        return
    if running := [row for row in view.rows if row.status == "running"]:
        show_progress(running)
    hidden = set(state.values(state.HIDDEN))
    shown = [row for row in view.rows if row.name not in hidden]
    best = view.cached(("best", frozenset(hidden)), lambda: best_configurations(shown))
    with st.container(key="best configurations"):  # on a narrow page, its style puts it below the table
        for place, configuration in enumerate(best[:MAX_BEST]):
            with st.container(border=True, key=f"best {place}"):
                _describe_best(configuration, place, name_dataset=len(best) > 1)
    listed, by = _filter(shown)
    groups = grouped(listed, by) if by else None
    _draw_actions(view, listed, groups)
    _show_table(listed, groups)
    _list_unreadable(view)


def _show_first_steps(view: View) -> None:
    if problem := why_no_folder(view.folder):
        st.warning(f"The folder of the runs {problem}:", icon=":material/folder_off:")
        st.text(as_text(view.folder.name))
    with st.container(border=True):
        st.subheader("No runs here yet")
        st.markdown("Every run writes a record to this folder and appears on this page from its start. To begin, run:")
        st.code(FIRST_COMMAND, language=None)
        another = "To show another folder, start `transfer-utils dashboard --runs FOLDER`."
        st.caption(f"It needs no download and takes a few minutes. {another}")


def _describe_best(best: Best, place: int, name_dataset: bool) -> None:
    description, validation, test, opening = st.columns([3.5, 1, 1, 1], vertical_alignment="center")
    with description:
        st.caption("Best configuration")
        dataset = "Data not recorded" if best.dataset == MISSING else best.dataset
        st.text(f"{dataset}: {best.options}" if name_dataset else best.options)
        st.caption(best.why)
    group = best.group
    for column, label, metric in ((validation, "Validation", "val_end2end"), (test, "Test", "test_end2end")):
        deviation = group.deviation(metric)
        spread = group.size if deviation is None else f"± {100 * deviation:.1f}, {group.size}"
        show_metric(column, label, percent(group.mean(metric)), spread + group.part(metric))
    names = [row.name for row in group.rows]
    label, hint = ("See run", "Open it") if len(names) == 1 else ("See runs", f"Compare its {group.size}")
    opening.button(label, key=f"open best {place}", on_click=_open_best, args=(names,), help=hint)


def _open_best(names: list[str]) -> None:
    page, run = (state.ONE_RUN, names[0]) if len(names) == 1 else (state.COMPARE, "")
    state.open_page(page, run, compare=names)


def _filter(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Draw the filters; return the rows that pass, in the chosen order, and the options by which to group them."""
    search, status, dataset, order, group = st.container(key="filters").columns([3, 2, 2, 2, 2])
    text = search.text_input(
        "Search",
        placeholder="name, or val>0.8 seed=0",
        icon=":material/search:",
        help="Words of the name, the network, the data or an option, and conditions on columns or options; a run must "
        "meet all of them: `baseline`, `n_unfreeze=30`, `labels=all`, `augmented=yes`, `val>0.8`, `seconds<300`.",
        **state.kept("search"),
    )
    statuses = status.multiselect("Status", ALL_STATUSES, placeholder="any", **state.kept("status", [], ALL_STATUSES))
    names = sorted({row.dataset for row in rows})
    datasets = dataset.multiselect("Data", names, placeholder="any", **state.kept("data", [], names))
    query = parse_search(text or "")
    for problem in query.unknown(rows):
        st.text(problem)
    matching = [
        row
        for row in rows
        if (not statuses or row.status in statuses) and (not datasets or row.dataset in datasets) and query.matches(row)
    ]
    options = grouping_options(matching)
    grouping = group.multiselect("One row for each", options, placeholder="run", **state.kept("rows", [], options))
    by_option = bool(grouping) and SEEDS not in grouping  # groups stand in the options' order
    by = order.selectbox("Sort by", list(ORDERS), disabled=by_option, **state.kept("sort", next(iter(ORDERS)), ORDERS))
    return ORDERS[by](matching), grouping


def _or_zero(row: Row, split: str) -> float:
    return row.metric(f"{split}_end2end") or 0.0


def _draw_actions(view: View, listed: list[Row], groups: list[RunGroup] | None) -> None:
    chosen, hidden = view.named(state.values(state.CHOSEN)), state.values(state.HIDDEN)
    names = [row.name for row in chosen]
    hint = "Select runs in the table first" if not chosen else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(f"{len(listed)} of {len(view.rows)} runs" + (f", {len(chosen)} chosen" if chosen else ""))
        st.space("stretch")
        st.button(
            "Compare", icon=":material/stacked_line_chart:", type="primary", disabled=not chosen,
            on_click=state.open_page, args=(state.COMPARE,), help=hint,
        )  # fmt: skip
        st.button(
            "Open", icon=":material/open_in_full:", disabled=len(chosen) != 1,
            on_click=state.open_page, args=(state.ONE_RUN, *names[:1]),
        )  # fmt: skip
        st.button(
            "Hide", icon=":material/visibility_off:", disabled=not chosen, on_click=state.hide, args=(names,),
        )  # fmt: skip
        if hidden:
            show = {"on_click": state.put, "args": ({state.HIDDEN: []},)}
            st.button(f"Show {len(hidden)} hidden", icon=":material/visibility:", **show)
        st.download_button(
            "CSV", lambda: as_csv(chosen or listed), "runs.csv", "text/csv", icon=":material/download:",
            on_click="ignore", help="The chosen runs, or all listed runs if none is chosen",
        )  # fmt: skip
        st.download_button(
            "LaTeX", lambda: _latex(listed, names, groups), "runs.tex", "text/x-tex", icon=":material/table:",
            on_click="ignore", help="The chosen rows of the table, or all of them if none is chosen",
        )  # fmt: skip


def _latex(listed: list[Row], chosen: list[str], groups: list[RunGroup] | None) -> bytes:
    """Return the rows of the table that are chosen, or all, as LaTeX."""
    if groups is None:
        rows = [row for row in listed if row.name in chosen] or listed
        return as_latex(frame(rows)[[*LATEX_COLUMNS]])
    kept = [group for group in groups if {row.name for row in group.rows} <= set(chosen)]
    return as_latex(group_frame(kept or groups))


def _show_table(rows: list[Row], groups: list[RunGroup] | None) -> None:
    """Draw the table of runs, or of groups of them; choosing a group chooses its runs."""
    if not rows:
        st.info("No run matches these filters.", icon=":material/filter_alt_off:")
        return
    members = [[row.name] for row in rows] if groups is None else [[row.name for row in g.rows] for g in groups]
    chosen = set(state.values(state.CHOSEN))
    # The browser reports selected rows by position, so another set or order of rows needs another key.
    key = f"table {hash(str(members))}"
    selected = [place for place, names in enumerate(members) if chosen.issuperset(names)]
    if key not in st.session_state or set(st.session_state[key]["selection"]["rows"]) != set(selected):
        st.session_state[key] = {"selection": {"rows": selected, "columns": [], "cells": []}}
    state.drawn(key, st.session_state[key])

    def choose_selected() -> None:
        selected = [name for place in st.session_state[key]["selection"]["rows"] for name in members[place]]
        listed = {name for names in members for name in names}
        others = (name for name in state.values(state.CHOSEN) if name not in listed or name in selected)
        state.put({state.CHOSEN: [*others, *selected]})

    table, settings = _run_columns(rows) if groups is None else (group_frame(groups), GROUP_COLUMNS)
    st.dataframe(
        table,
        key=key,
        height="content" if len(members) <= MAX_ROWS_IN_FULL else LONG_TABLE_PIXELS,
        hide_index=True,
        column_order=list(dict.fromkeys(name for name in (*FIRST_COLUMNS, *table) if name in table)),
        column_config=settings,
        placeholder="",
        on_select=choose_selected,
        selection_mode="multi-row",
        alt="Table of runs",
    )


def _run_columns(rows: list[Row]) -> tuple[pd.DataFrame, dict]:
    """Return the table of runs and how its columns are drawn."""
    table = frame(rows)
    accuracies = [accuracy for curve in table["Curve"] for accuracy in curve]
    lowest, highest = min(accuracies, default=0.0), max(accuracies, default=1.0)
    margin = max((highest - lowest) / 4, 0.01)  # so that no curve touches the edge of its cell
    curve = st.column_config.LineChartColumn(
        width=60,
        y_min=max(lowest - margin, 0.01),  # a range that holds 0 is drawn with an axis
        y_max=highest + margin,
        color=style.colour(0),
        help="Validation accuracy, epoch by epoch, on the same scale for all runs",
    )
    return table, COLUMNS | {"Curve": curve}


LATEX_COLUMNS = ("Run", "Network", "Unfrozen", "Augmented", "Labels", "Seed", "Validation", "Test", "Seconds")
GROUP_COLUMNS = {
    "Group": st.column_config.TextColumn(width=320),
    "Validation": st.column_config.TextColumn(help="Mean final accuracy ± one standard deviation over the runs"),
    "Test": st.column_config.TextColumn(help="Mean final accuracy ± one standard deviation over the runs"),
    "Time": st.column_config.TextColumn(help="Mean over the completed runs"),
}
FIRST_COLUMNS = ("Group", "Run", "Validation", "Curve", "Status")  # a narrow page shows two of them
COLUMNS = {
    "Run": st.column_config.TextColumn(width=160),  # not pinned: Streamlit makes the text of a pinned column pale
    "Epochs": st.column_config.TextColumn(help="Epochs recorded, and planned where the run has not trained them all"),
    "Validation": st.column_config.TextColumn(
        help="Final accuracy on the validation split, with its 95 % interval; the last one of an unfinished run"
    ),
    "Test": st.column_config.TextColumn(help="Final accuracy on the test split, with its 95 % interval"),
    "Unfrozen": st.column_config.TextColumn(help="Layers of the backbone that stage 2 trained"),
    "Labels": st.column_config.TextColumn(help="Labelled training images per class"),
    "Seconds": st.column_config.NumberColumn(format="%,d", help="Total seconds of all phases"),
}


def frame(rows: list[Row]) -> pd.DataFrame:
    """Return the table of runs."""
    return pd.DataFrame(
        {
            "Run": [row.name for row in rows],
            "Status": [f"{SIGNS[row.status]} {row.status}" for row in rows],
            "Epochs": [epochs_text(row) for row in rows],
            "Validation": [padded(_validation(row)) for row in rows],
            "Curve": [_sparkline(row) for row in rows],
            "Test": [padded(row.accuracy("test")) for row in rows],
            "Preset": [as_text(row.config.get("preset"), 40) for row in rows],
            "Network": [row.network for row in rows],
            "Unfrozen": [row.unfrozen for row in rows],
            "Augmented": [row.augmentation for row in rows],
            "Labels": [row.labels for row in rows],
            "Seed": [as_text(row.config.get("seed"), 20) for row in rows],
            "Seconds": pd.array([row.seconds and round(row.seconds) for row in rows], dtype="Float64"),
            "Date (UTC)": [row.created for row in rows],
            "Data": [row.dataset for row in rows],
        }
    )


def _validation(row: Row) -> str:
    """Return the final accuracy, or the last one of an unfinished run, marked as such."""
    if row.status not in UNFINISHED or row.metric("val_end2end") is not None:
        return row.accuracy("val")
    last = progress(row).val_accuracy
    return MISSING if last is None else f"{percent(last)} so far"


def _sparkline(row: Row) -> list[float]:
    curve = style.possible(row.history.values["val_accuracy"], accuracy=True)
    return np.round(curve[np.isfinite(curve)][-100:], 4).tolist()


def _list_unreadable(view: View) -> None:
    """List the files that could not be read, and those of which a part could not."""
    damaged = {row.run.path: "; ".join(row.record.left_out) for row in view.rows if row.record.left_out}
    titles = {"could not be read": view.unreadable, "could be read only in part": damaged}
    for title, reasons in titles.items():
        if not reasons:
            continue
        files = [
            {"File": as_text(path.relative_to(view.folder).as_posix()), "Reason": as_text(reason)}
            for path, reason in reasons.items()
        ]
        with st.expander(f"{counted(len(reasons), 'file')} {title}", icon=":material/warning:", expanded=not view.rows):
            st.dataframe(pd.DataFrame(files), key=title, hide_index=True)
