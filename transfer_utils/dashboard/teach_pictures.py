"""The upper part of the page "Teach": the classes, and their pictures by upload or camera.

Nothing is decoded here. Uploaded files are written into a folder of their own under numbers, and the command
``collect`` judges them in a child process.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from transfer_utils.dashboard import state, teach_gallery
from transfer_utils.dashboard.teach_gallery import NEWS
from transfer_utils.errors import UserError
from transfer_utils.teach.collection import MAX_CLASS_NAME, MAX_CLASSES, MIN_PICTURES, Collection, check_upload
from transfer_utils.teach.messages import RECEIPT_NAME, REQUEST_NAME, Receipt, Upload, read_model, write_model
from transfer_utils.utils.disk import as_sentence
from transfer_utils.utils.supervised import run_child
from transfer_utils.utils.text import as_text, counted

SHOWN, THUMBNAIL_PIXELS = 12, 52  # pictures of a class, and their width
MAX_SENTENCES = 8  # about refused files
COLUMNS = 3
ABANDONED_SECONDS = 86_400  # a day; no upload takes that long
CAMERA, TURNS, SENT = "teach camera", "teach turns", "teach sent"  # entries of the session

Target = tuple[str, str]  # the folder of a collection, and a class; empty for several classes
Sent = dict[Target, tuple[list[str], Future[Receipt]]]  # the last files for it by their ids, and what became of them


def draw(collection: Collection, busy: bool) -> None:
    """Draw the classes of a collection; while pictures are learned from (``busy``), nothing can be changed."""
    classes = collection.classes()
    _draw_news(collection, "")
    columns = min(COLUMNS, max(len(classes), 2))
    for start in range(0, len(classes), columns):
        names = list(classes)[start : start + columns]
        for place, (name, column) in enumerate(zip(names, st.columns(columns, gap="small"), strict=False), start):
            with column.container(border=True, key=f"class {place}"):
                _draw_class(collection, name, place, len(classes[name]), busy)
    if len(classes) < MAX_CLASSES and not busy:
        _draw_adding(collection, classes)
    teach_gallery.draw(collection, busy)


def _draw_adding(collection: Collection, classes: dict[str, list[str]]) -> None:
    """Draw the field for another class, and in an empty collection the upload of a zip file with all classes."""
    with st.form("add class", clear_on_submit=True, border=False):
        field, button = st.columns([4, 1], vertical_alignment="bottom")
        label = "Add a class" if classes else "Add the first class, such as cup"
        name = field.text_input(label, max_chars=MAX_CLASS_NAME, key="new class")
        if button.form_submit_button("Add", icon=":material/add:", width="stretch"):
            _attempt(collection, "", lambda: collection.add_class(name))
    if not classes:
        label = "Or upload a zip file with a folder of pictures for each class"
        archive = st.file_uploader(label, key=f"archive {_turn(collection, '')}")
        if archive:
            _send(collection, "", [archive])


def _draw_class(collection: Collection, name: str, place: int, n: int, busy: bool) -> None:
    """Draw a class. The keys hold its name: in another window the classes may have moved to other places."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(as_text(name))
        st.badge(counted(n, "picture"), color="green" if n >= MIN_PICTURES else "gray")
        st.space("stretch")
        if not busy:
            with st.popover("", icon=":material/more_vert:", help="Remove"):
                if st.button(f"Remove this class with {counted(n, 'picture')}", key=f"remove class {name}"):
                    _attempt(collection, "", lambda: collection.remove_class(name))
    thumbnails = [collection.read_thumbnail(picture) for picture in collection.newest(name)[:SHOWN]]
    if any(thumbnails):
        st.image([*filter(None, thumbnails)], width=THUMBNAIL_PIXELS)
    if n:
        look = {"on_click": state.put, "args": ({teach_gallery.CLASS: name},)}
        st.button(f"See all {n:,}", icon=":material/photo_library:", type="tertiary", key=f"see class {name}", **look)
    _draw_news(collection, name)
    if busy:
        return
    turn = _turn(collection, name)
    files = st.file_uploader(
        f"Pictures of class {place + 1}, or one zip file of them",
        accept_multiple_files=True,
        key=f"upload to {turn}",
        label_visibility="collapsed",
    )
    open_camera = st.session_state.get(CAMERA) == (str(collection.folder), name)
    shot = st.camera_input(f"Camera for class {place + 1}", key=f"shot for {turn}") if open_camera else None
    label = "Close the camera" if open_camera else "Use the camera"
    if st.button(label, icon=":material/photo_camera:", key=f"camera for {name}", width="stretch"):
        st.session_state[CAMERA] = None if open_camera else (str(collection.folder), name)
        st.rerun()
    if files or shot:
        _send(collection, name, [*files, *([shot] if shot else [])])


def _turn(collection: Collection, class_name: str) -> str:
    """Return the end of the keys of uploads. Its number is a new one after each change, for empty widgets.

    The collection is part of it: another one with such a class may be opened before the files are judged.
    """
    turns = st.session_state.get(TURNS, {})
    return f"{collection.folder.name}/{class_name} {turns.get((str(collection.folder), class_name), 0)}"


def _send(collection: Collection, class_name: str, uploads: Sequence[UploadedFile]) -> None:
    """Let the command judge uploaded files, keep its news for the next run of the page, and clear the widgets."""
    sent = st.session_state.setdefault(SENT, {})
    target, files = (str(collection.folder), class_name), [upload.file_id for upload in uploads]
    with st.spinner(f"Looking at {counted(len(uploads), 'file')} …"):
        change = functools.partial(once, sent, target, files, lambda: submit(collection, class_name, uploads))
        _attempt(collection, class_name, change, uploads)


def once(sent: Sent, target: Target, files: list[str], judge: Callable[[], Receipt]) -> Receipt:
    """Return what ``judge`` returns for these files, and call it only once for them.

    A click in the meantime starts a newer run of the page beside this one, which finds the same files in their widget.
    It waits for the same result; the older run ends at its next call of Streamlit.
    """
    known, receipt = sent.get(target, ([], Future()))
    if known != files:
        sent[target] = (files, receipt := Future())
        try:
            receipt.set_result(judge())
        except BaseException as error:  # which is raised again below, and by those that wait
            receipt.set_exception(error)
    return receipt.result()


def submit(collection: Collection, class_name: str, uploads: Sequence[UploadedFile]) -> Receipt:
    """Write uploaded files beside a collection, start the command that judges them, and return its receipt.

    Raises:
        UserError: the upload exceeds the limits, or the command failed.
        OSError: the files cannot be written.
    """
    check_upload([upload.size for upload in uploads])
    for old in collection.beside.glob("upload-*"):  # of a dashboard that was killed during an upload
        with suppress(FileNotFoundError):  # that of another window, whose upload has just ended
            if time.time() - os.lstat(old).st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    folder = collection.beside / f"upload-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        for number, upload in enumerate(uploads):
            (folder / str(number)).write_bytes(upload.getvalue())
        write_model(folder / REQUEST_NAME, Upload(class_name=class_name, names=[upload.name for upload in uploads]))
        _, message = run_child(["collect", str(folder), "--supervised"], os.getcwd(), owner=str(folder))
        receipt = read_model(folder / RECEIPT_NAME, Receipt)
        if receipt is None:
            raise UserError(message.removeprefix("Error: ") or "The files could not be looked at.")
        return receipt
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attempt(
    collection: Collection,
    class_name: str,
    change: Callable[[], Receipt | None],
    uploads: Sequence[UploadedFile] = (),
) -> None:
    """Change a collection, keep the message about it, and draw the page again without the ``uploads``."""
    try:
        receipt = change() or Receipt()
    except (UserError, OSError) as error:
        receipt = Receipt(refused=[as_sentence(error)])
    target = (str(collection.folder), class_name)
    st.session_state[NEWS] = (*target, receipt)
    turns = st.session_state.setdefault(TURNS, {})
    turns[target] = turns.get(target, 0) + 1  # of this class only: another one may have files that wait
    _release(uploads)
    st.rerun()


def _release(uploads: Sequence[UploadedFile]) -> None:
    """Free the memory of uploaded files, which Streamlit keeps until the tab is closed, even without their widget."""
    context = get_script_run_ctx()
    for upload in uploads:
        context.uploaded_file_mgr.remove_file(context.session_id, upload.file_id)


def _draw_news(collection: Collection, class_name: str) -> None:
    """Draw what became of the last upload, at the class that it was for."""
    folder, target, receipt = st.session_state.get(NEWS) or ("", "", Receipt())
    if folder != str(collection.folder) or target != class_name:
        return
    added = sum(receipt.added.values())
    if added and not class_name:
        parts = ", ".join(f"{as_text(name)} {n:,}" for name, n in receipt.added.items())
        st.success(f"Added {counted(added, 'picture')}.", icon=":material/check:")
        st.text(parts)
    if receipt.refused:
        st.warning("Refused:", icon=":material/block:")  # without a number: a sentence may stand for many files
        lines = [as_text(sentence, 400) for sentence in receipt.refused[:MAX_SENTENCES]]
        more = len(receipt.refused) - len(lines)
        st.text("\n".join(lines + [f"and {more:,} more"] * bool(more)))
