"""The component that shows pictures in a grid and reports the one that is clicked (``gallery.js``, ``gallery.css``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from transfer_utils.utils.text import data_uri

_STYLE = Path(__file__).with_name("gallery.css").read_text(encoding="utf-8")
_JAVASCRIPT = Path(__file__).with_name("gallery.js").read_text(encoding="utf-8")
_JPEG = b"\xff\xd8"  # how such a file begins


class Tile(NamedTuple):
    """One picture of a gallery.

    Attributes:
        at: the number by which a click reports it.
        image: a WebP or JPEG file, or empty if there is none; only the browser decodes it.
        lines: of text below the picture.
        name: for readers who cannot see it.
        right: whether it is underlined in the colour of right or of wrong predictions; None for no line.
        pressed: whether it is marked, if clicks mark pictures.
    """

    at: int
    image: bytes
    lines: list[str]
    name: str
    right: bool | None = None
    pressed: bool | None = None


def draw(
    tiles: list[Tile], key: str, label: str, on_click: Callable[[int], None] | None = None, large: bool = False
) -> None:
    """Draw pictures in a grid.

    Args:
        key: unique on a page.
        label: names the grid for readers who cannot see it.
        on_click: called with the number of a clicked picture, before the page is drawn again.
        large: draw one large picture.
    """
    pictures = [
        tile._asdict()
        | {"image": _address(tile.image), "lines": [line.replace(" %", "\N{NO-BREAK SPACE}%") for line in tile.lines]}
        for tile in tiles
    ]

    def report() -> None:
        picked = st.session_state[key]["picked"]
        if on_click and isinstance(picked, int):
            on_click(picked)

    data = {"pictures": pictures, "label": label, "clickable": on_click is not None, "large": large}
    # Registered here, not on import, for the reason given in ``style.show_chart``.
    gallery = st.components.v2.component(
        "gallery", html='<div class="gallery" role="group"></div>', css=_STYLE, js=_JAVASCRIPT
    )
    gallery(key=key, data=data, on_picked_change=report)


def choose_page(title: str, n: int, per_page: int, key: str) -> slice:
    """Draw the title of a gallery of ``n`` pictures and, if one page is too short for them, the field that turns pages.

    Returns which pictures to show.
    """
    pages, page = -(-n // per_page), 1
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(title)
        if pages > 1:
            st.space("stretch")
            st.session_state[key] = min(st.session_state.get(key, 1), pages)  # there are fewer once some are removed
            page = st.number_input("Page", 1, pages, key=key, label_visibility="collapsed", width=130)
            st.text(f"of {pages:,} pages")
    return slice((page - 1) * per_page, page * per_page)


def _address(content: bytes) -> str:
    return data_uri(content, "jpeg" if content.startswith(_JPEG) else "webp") if content else ""
