"""The page "Try it": a saved model's answer to one image, and where it looked. The only page that loads TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import style
from transfer_utils.dashboard.store import View
from transfer_utils.errors import UserError
from transfer_utils.results.formatting import percent
from transfer_utils.results.table import Row
from transfer_utils.utils.palette import PERCEPTUAL
from transfer_utils.utils.text import as_label, as_text, finite_number

FIRST_COMMAND = "transfer-utils train --preset offline"
MODEL_SUFFIXES = (".keras", ".h5")
PICTURE_TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"]
SHOWN_PIXELS, TOP, STRONGEST = 480, 3, 0.65


class Answer(NamedTuple):
    """What a model makes of one image: its likeliest classes, and pictures as uint8 arrays of shape (side, side, 3)."""

    best: list[tuple[str, float]]
    given: np.ndarray
    seen: np.ndarray
    looked: np.ndarray
    sides: tuple[int, int]


def draw(view: View) -> None:
    """Draw the page."""
    models = {row.name: (row, path) for row in view.rows if (path := model_file(row))}
    if not models:
        with st.container(border=True):
            st.subheader("No saved model here")
            st.markdown("A finished run keeps its model in its folder. To make one:")
            st.code(FIRST_COMMAND, language=None)
        return
    left, right = st.columns(2, gap="medium")
    with left:
        name = st.selectbox("Model", list(models), key="model", bind="query-params")
    with right:
        upload = st.file_uploader("Image", type=PICTURE_TYPES, key="image")
    if upload is None:
        st.caption("Drop in a picture of one thing that the model knows:")
        st.text(", ".join(as_text(one, 40) for one in _class_names(models[name][0])) or "its classes have no names")
        return
    try:
        with st.spinner("Loading the model and looking at the image …"):
            answer = ask(*models[name], upload.getvalue())
    except UserError as error:
        st.warning("This did not work:", icon=":material/image_not_supported:")
        st.text(as_text(str(error), 1000, lines=True))
        return
    _show(answer)


def model_file(row: Row) -> Path | None:
    """Return the run's saved model, if it is a file of a known kind inside the run's own folder."""
    named = row.record.files.get("model", "")
    path = row.run.folder / named
    if not named or not named.isprintable() or path.suffix not in MODEL_SUFFIXES:
        return None
    inside = path.resolve().is_relative_to(row.run.folder.resolve())
    return path if inside and path.is_file() else None


def ask(row: Row, path: Path, content: bytes) -> Answer:
    """Let the model at ``path`` judge the bytes of a picture.

    Raises:
        UserError: no model that can be loaded, or no picture that can be read.
    """
    from transfer_utils.data.images import decode_image, resize_images
    from transfer_utils.interpret.activations import grad_cam
    from transfer_utils.models.saving import class_names
    from transfer_utils.predict import top_classes

    given = decode_image(content, SHOWN_PIXELS)
    status = path.stat()
    model = _load(str(path), status.st_mtime_ns, status.st_size)
    stored = model.inputs[0].shape[1]
    pixels = decode_image(content, stored)
    probabilities = np.asarray(model(pixels[None]))[0]
    names = class_names(path, len(probabilities))
    inner = stored if row.from_scratch else int(finite_number(row.config.get("image_size")) or stored)
    inner = inner if 0 < inner <= SHOWN_PIXELS else stored  # a record can say anything
    seen = resize_images(pixels[None], inner)[0]
    heat = grad_cam(model, pixels, int(probabilities.argmax()))
    return Answer(top_classes(probabilities, names, TOP), given, seen, overlay(given, heat), (stored, inner))


@st.cache_resource(max_entries=2, show_spinner=False)
def _load(path: str, changed: int, size: int) -> Any:
    from transfer_utils.models.saving import load_model

    return load_model(path)


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map of shape (h, w) in [0, 1] over a picture of shape (side, side, 3), the stronger the less clear."""
    import matplotlib
    from PIL import Image

    side = picture.shape[0]
    wide = Image.fromarray(np.asarray(heat, np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(wide), 0, 1)[..., None]
    colours = 255 * matplotlib.colormaps[PERCEPTUAL](strength[..., 0])[..., :3]
    opacity = STRONGEST * (0.25 + 0.75 * strength)
    return np.rint(picture * (1 - opacity) + colours * opacity).astype(np.uint8)


def _class_names(row: Row) -> list[str]:
    names = row.record.dataset.get("class_names")
    return names[:100] if isinstance(names, list) else []


def _show(answer: Answer) -> None:
    stored, inner = answer.sides
    style.show(_bars(answer.best), "try-it", f"The {len(answer.best)} likeliest classes")
    enlarged = f"{stored} px" if stored == inner else f"{stored} px, resized to {inner} px"
    pictures = (
        (answer.given, "Your image, cut square"),
        (answer.seen, f"What the network saw: {enlarged}"),
        (answer.looked, "Where it looked (Grad-CAM): yellow counted most"),
    )
    for place, (picture, caption) in zip(st.columns(3), pictures, strict=True):
        place.image(picture, caption=caption, width="stretch")


def _bars(best: list[tuple[str, float]]) -> go.Figure:
    shares = [share for _, share in best]
    figure = go.Figure(
        go.Bar(
            x=shares,
            y=list(range(len(best))),
            orientation="h",
            marker={"color": [style.tinted(style.colour(0), 1 if place == 0 else 0.5) for place in range(len(best))]},
            text=[percent(share) for share in shares],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    style.lay_out(figure, 170, legend=False)
    figure.update_layout(bargap=0.35)
    figure.update_xaxes(range=[0, 1.08], visible=False)
    names = [as_label(name, 40) for name, _ in best]
    figure.update_yaxes(tickvals=list(range(len(best))), ticktext=names, autorange="reversed", showgrid=False)
    return figure
