"""The common style of all figures, and how a figure is written to a file."""

from __future__ import annotations

import os
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from transfer_utils.errors import UserError
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.files import replacing
from transfer_utils.utils.palette import GRID, INK, MODEL_COLOURS, NOTE, PAPER, SERIES
from transfer_utils.utils.text import as_text

DPI = 144  # of saved figures: sharp on a high-density screen
WIDTH = 9.0  # inches of a full-width figure, at which 10-point text is easy to read in a README
NOT_RECORDED = "not recorded"
MAX_NAMED_CLASSES = 110  # with more, their names on an axis overlap
MAX_LEGIBLE_CLASSES = 20  # with more classes, a row per class or a number per cell is illegible

STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": NOTE,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": PAPER,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
styled = matplotlib.style.context(STYLE, after_reset=True)  # decorates every plot function

# Markers and line styles distinguish lines and classes without relying on colour.
MARKERS = "osD^vP*X<>"
LINESTYLES = ("-", "--", "-.")  # without the dotted one, which is for lines to compare with
MODEL_STYLES = {
    model: {"color": MODEL_COLOURS[model], "linestyle": linestyle, "marker": marker}
    for model, linestyle, marker in (
        ("transfer", "-", "o"),
        ("baseline", "--", "s"),
        ("random", ":", "^"),
        ("compact", "-.", "D"),
        ("tutorial", "--", "s"),
    )
}
DOTTED = {"color": NOTE, "linestyle": ":", "linewidth": 1.2}
PERCENT = FuncFormatter(lambda fraction, _: f"{100 * fraction:g} %")


@styled
def save_figure(figure: Figure, path: str | os.PathLike, alt: str) -> None:
    """Write a figure as PNG, atomically; the same figure always gives the same bytes.

    ``alt`` describes the figure for readers who cannot see it, and is stored in the PNG as ``Description``.

    Raises:
        UserError: ``alt`` is blank.
    """
    if not alt.strip():
        raise UserError(f"alt must describe the figure, got {alt!r}")
    with replacing(path) as temporary:  # "Software" would write Matplotlib's version into the file
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None, "Description": alt})


def panels(
    width: float, height: float, rows: int, columns: int, title: str = "", **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of this size in inches, with a title and an array (rows, columns) of axes."""
    figure = Figure((width, height), layout="constrained")
    if title:
        figure.suptitle(title, x=0.012, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, with one pair of axes and a light grid."""
    figure, [[axes]] = panels(width, height, 1, 1)
    axes.grid(True)
    return figure, axes


def draw_image(axes: Axes, image: np.ndarray, **options: Any) -> None:
    """Draw an image, with sharp pixels by default, without ticks, grid and frame."""
    axes.imshow(image, **{"interpolation": "nearest", **options})
    axes.set(xticks=[], yticks=[])
    bare(axes)


def bare(axes: Axes) -> None:
    """Remove grid, tick marks and frame, for axes that show an image."""
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def series(place: int) -> dict[str, Any]:
    """Return colour, line style and marker of the line at ``place``, counted from 0; 210 lines all differ."""
    return {
        "color": SERIES[place % len(SERIES)],
        "linestyle": LINESTYLES[place % len(LINESTYLES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


def sanitize(name: Any, max_length: int = 20) -> str:
    """Return an untrusted name as short text on one line, in which Matplotlib does not read "$" as a formula.

    A long one is cut in the middle: names of classes often begin alike.
    """
    text = as_text(name)
    if len(text) > max_length:
        start, end = max_length // 2, (max_length - 1) // 2
        text = f"{text[:start]}…{text[-end:]}"
    return text.replace("$", r"\$")


def with_dataset(title: str, record: RunRecord) -> str:
    """Return the title, followed by the dataset of the record."""
    name = record.dataset.get("description") or record.config.get("dataset")
    return f"{title}: {sanitize(name, 30)}" if name else title
