"""The page "One run": its curves, its results on the test split, its options, its command and its files."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from transfer_utils.dashboard import curve_charts, result_charts, state, style
from transfer_utils.dashboard.curve_charts import Line
from transfer_utils.dashboard.parts import interval_note, show_block, show_metric, show_progress
from transfer_utils.dashboard.store import View
from transfer_utils.evaluation.percent import percent
from transfer_utils.results.formatting import duration
from transfer_utils.results.progress import UNFINISHED, progress, repeat_command, resume_command
from transfer_utils.results.table import STOPPED, Row
from transfer_utils.utils.text import MISSING, as_text, finite_number, format_bytes

STATUS_COLOURS = {"running": "blue", "completed": "green", "failed": "red", "diverged": "orange", "interrupted": "gray"}
STATUS_COLOURS[STOPPED] = "red"
MAX_LISTED_FILES, MAX_NOTES, LONG_TABLE_PIXELS = 200, 20, 700


def draw(view: View) -> None:
    """Draw the page."""
    row = choose_run(view, [row.name for row in view.rows], first_choice(view))
    if not row:
        return
    _draw_summary(row)
    parts = {"Curves": _draw_curves, "Test split": _draw_results, "Options": _draw_options, "Files": _draw_files}
    tabs = st.tabs(list(parts), **state.kept("part", "Curves", parts))
    for tab, draw_part in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab:
                draw_part(row)


def choose_run(view: View, names: list[str], first: str) -> Row | None:
    """Draw the choice of a run by name, and return it; None if the address names one that is not in the folder.

    Args:
        names: of the runs to choose from; empty if the folder has none.
        first: the run to show if the address names none.
    """
    if not names:
        st.info("There is no run in this folder yet.", icon=":material/inbox:")
        return None
    if not state.values(state.RUN):
        state.put({state.RUN: first})  # so that a link to this page shows this run
    kept = state.kept(state.RUN, None, names)
    index = None if st.session_state[state.RUN] is None else 0  # with 0, Streamlit offers no button to choose no run
    name = st.selectbox("Run", names, index, placeholder="choose a run", label_visibility="collapsed", **kept)
    if name is None:
        st.warning("There is no such run in this folder:", icon=":material/search_off:")
        st.text(as_text(state.values(state.RUN)[-1]))
        return None
    return view.named([name])[0]


def first_choice(view: View) -> str:
    """Return the name of the run to open if none is named: the first chosen one, else the first of the folder."""
    rows = view.named(state.values(state.CHOSEN)) or view.rows
    return rows[0].name if rows else ""


def _draw_summary(row: Row) -> None:
    record = row.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(row.status, color=STATUS_COLOURS[row.status])
        created = MISSING if row.created == MISSING else f"{row.created} UTC"
        st.text(" · ".join(text for text in (row.network, row.dataset, created) if text != MISSING))
    if record.error:
        show_block(record.error, lines=True)
    if row.status in UNFINISHED:
        show_progress([row], names=False)
    validation, test, time_column, size_column = st.container(key="numbers").columns(4)
    for column, label, split in ((validation, "Validation accuracy", "val"), (test, "Test accuracy", "test")):
        accuracy, low, high = record.bounded(f"{split}_end2end")
        note = interval_note(low, high) if low is not None and high is not None else None
        if split == "val" and accuracy is None and row.status in UNFINISHED:
            accuracy = progress(row).val_accuracy
            note = None if accuracy is None else "of the last epoch"
        show_metric(column, label, percent(accuracy), note)
    time_column.metric("Time", duration(row.seconds))
    parameters = finite_number(record.network.get("parameters"))
    size_column.metric("Parameters", MISSING if parameters is None else f"{parameters:,.0f}")
    _draw_command(row)
    lost = record.left_out
    if lost:
        st.warning("Parts of this record are damaged and left out:", icon=":material/warning:")
        st.text("\n".join(as_text(part) for part in lost[:MAX_NOTES]))


def _draw_command(row: Row) -> None:
    """Draw the command that resumes the run or, if it has ended, the one that repeats it."""
    if row.status == STOPPED:
        st.warning(
            "Stopped unexpectedly: the record says that the run is running, but no process works on it any more. "
            "It was killed, or the machine was switched off.",
            icon=":material/report:",
        )
    resume = resume_command(row)
    command = resume or repeat_command(row.record)
    if resume and row.status != "running":
        st.caption("This command resumes it; no finished epoch is lost:")
    if command:
        show_block(command)


def _draw_curves(row: Row) -> None:
    if not len(row.history.epochs):
        st.caption("This run has no recorded curves.")
        return
    line = Line(row.name, row.history)
    style.show_chart(curve_charts.curves([line]), f"{row.name}-curves", "Accuracy and loss, epoch by epoch")
    if row.history.has("learning_rate"):
        style.show_chart(curve_charts.learning_rate(line), f"{row.name}-learning-rate", "Learning rate, epoch by epoch")


def _draw_results(row: Row) -> None:
    counts = result_charts.confusion_counts(row.record)
    by_class = result_charts.by_class(row.record)
    reliability = result_charts.reliability(row.record.calibration)
    if counts is None and by_class is None and reliability is None:
        st.caption("This run has no recorded results on the test split.")
        return
    left, right = st.columns(2, gap="medium")
    if counts is not None:
        with left:
            st.subheader("Confusion matrix")
            cells = state.choice(st, "Cells", ["counts", "share of the row"], "cells", label_visibility="collapsed")
            names = result_charts.class_labels(row.record, len(counts))
            figure = result_charts.confusion(counts, names, normalised=cells != "counts")
            style.show_chart(figure, f"{row.name}-confusion", "Confusion matrix: rows true, columns predicted")
    with right:
        if by_class is not None:
            st.subheader("Precision and recall")
            style.show_chart(by_class, f"{row.name}-classes", "Precision and recall of each class")
        if reliability is not None:
            st.subheader("Reliability")
            st.caption(f"Expected calibration error {percent(row.record.calibration.get('ece'))}")
            style.show_chart(reliability, f"{row.name}-reliability", "Accuracy against confidence")


def _draw_options(row: Row) -> None:
    record = row.record
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Options")
        _show_pairs("option", row.config, height=LONG_TABLE_PIXELS)
    with right:
        st.subheader("Numbers")
        _show_pairs("metric", record.metrics)
        for heading, pairs in (("not sure", record.not_sure), ("cross-validation", record.cross_validation)):
            if pairs:
                _show_pairs(heading, pairs)
        _show_pairs("phase", {name: duration(seconds) for name, seconds in record.timing_sec.items()})
        st.subheader("Provenance")
        parts = ("dataset", "weights", "network", "machine", "versions")
        _show_pairs("part", {f"{part}: {name}": text for part in parts for name, text in getattr(record, part).items()})
    if record.notes:
        st.subheader("Notes")
        st.text("\n".join(as_text(note, 1000) for note in record.notes[:MAX_NOTES]))


def _show_pairs(heading: str, pairs: dict, height: int | str = "auto") -> None:
    if not pairs:
        st.caption(f"No {heading} recorded.")
        return
    table = {heading: [as_text(name) for name in pairs], "value": [as_text(value) for value in pairs.values()]}
    st.dataframe(pd.DataFrame(table), key=f"pairs {heading}", height=height, hide_index=True)


def _draw_files(row: Row) -> None:
    st.caption("The files in the folder of this run. Links are not followed.")
    st.dataframe(pd.DataFrame(list_files(row)), hide_index=True, key="files")


def list_files(row: Row) -> list[dict[str, str]]:
    """Return name, size and modification time of the files in the folder of a run, without opening any file."""
    path = row.run.path
    paths = sorted(path.parent.iterdir())[:MAX_LISTED_FILES] if row.run.has_folder else [path]
    return [{"File": as_text(path.name), **_file_status(path)} for path in paths]


def _file_status(path: Path) -> dict[str, str]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return {"Size": "deleted", "Changed (UTC)": MISSING}
    kind = "link" if stat.S_ISLNK(status.st_mode) else "folder" if stat.S_ISDIR(status.st_mode) else ""
    changed = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.st_mtime))
    return {"Size": kind or format_bytes(status.st_size), "Changed (UTC)": changed}
