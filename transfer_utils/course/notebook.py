"""Functions that every notebook of the course uses: begin, show, check and finish."""

from __future__ import annotations

import datetime
import html
import io
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from cycler import cycler

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.config.presets import PRESETS
from transfer_utils.errors import UserError
from transfer_utils.plotting import STYLE, save_figure
from transfer_utils.utils.palette import SERIES
from transfer_utils.utils.text import data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESET_VARIABLE = "TRANSFER_UTILS_PRESET"
DATA_VARIABLE = "TRANSFER_UTILS_DATA_DIR"
FIGURES_VARIABLE = "TRANSFER_UTILS_FIGURES"  # the folder of the figures; set while the course is published

SCREEN_DPI = 100  # a figure of nine inches fills the page, and the notebook stays small


def begin(preset: str = "cifar10", **options: Any) -> RunConfig:
    """Return the options for the runs of a notebook and prepare its kernel.

    Prints the data and the preset, creates ``output_dir``, and changes the kernel process: absl logs only errors,
    warnings from Keras and TensorFlow are ignored, and Matplotlib draws in the style of the course.

    The environment variable ``TRANSFER_UTILS_PRESET`` overrides ``preset``, and ``TRANSFER_UTILS_DATA_DIR`` replaces an
    empty ``data_dir``, for tools that cannot set parameters. The ``options`` override those of the preset.

    Raises:
        UserError: an unknown preset or option, or a value outside its limits.
    """
    config = _config(preset, **options)
    # TensorFlow's own logger stays: it says when a cell makes it trace functions again and again.
    logging.getLogger("absl").addFilter(lambda entry: entry.levelno >= logging.ERROR)
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    matplotlib.rcParams.update(STYLE | {"axes.prop_cycle": cycler(color=SERIES)})
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)
    if os.environ.get(FIGURES_VARIABLE):
        from transfer_utils.data.sources import load_source

        print(f"{load_source(config).description}; preset {config.preset}; {datetime.date.today()}.")
    else:
        print(f"Data {config.dataset_name}; preset {config.preset}; seed {config.seed}.")
    return config


def show(figure: Figure, alt: str, name: str = "") -> None:
    """Display a figure as a PNG with alternative text; while publishing, also save it as ``<name>.png``.

    Args:
        figure: the result of a ``plot_*`` function.
        alt: a description of the figure for readers who cannot see it.
        name: the file name, such as ``03_first_layer_filters``; a figure without a name is not saved.

    Raises:
        UserError: ``alt`` is blank.
    """
    from IPython.display import display

    if not alt.strip():
        raise UserError("alt must describe the figure, got an empty text")
    folder = os.environ.get(FIGURES_VARIABLE)
    if folder and name:
        save_figure(figure, Path(folder) / f"{name}.png", alt)
    picture = io.BytesIO()
    metadata = {"Software": None}  # otherwise the bytes depend on the version of Matplotlib
    figure.savefig(picture, format="png", dpi=SCREEN_DPI, metadata=metadata, pil_kwargs={"optimize": True})
    # JupyterLab shows image/png outputs without alternative text; an <img> element keeps it everywhere.
    tag = f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="{data_uri(picture.getvalue(), "png")}">'
    display({"text/html": tag, "text/plain": alt}, raw=True)


def finish(name: str) -> None:
    """Print the line that marks the successful end of the notebook ``name``."""
    print(sentinel(name))


def sentinel(name: str) -> str:
    """Return the line that ``finish`` prints."""
    return f"{name}: finished."


class NotYet(AssertionError):
    """The exercise is not solved yet; the message is the hint."""

    def _render_traceback_(self) -> list[str]:
        """Return the message instead of a traceback; IPython calls this method."""
        return [f"Not yet: {self}"]


def check(test: bool | Callable[[], Any], hint: str) -> None:
    """Check one condition of an exercise.

    Args:
        test: the condition, or a function that returns it. An exception in the function counts as false, because the
            answer may still be ``...``.
        hint: what is wrong, without revealing the answer.

    Raises:
        NotYet: the condition is false.
    """
    try:
        passed = test() if callable(test) else test
        passed = passed is not ... and bool(passed)  # an array of several numbers is neither true nor false
    except Exception as error:
        raise NotYet(f"{hint} (The check raised {type(error).__name__}: {error})") from error
    if not passed:
        raise NotYet(hint)


def _config(name: str, **options: Any) -> RunConfig:
    override = os.environ.get(PRESET_VARIABLE)
    if override and override != name:
        print(f"{PRESET_VARIABLE} is set: preset {override} instead of {name}.")
        name = override
    given, folder = {**PRESETS.get(name, {}), **options}, os.environ.get(DATA_VARIABLE)
    if folder and not given.get("data_dir") and given.get("dataset") != "photo-digits":
        if not os.environ.get(FIGURES_VARIABLE):  # published notebooks name the data instead
            print(f"{DATA_VARIABLE} is set: the images come from that folder.")
        options["data_dir"] = folder
    return preset(name, **options)
