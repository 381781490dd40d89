"""The page "Compare": the chosen runs side by side, one line per run or per group of runs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from transfer_utils.dashboard import curve_charts, option_charts, state, style
from transfer_utils.dashboard.curve_charts import Line
from transfer_utils.dashboard.run_tables import grouped, grouping_options
from transfer_utils.dashboard.store import View
from transfer_utils.results.curves import mean_history
from transfer_utils.results.groups import RunGroup
from transfer_utils.results.paired import paired_verdict
from transfer_utils.results.table import Row, differing
from transfer_utils.results.timing import timed_alike
from transfer_utils.utils.text import MISSING

MAX_IN_VIEW = 4  # runs in the table of options that a wide page shows without scrolling


def draw(view: View) -> None:
    """Draw the page."""
    names = [row.name for row in view.rows]
    rows = view.named(st.multiselect("Runs", names, placeholder="choose runs", **state.kept(state.CHOSEN, [], names)))
    if not rows:
        st.info("Choose runs here, or select them on the page “Runs”.", icon=":material/checklist:")
        return
    groups, against = _group(rows)
    groups = _best_lines(groups)
    _draw_curves(groups, against)
    _draw_verdict(groups)
    _draw_differences(rows)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Accuracy")
        figure = option_charts.results(groups)
        alt, missing = "Validation and test accuracy of the chosen runs", "None of these runs has finished."
        style.show_chart(figure, "compare-accuracy", alt, missing)
        if figure is not None:
            st.caption(option_charts.BARS)
    with right:
        st.subheader("Accuracy against time")
        alt = "Validation accuracy against the time each run took"
        missing = "None of these runs has both a validation accuracy and a time."
        style.show_chart(option_charts.against_time(groups), "compare-time", alt, missing)
    _draw_parallel(rows)


def _group(rows: list[Row]) -> tuple[list[RunGroup], str]:
    """Draw the controls; return the runs of each line, and ``epoch`` or ``time``."""
    options = grouping_options(rows)
    left, right = st.columns([1, 1])
    by = left.multiselect("One line for each", options, placeholder="run", **state.kept("group", [], options))
    against = state.choice(right, "Against", ["epoch", "time"], "against")
    return grouped(rows, by) if by else [RunGroup(row.name, [row]) for row in rows], against


def _best_lines(groups: list[RunGroup]) -> list[RunGroup]:
    """Return the groups that the charts show, and say which if these are not all."""
    if len(groups) <= style.MAX_LINES:
        return groups
    hint = "" if any(len(group.rows) > 1 for group in groups) else " Group the runs to see them all."
    st.info(
        f"The charts show {style.MAX_LINES} of {len(groups)} lines: those with the highest validation accuracy.{hint}"
    )
    places = sorted(range(len(groups)), key=lambda place: -(groups[place].mean("val_end2end") or 0))
    return [groups[place] for place in sorted(places[: style.MAX_LINES])]


def _draw_curves(groups: list[RunGroup], against: str) -> None:
    lines = []
    for place, group in enumerate(groups):
        records = timed_alike(group.records) if against == "time" else group.records
        drawn = RunGroup(group.name, [row for row in group.rows if any(row.record is record for record in records)])
        title = f"{drawn.name} ({drawn.size})" if len(drawn.rows) > 1 else drawn.name
        lines.append(Line(title, mean_history(records), place))
    lines = [line for line in lines if len(line.history.epochs)]
    if not lines:
        st.info("None of these runs has recorded curves.", icon=":material/timeline:")
        return
    alt = "Accuracy and loss of the chosen runs, epoch by epoch"
    style.show_chart(curve_charts.curves(lines, against), "compare-curves", alt, revision=against)
    if any(len(group.rows) > 1 for group in groups):
        st.caption(
            "Lines: means over the epochs of each stage that all runs of a group reached. "
            "Bands: ± one standard deviation over the runs."
        )
    if against == "time":
        st.subheader("Where the time went")
        alt, missing = "Seconds of each phase of the runs", "None of these runs has recorded times."
        style.show_chart(option_charts.phases(groups), "compare-phases", alt, missing)


def _draw_verdict(groups: list[RunGroup]) -> None:
    """Let the reader choose two of the lines, and say whether one is better on the test images."""
    if len(groups) < 2:
        return
    st.subheader("Is one better than the other?")
    by_name = {group.name: group for group in groups}
    names = list(by_name)
    left, right = st.columns(2, gap="medium")
    first = left.selectbox("First", names, **state.kept("first", names[0], names))
    others = [name for name in names if name != first]
    second = right.selectbox("Second", others, **state.kept("second", others[0], others))
    verdict = paired_verdict(by_name[first], by_name[second])
    st.text(verdict.text)
    if verdict.basis:
        st.text(verdict.basis)  # no caption, which would read the names in it as Markdown
        st.caption("Choose by validation accuracy; the test images only confirm a choice.")


def _draw_differences(rows: list[Row]) -> None:
    st.subheader("Options that differ")
    options = differing(rows)
    if not options:
        st.caption("None: these runs have the same options, apart from output paths.")
        return
    values = {row.name: [row.options.get(name, MISSING) for name in options] for row in rows}
    st.dataframe(
        pd.DataFrame({"Option": options} | values),
        key="differences",
        height="content",
        hide_index=True,
        # Pinned where the table is scrolled; Streamlit makes the text of a pinned column pale.
        column_config={"Option": st.column_config.TextColumn(pinned=len(values) > MAX_IN_VIEW)},
        alt="Options that differ",
    )


def _draw_parallel(rows: list[Row]) -> None:
    figure = option_charts.parallel(rows)
    if figure is not None:
        st.subheader("All options at once")
        shown, options = option_charts.MAX_AXES, len(option_charts.axes(rows))
        selection = f" The chart shows the {shown} most informative of {options} options." if options > shown else ""
        lines, runs = option_charts.MAX_LINES_ACROSS, sum(row.metric("val_end2end") is not None for row in rows)
        selection += f" Of {runs} runs, the chart shows the best {lines}." if runs > lines else ""
        st.caption(
            "One line per run; better runs have stronger lines. Point at a line to see its run. Drag over a part of an "
            "axis to keep the runs that pass there, and with Shift over a second one; a double click shows all runs. "
            "On a narrow screen, swipe to the validation accuracy." + selection
        )
        alt = "Parallel coordinates of the options that differ"
        revision = " ".join(note.text for note in figure.layout.annotations)  # a selection is of places on these axes
        style.show_chart(figure, "compare-options", alt, revision=revision, min_width=110 * (min(shown, options) + 1))
