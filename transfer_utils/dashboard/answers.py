"""The answer of a saved model to one image, with Grad-CAM, for the pages that ask one. It alone loads TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from transfer_utils.config.options import MODEL_SUFFIXES
from transfer_utils.dashboard import style
from transfer_utils.dashboard.store import file_beside
from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent
from transfer_utils.results.table import Row
from transfer_utils.utils.palette import PERCEPTUAL
from transfer_utils.utils.text import as_label, as_text, finite_number

SHOWN_PIXELS, TOP, MAX_OPACITY = 480, 3, 0.65
MAX_INPUT_SIDE = 1024  # of the images that a model may take, in pixels


class ExplainedPrediction(NamedTuple):
    """The prediction of a model for one image. Images are uint8 arrays of shape (side, side, 3)."""

    best: list[tuple[str, float]]  # the most probable classes with their probabilities
    image: np.ndarray  # the uploaded image, cropped to a square
    network_input: np.ndarray  # the image at the size that the network received
    grad_cam: np.ndarray  # the uploaded image under its Grad-CAM heatmap
    sides: tuple[int, int]  # of the model's input and of the network's input, in pixels
    not_sure_below: float  # the largest probability below which the answer is "not sure"; 0 always answers


def show_answer(row: Row, path: Path, content: bytes) -> None:
    """Show what the model at ``path``, which belongs to the run ``row``, says of the bytes of an image file."""
    prediction = ask(row, path, content)
    if prediction is None:
        return
    stored, resized = prediction.sides
    if (largest := prediction.best[0][1]) < prediction.not_sure_below:
        st.warning(
            f"**Not sure.** The largest probability is {percent(largest)}, and the threshold that was chosen on the "
            f"validation images is {percent(prediction.not_sure_below)}. The image may show none of the classes.",
            icon=":material/help:",
        )
    style.show_chart(bars(prediction.best), "try-it", f"The {len(prediction.best)} most probable classes")
    size = f"{stored} px" if stored == resized else f"{stored} px, resized to {resized} px"
    images = (
        (prediction.image, "Your image, cropped to a square"),
        (_enlarged(prediction.network_input), f"The input of the network: {size}"),
        (prediction.grad_cam, "Grad-CAM: yellow regions contributed most"),
    )
    for column, (image, caption) in zip(st.columns(3), images, strict=True):
        column.image(image, caption=caption, width="stretch")


def ask(row: Row, path: Path, content: bytes, what: str = "image") -> ExplainedPrediction | None:
    """Return the answer of the model at ``path``, or None after the page says why there is none.

    Args:
        what: the word for the image on the page.
    """
    try:
        with st.spinner(f"Loading the model and classifying the {what} …"):
            return explained_prediction(row, path, content)
    except UserError as error:
        st.warning(f"The {what} could not be classified:", icon=":material/image_not_supported:")
        st.text(as_text(str(error).replace(str(path), path.name), 1000, lines=True))
        return None


def model_file(row: Row) -> Path | None:
    """Return the saved model of a run, or None unless it is a model file inside the folder of the run."""
    return run_file(row, "model", MODEL_SUFFIXES)


def run_file(row: Row, kind: str, suffixes: Sequence[str]) -> Path | None:
    """Return a file of a run, or None unless its name has one of these suffixes and it is inside the run's folder."""
    name = row.record.files.get(kind, "")
    if not name.isprintable() or Path(name).suffix not in suffixes:
        return None
    return file_beside(row, name)


def explained_prediction(row: Row, path: Path, content: bytes) -> ExplainedPrediction:
    """Classify the bytes of an image file with the model at ``path``, which belongs to the run ``row``.

    Raises:
        UserError: the model cannot be loaded or does not classify images, or the image cannot be read.
    """
    stamps = [(file.stat().st_mtime_ns, file.stat().st_size) for file in (path, row.run.path)]
    resized = None if row.from_scratch else finite_number(row.config.get("image_size"))
    return _explained(str(path), stamps, resized, content)


@st.cache_resource(max_entries=4, show_spinner=False)
def _explained(path: str, stamps: list[tuple[int, int]], resized: float | None, content: bytes) -> ExplainedPrediction:
    """Classify an image once, although the page is drawn again whenever the record of any run changes.

    The times and sizes of the model and of its record are part of the cache key, as in ``_load``.
    """
    import keras

    from transfer_utils.data.images import decode_image, resize_images
    from transfer_utils.interpret.activations import grad_cam
    from transfer_utils.models.saving import names_and_threshold
    from transfer_utils.predict import image_side, top_classes

    image = decode_image(content, SHOWN_PIXELS)
    model = _load(path, *stamps[0])
    stored = image_side(Path(path), model, MAX_INPUT_SIDE)
    pixels = decode_image(content, stored)
    probabilities = keras.ops.convert_to_numpy(model(pixels[None]))[0]
    names, threshold = names_and_threshold(Path(path), len(probabilities))
    resized = int(resized or stored)
    resized = resized if 0 < resized <= MAX_INPUT_SIDE else stored  # the value of a record may be wrong
    network_input = resize_images(pixels[None], resized)[0]
    heatmap = overlay(image, grad_cam(model, pixels, int(probabilities.argmax())))
    best = top_classes(probabilities, names, TOP)
    return ExplainedPrediction(best, image, network_input, heatmap, (stored, resized), threshold)


@st.cache_resource(max_entries=2, show_spinner=False)
def _load(path: str, modified_ns: int, size: int) -> Any:
    """Load a model; the time and the size are part of the cache key, so that a new file is loaded again."""
    from transfer_utils.models.saving import load_model

    return load_model(path)


def overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Return an image, uint8 (side, side, 3), under a heatmap, (h, w) in [0, 1], more opaque where it is stronger."""
    import matplotlib
    from PIL import Image

    side = image.shape[0]
    enlarged = Image.fromarray(np.asarray(heatmap, np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(enlarged), 0, 1)[..., None]
    colours = 255 * matplotlib.colormaps[PERCEPTUAL](strength[..., 0])[..., :3]
    opacity = MAX_OPACITY * (0.25 + 0.75 * strength)
    return np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8)


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small image, so that the browser shows them instead of smoothing them away."""
    times = max(SHOWN_PIXELS // len(image), 1)
    return image.repeat(times, axis=0).repeat(times, axis=1)


def bars(best: list[tuple[str, float]]) -> go.Figure:
    """Draw the probabilities of classes as bars, the first one the strongest."""
    probabilities = [probability for _, probability in best]
    figure = go.Figure()
    figure.add_bar(
        x=probabilities,
        y=list(range(len(best))),
        orientation="h",
        marker={"color": [style.tinted(style.colour(0), 1 if place == 0 else 0.5) for place in range(len(best))]},
        text=[percent(probability) for probability in probabilities],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    style.lay_out(figure, 170, legend=False, bargap=0.35)
    figure.update_xaxes(range=[0, 1.2], visible=False)  # room for the text beside the bars on a narrow page
    style.name_rows(figure, [as_label(name, 40) for name, _ in best])
    return figure
