"""The dialog of the page "Teach" with all pictures of a class, in which some can be marked and removed."""

from __future__ import annotations

import streamlit as st

from transfer_utils.dashboard import gallery, jobs, state
from transfer_utils.dashboard.gallery import Tile
from transfer_utils.errors import UserError
from transfer_utils.teach.collection import Collection
from transfer_utils.teach.messages import Receipt
from transfer_utils.utils.disk import as_sentence
from transfer_utils.utils.text import as_text, counted

CLASS = "class"  # in the address: the class whose pictures are shown
IN_USE = "While the classifier learns from them, no picture can be removed."
MARKED = "teach marked"  # in the session: the folder of the class, and the stored names of the marked pictures
NEWS = "teach news"  # in the session: what became of the last change, for the next run of the page
SHOWN = 60  # pictures on one page


def draw(collection: Collection, busy: bool) -> None:
    """Draw the dialog if the address names a class; while pictures are learned from (``busy``), none can be removed."""
    name = (state.values(CLASS) or [""])[-1]
    if name and name in collection.classes():
        _show(collection, name, busy)


def _close() -> None:
    st.session_state.pop(MARKED, None)
    state.put({CLASS: ""})


@st.dialog("All pictures of a class", width="large", on_dismiss=_close)
def _show(collection: Collection, name: str, busy: bool) -> None:
    pictures, names = collection.newest(name), collection.original_names()
    folder, marked = st.session_state.get(MARKED, ("", set()))
    marked = marked & set(pictures) if folder == str(collection.folder / name) else set()
    title = f"{as_text(name)}: {counted(len(pictures), 'picture')}"
    places = gallery.choose_page(title, len(pictures), SHOWN, f"page of {name}")
    shown = pictures[places]
    tiles = []
    for at, picture in enumerate(shown):
        shown_name = as_text(names.get(picture, picture), 80)
        pressed = None if busy else picture in marked
        tiles.append(Tile(at, collection.read_thumbnail(picture), [], shown_name, pressed=pressed))

    def mark(at: int) -> None:
        if at < len(shown):
            st.session_state[MARKED] = (str(collection.folder / name), marked ^ {shown[at]})

    st.caption(IN_USE if busy else "Click pictures to mark them. Removed pictures are deleted.")
    if tiles:
        gallery.draw(tiles, f"all pictures {places.start}", f"Pictures of {name}", None if busy else mark)
    if not busy:
        label = f"Remove {counted(len(marked), 'picture')}" if marked else "Remove"
        change = {"on_click": remove, "args": (collection, name, *marked), "disabled": not marked}
        st.button(label, icon=":material/delete:", key="remove marked", **change)


def remove(collection: Collection, class_name: str, *pictures: str) -> None:
    """Delete pictures, as a callback: an exception would leave the page empty, so what prevents it becomes news."""
    try:
        if jobs.running(str(collection.folder)):  # started in another window since this page was drawn
            raise UserError(IN_USE)
        collection.remove(class_name, *pictures)
    except (UserError, OSError) as error:
        st.session_state[NEWS] = (str(collection.folder), "", Receipt(refused=[as_sentence(error)]))
