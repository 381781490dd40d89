"""The lower part of the page "Teach": the accuracy, the mistakes, a test on a new picture, and downloads."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import style
from transfer_utils.dashboard.answers import model_file, run_file, show_answer
from transfer_utils.dashboard.parts import interval_note, show_block, show_metric
from transfer_utils.dashboard.store import View, newest_first
from transfer_utils.dashboard.teach_gallery import remove
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.evaluation.percent import percent, points
from transfer_utils.records.record import RECORD_NAME
from transfer_utils.results.progress import repeat_command
from transfer_utils.results.table import Row
from transfer_utils.teach.collection import MIN_PICTURES, Collection
from transfer_utils.teach.messages import Measurement, Mistake, read_model
from transfer_utils.utils.text import as_text, counted

SHOWN, PICTURE_PIXELS = 12, 136  # mistakes, and the width of their pictures


def runs_of(collection: Collection, view: View) -> list[Row]:
    """Return the runs on the pictures of a collection, the newest first."""
    on_folders = (row for row in view.rows if row.config.get("dataset") == "folder")
    return newest_first(row for row in on_folders if collection.is_source_of(row.config.get("data_dir")))


def draw(collection: Collection, rows: list[Row], busy: bool) -> None:
    """Draw the measurement of a collection, if there is one, and its classifiers; ``busy``: nothing can be removed."""
    measured = read_model(collection.measurement, Measurement)
    if measured:
        st.subheader("How good is it?")
        if measured.pictures_digest != collection.digest():
            st.info("The pictures have changed since. Train again to measure them.", icon=":material/update:")
        _draw_accuracy(measured)
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown("**Would more pictures help?**")
            style.show_chart(learning_curve(measured), "teach-curve", "Accuracy by the number of pictures learned from")
            st.caption(measured_verdict(measured))
        with right:
            _draw_recall(measured)
        _draw_mistakes(collection, measured, busy)
    models = {row.name: (row, path) for row in rows if row.status == "completed" and (path := model_file(row))}
    if models:
        st.subheader("Use it")
        names = {name: _describe(row) for name, (row, _) in models.items()}
        # With one key for all, the choice of an older run would hide the one that has just been trained.
        key = f"teach model {next(iter(models))}"
        name = st.selectbox("Classifier of the run", list(names), format_func=names.get, key=key)
        row, path = models[name]
        n = sum(row.record.images.values())
        now = sum(map(len, collection.classes().values()))
        if n != now:
            st.caption(f"It was made from {counted(n, 'picture')}; now there are {now:,}.")
        _draw_downloads(row)
        _draw_try(row, path)


def _draw_accuracy(measured: Measurement) -> None:
    with st.container(key="numbers"):
        accuracy, guessing, pictures, mistakes = st.columns(4)
    show_metric(accuracy, "Right answers", percent(measured.accuracy), interval_note(measured.low, measured.high))
    guessing.metric("By guessing", percent(measured.guessing))
    pictures.metric("Pictures", f"{measured.n:,}")
    mistakes.metric("Misclassified", f"{len(measured.mistakes):,}")
    times = {1: "once", 2: "twice"}.get(measured.repeats, f"{measured.repeats} times")
    seen = {"imagenet": "photographs", "letters": "letters"}.get(measured.weights)
    network = f"with the network that has seen {seen}, " if seen else ""
    st.caption(
        f"Measured {network}by cross-validation, {measured.repeats} × {measured.folds}-fold, stratified: each picture "
        f"was classified {times} by a head that had not seen it. The interval is Wilson's for {measured.different:,} "
        "different pictures; classifying them again does not narrow it. It holds for new pictures of the same kind."
    )
    if measured.grouped:
        st.caption(
            f"{counted(measured.alike, 'picture looks', 'pictures look')} like another one. They were kept together, "
            "so that no picture is tested with a head that has learned from its twin."
        )
    elif measured.alike:
        st.warning(
            f"{measured.alike:,} of the {measured.n:,} pictures look like another one, and a class has fewer than "
            f"{MIN_PICTURES} that differ: they could not be kept apart, so the accuracy is too high. Take pictures "
            "that differ in place, light and distance.",
            icon=":material/content_copy:",
        )


def learning_curve(measured: Measurement) -> go.Figure:
    """Draw accuracy, with its interval, against the number of pictures per class that the head learned from."""
    figure = go.Figure()
    curve = measured.curve
    sizes = [point.per_class for point in curve]
    figure.add_scatter(
        x=sizes,
        y=[point.accuracy for point in curve],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [point.high - point.accuracy for point in curve],
            "arrayminus": [point.accuracy - point.low for point in curve],
            "color": style.tinted(style.colour(0), 0.5),
            "width": 4,
        },
        mode="lines+markers",
        line={"color": style.colour(0)},
        hovertemplate="%{x} per class: %{y:.1%}<extra></extra>",
    )
    style.lay_out(figure, 300, legend=False)
    figure.update_xaxes(title_text="pictures per class to learn from", type="log", tickvals=sizes, ticktext=sizes)
    figure.update_yaxes(tickformat=style.PERCENT_TICKS, title_text="right answers")
    return figure


def measured_verdict(measured: Measurement) -> str:
    """Say in a sentence what twice the pictures brought."""
    if measured.gain is None or measured.gain_low is None or measured.gain_high is None:
        return "There are too few pictures for a curve."
    gain, low, high = (100 * value for value in (measured.gain, measured.gain_low, measured.gain_high))
    gained = points(Estimate(gain, low, high, measured.different))
    start = f"From half of the pictures to all, the accuracy changed by {gained}; in parentheses, its 95 % interval. "
    if measured.gain_low > 0:
        return start + "It is still rising: more pictures of the same kind should help."
    return start + "No clear gain: more pictures like these will help little; different ones may help more."


def _draw_recall(measured: Measurement) -> None:
    st.markdown("**Right answers by class**")
    rows = [(as_text(name), 100 * value) for name, value in measured.recall.items()]
    table = pd.DataFrame(rows, columns=["Class", "Right"])
    bar = st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.0f %%")
    st.dataframe(table, hide_index=True, column_config={"Right": bar}, key="teach recall")


def _draw_mistakes(collection: Collection, measured: Measurement, busy: bool) -> None:
    """Draw the misclassified pictures that still exist, each with a button to remove it."""
    classes = collection.classes()
    still_there = []
    for mistake in measured.mistakes:
        name, _, picture = mistake.file.partition("/")
        if picture in classes.get(name, []):
            still_there.append((mistake, name, picture))
    if not still_there:
        return
    st.markdown("**Misclassified pictures**, the most confident mistakes first")
    names = collection.original_names()
    with st.container(horizontal=True, gap="small", key="mistakes"):
        for place, (mistake, name, picture) in enumerate(still_there[:SHOWN]):
            with st.container(width=PICTURE_PIXELS, gap="small"):
                _draw_mistake(collection, mistake, picture, names.get(picture, ""))
                change = {"on_click": remove, "args": (collection, name, picture), "disabled": busy}
                st.button("Remove", key=f"remove mistake {place}", help="Delete this picture", **change)
    if len(still_there) > SHOWN:
        st.caption(f"and {len(still_there) - SHOWN:,} more")


def _draw_mistake(collection: Collection, mistake: Mistake, picture: str, original: str) -> None:
    if thumbnail := collection.read_thumbnail(picture):
        st.image(thumbnail, width=PICTURE_PIXELS)
    lines = [
        f"{as_text(mistake.true, 24)}, taken for",
        f"{as_text(mistake.predicted, 24)} ({percent(mistake.probability)})",
    ]
    st.text("\n".join(lines + [as_text(original, 30)] * bool(original)))


def _describe(row: Row) -> str:
    kind = "fine-tuned" if row.fine_tunes else "head on frozen features"
    return f"{row.name} · {kind} · {row.accuracy('test')} of its test pictures"


def _draw_downloads(row: Row) -> None:
    """Draw a button for each file that leaves the dashboard.

    The files are read here. Files that Streamlit reads only on a click are lost if the page's timer reruns it first.
    """
    files = {"Model": model_file(row), "LiteRT": run_file(row, "float32", (".tflite",))}
    with st.container(horizontal=True, gap="small"):
        for label, path in files.items():
            if path:
                name = f"{row.run.folder.name}{path.suffix}"
                _offer(label, path.read_bytes(), name)
                # As predict looks for it beside the model.
                content = json.dumps(row.record.class_notes(path.name), ensure_ascii=False, indent=2)
                _offer(f"Class names ({label})", content, f"{name}.classes.json")
        _offer("Record", (row.run.folder / RECORD_NAME).read_bytes(), RECORD_NAME)
    if command := repeat_command(row.record):
        st.caption("The same, without the dashboard:")
        show_block(command)


def _offer(label: str, content: str | bytes, name: str) -> None:
    st.download_button(label, content, name, on_click="ignore", icon=":material/download:")


def _draw_try(row: Row, path: Path) -> None:
    st.markdown("**Try it on a new picture**")
    source = st.segmented_control("Picture from", ["a file", "the camera"], default="a file", required=True, key="try")
    if source == "the camera":
        picture = st.camera_input("A picture to classify", label_visibility="collapsed", key="try shot")
    else:
        picture = st.file_uploader("A picture to classify", label_visibility="collapsed", key="try file")
    if picture is not None:
        show_answer(row, path, picture.getvalue())
