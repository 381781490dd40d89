"""How every figure looks, and how it is written to a file."""

from __future__ import annotations

import os
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from transfer_utils.errors import UserError
from transfer_utils.records import RunRecord
from transfer_utils.utils.files import replacing
from transfer_utils.utils.palette import GRID, INK, NOTE, PAPER

DPI = 144  # of saved pictures: sharp on a screen of twice the usual density
WIDTH = 9.0  # inches of a full-width figure; letters of 10 points are then read easily in a README
MISSING = "not recorded"
MAX_CLASSES = 20  # with more of them, a row an image or a number a cell is no longer legible

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
styled = matplotlib.style.context(STYLE, after_reset=True)  # decorates every function that draws

DOTTED = {"color": NOTE, "linestyle": ":", "linewidth": 1.2}
PERCENT = FuncFormatter(lambda fraction, _: f"{100 * fraction:g} %")


@styled
def save_figure(figure: Figure, path: str | os.PathLike, alt: str) -> None:
    """Write a figure as PNG, all of it or nothing; the same figure always gives the same bytes.

    Args:
        figure: what a ``plot_*`` function returned.
        path: where to.
        alt: what the picture shows, for those who cannot see it; stored in the PNG as ``Description``.

    Raises:
        UserError: ``alt`` is blank.
    """
    if not alt.strip():
        raise UserError("alt must say what the picture shows, got an empty text")
    with replacing(path) as temporary:  # "Software" would put Matplotlib's version number into the bytes
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None, "Description": alt})


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of that many inches, and its one pair of axes."""
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    ruled(axes)
    return figure, axes


def ruled(axes: Axes) -> None:
    """Draw a light grid."""
    axes.grid(True)


def bare(axes: Axes) -> None:
    """Leave out grid, ticks and frame, as suits a picture."""
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def plain(name: Any, limit: int = 20) -> str:
    """Return a name from outside as text that Matplotlib draws as it stands: short, on one line, "$" no formula."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return short.replace("$", r"\$")


def captioned(title: str, record: RunRecord) -> str:
    """Return the title with the data that the record speaks of."""
    name = record.dataset.get("description") or record.config.get("dataset")
    return f"{title}: {plain(name, 30)}" if name else title
