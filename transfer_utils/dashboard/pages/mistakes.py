"""The page "Mistakes": the confusion matrix of a run on the test split, and the pictures behind its cells."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st

from transfer_utils.dashboard import answers, gallery, result_charts, state, style
from transfer_utils.dashboard.gallery import Tile
from transfer_utils.dashboard.pages.one_run import choose_run
from transfer_utils.dashboard.parts import show_block
from transfer_utils.dashboard.store import View
from transfer_utils.dashboard.tested import Tested, keeps_predictions, read_tested
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.results.progress import UNFINISHED, repeat_command
from transfer_utils.results.table import Row
from transfer_utils.utils.text import as_text, counted

CELL, SUREST, LEAST_SURE, ONE_RIGHT = "One cell", "Surest mistakes", "Least sure", "One of two runs right"
THIS_RIGHT, OTHER_RIGHT = "only this run is right", "only the other run is right"
# Names in the address.
SHOW, TRUE, PREDICTED, OTHER_RUN, RIGHT, PICTURE = "show", "true", "predicted", "other", "right", "picture"
SHOWN, TOP = 48, 5  # pictures on one page of the gallery, classes of one picture


def draw(view: View) -> None:
    """Draw the page."""
    row = _choose_run(view)
    tested = _read(row) if row else None
    if tested is None:
        return
    test = tested.predictions
    show = state.choice(st, "Show", [CELL, SUREST, LEAST_SURE, ONE_RIGHT], SHOW, label_visibility="collapsed")
    left, right = st.columns([5, 6], gap="large")
    with left:
        _draw_matrix(tested)
    with right:
        if show == CELL:
            _draw_cell(tested)
        elif show == SUREST:
            title = f"{counted(len(test.mistakes()), 'mistake')}, the most confident first"
            _draw_gallery(tested, test.mistakes(), title, show)
        elif show == LEAST_SURE:
            _draw_gallery(tested, test.least_sure(), "All test images, the least confident prediction first", show)
        else:
            tested = _draw_one_right(tested, view)
        _describe_thumbnails(tested)
    picture = (state.values(PICTURE) or [""])[-1]
    if picture.isascii() and picture.isdecimal() and len(picture) < 10 and int(picture) < len(test):
        _look_closely(tested, int(picture))


def _choose_run(view: View) -> Row | None:
    """Draw the choice of the run and return it; None if there is none."""
    keeping = [row.name for row in view.rows if keeps_predictions(row)]
    asked = state.values(state.RUN)[-1:]
    names = [row.name for row in view.rows if row.name in [*keeping, *asked] or not keeping]
    first = [name for name in state.values(state.CHOSEN) if name in keeping] or keeping or names
    return choose_run(view, names, first[0] if first else "")


def _read(row: Row) -> Tested | None:
    """Return the predictions of a run, or None and say what is missing."""
    try:
        tested = read_tested(row)
    except UnreadableRecord as error:
        st.warning("A file beside the record of this run is damaged:", icon=":material/broken_image:")
        st.text(as_text(str(error).replace(f"{row.run.folder}/", ""), 500))
        return None
    if tested:
        return tested
    if row.status in UNFINISHED:
        st.info("This run has not finished. Its predictions are kept when it ends.", icon=":material/hourglass:")
        return None
    st.info(
        "This run has no predictions: an older version made it, or the file is gone.",
        icon=":material/image_not_supported:",
    )
    if command := repeat_command(row.record):
        st.caption("To see its mistakes, repeat the run:")
        show_block(command)
    counts = result_charts.confusion_counts(row.record)
    if counts is not None:
        names = result_charts.class_labels(row.record, len(counts))
        figure = result_charts.confusion(counts, names, normalised=False)
        style.show_chart(figure, f"{row.name}-confusion", "Confusion matrix: rows true, columns predicted")
    return None


def _draw_matrix(tested: Tested) -> None:
    """Draw the confusion matrix, in which a click chooses a cell."""
    names, test = tested.class_names, tested.predictions
    st.text(f"{len(test.mistakes()):,} of {counted(len(test), 'test image')} are misclassified.")
    if len(names) > result_charts.MAX_DRAWN_CLASSES:
        st.caption(f"A matrix of more than {result_charts.MAX_DRAWN_CLASSES} classes is not drawn.")
        return
    counts = test.confusion_matrix()

    def choose(point: dict) -> None:
        true, predicted = (html.unescape(str(point.get(axis))) for axis in ("y", "x"))
        if true in names and predicted in names:
            state.put({SHOW: "", TRUE: true, PREDICTED: predicted})

    figure = result_charts.confusion(counts.astype(float), names, normalised=False)
    figure.update_layout(dragmode=False)
    style.show_chart(
        figure, f"{tested.row.name}-mistakes", "Confusion matrix: rows true, columns predicted", on_click=choose
    )
    st.caption("Click a cell to see its pictures.")


def _draw_cell(tested: Tested) -> None:
    names, test = tested.class_names, tested.predictions
    pairs, wrong = np.column_stack([test.labels, test.predicted]), test.mistakes()
    cells, counts = np.unique(pairs[wrong] if len(wrong) else pairs, axis=0, return_counts=True)
    most = cells[counts.argmax()]  # the cell shown at first
    left, right = st.columns(2)
    true = left.selectbox("True class", names, **state.kept(TRUE, names[most[0]], names))
    predicted = right.selectbox("Predicted class", names, **state.kept(PREDICTED, names[most[1]], names))
    in_cell = (test.labels == names.index(true)) & (test.predicted == names.index(predicted))
    title = f"{counted(int(in_cell.sum()), 'image')} of {true}, predicted {predicted}"
    _draw_gallery(tested, test.most_confident(in_cell), title, f"{true} {predicted}")


def _draw_one_right(tested: Tested, view: View) -> Tested:
    """Let the reader choose another run, and show the images that only one of the two classifies rightly.

    Returns:
        ``tested`` with the thumbnails that only the other run has kept.
    """
    rows = [row for row in view.rows if row.dataset == tested.row.dataset and row.name != tested.row.name]
    names = [row.name for row in rows if keeps_predictions(row)]
    if not names:
        st.info("No other run on this dataset keeps its predictions.", icon=":material/compare_arrows:")
        return tested
    name = st.selectbox("The other run", names, **state.kept(OTHER_RUN, names[0], names))
    other = _read(view.named([name])[0])
    if other is None:
        return tested
    if not tested.has_same_images(other):
        st.info("These two runs were not tested on the same images.", icon=":material/compare_arrows:")
        return tested
    which = state.choice(st, "Images", [THIS_RIGHT, OTHER_RIGHT], RIGHT, label_visibility="collapsed")
    this, that = tested.right(), other.right()
    chosen = this & ~that if which == THIS_RIGHT else that & ~this
    title, positions = f"{counted(int(chosen.sum()), 'image')}: {which}", tested.predictions.most_confident(chosen)
    with_more = replace(tested, thumbnails=other.thumbnails | tested.thumbnails)
    _draw_gallery(with_more, positions, title, f"{name} {which}", other)
    return with_more


def _draw_gallery(
    tested: Tested, positions: np.ndarray, title: str, selection: str, other: Tested | None = None
) -> None:
    """Draw one page of the pictures at these positions.

    Args:
        selection: tells one list of pictures from another, so that each begins with its first page.
        other: another run, whose predictions are shown too.
    """
    key = f"page {tested.row.name} {selection}"
    places = gallery.choose_page(title, len(positions), SHOWN, key)
    right, tiles = tested.right(), []
    for at in positions[places].tolist():
        lines = [tested.predicted(at)]
        lines += [] if right[at] else [f"true: {tested.true(at)}"]
        lines += [f"other: {other.predicted(at)}"] if other else []
        tiles.append(Tile(at, tested.thumbnails.get(at, b""), lines, tested.name(at), bool(right[at])))
    if tiles:
        gallery.draw(tiles, "pictures", title, lambda at: state.put({PICTURE: str(at)}))


def _describe_thumbnails(tested: Tested) -> None:
    kept, total = len(tested.thumbnails), len(tested.predictions)
    if not kept:
        command = repeat_command(tested.row.record)
        st.caption("This run has no thumbnails of its images." + (" To have them, repeat it:" if command else ""))
        if command:
            show_block(command)
    elif kept < total:
        st.caption(
            f"There are thumbnails of {kept:,} of the {total:,} test images: the most confident mistakes first, then "
            "the least certain of the others."
        )


@st.dialog("One test image", width="large", on_dismiss=lambda: state.put({PICTURE: ""}))
def _look_closely(tested: Tested, at: int) -> None:
    """Show one image with its most probable classes, and Grad-CAM on request."""
    probabilities, content = tested.predictions.probabilities[at].astype(float), tested.thumbnails.get(at, b"")
    best = [(tested.class_names[place], probabilities[place]) for place in np.argsort(-probabilities, kind="stable")]
    left, right = st.columns([2, 3], gap="medium")
    with left:
        tile = Tile(at, content, [], tested.name(at), bool(tested.right()[at]))
        gallery.draw([tile], "one picture", "The test image", large=True)
    with right:
        st.text(tested.name(at))
        st.text(f"True class: {tested.true(at)}. Predicted: {tested.predicted(at)}.")
        style.show_chart(answers.bars(best[:TOP]), "mistake", "The most probable classes")
    model = answers.model_file(tested.row)
    if not model or not content:
        missing = "a thumbnail of it" if model else "the saved model"
        st.caption(f"Grad-CAM would show where the network looked, but this run has not kept {missing}.")
    elif st.button("Show where the network looked", icon=":material/visibility:"):
        _explain(tested.row, model, content)


def _explain(row: Row, model: Path, content: bytes) -> None:
    """Show Grad-CAM for a thumbnail, and what the model predicts for it."""
    prediction = answers.ask(row, model, content, "thumbnail")
    if prediction is None:
        return
    left, right = st.columns(2)
    left.image(prediction.image, caption="The thumbnail", width="stretch")
    right.image(prediction.grad_cam, caption="Grad-CAM: yellow regions contributed most", width="stretch")
    name, probability = prediction.best[0]
    st.text(f"For the thumbnail, the model predicts {as_text(name, 40)} {percent(probability)}.")
