"""What every notebook of the course says and does the same way: begin, show a figure, say a sentence, check, finish."""

from __future__ import annotations

import base64
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

from transfer_utils.config import RunConfig, preset
from transfer_utils.errors import UserError
from transfer_utils.plotting import STYLE, save_figure
from transfer_utils.utils.palette import SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESET_VARIABLE = "TRANSFER_UTILS_PRESET"
DATA_VARIABLE = "TRANSFER_UTILS_DATA_DIR"
FIGURES_VARIABLE = "TRANSFER_UTILS_FIGURES"  # set while the outputs that are committed are made

SCREEN_DPI = 100  # of pictures inside a notebook: nine inches fill a page, and the file stays light


def begin(preset: str = "cifar10", **options: Any) -> RunConfig:
    """Turn a notebook's parameters into the options of its runs, and print what it is about to work with.

    The environment variable ``TRANSFER_UTILS_PRESET`` overrides ``preset``, and ``TRANSFER_UTILS_DATA_DIR`` stands in
    for an empty ``data_dir``: some tools that run notebooks cannot set parameters.

    Args:
        preset: the named set of options to start from.
        options: any options by name, over those of the preset; ``output_dir`` is made.

    Raises:
        UserError: an unknown preset or option, with the nearest known name, or a value outside its limits.
    """
    config = _config(preset, **options)
    _settle_down()
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)
    if os.environ.get(FIGURES_VARIABLE):
        from transfer_utils.data.sources import load_source

        print(f"{load_source(config).description}; preset {config.preset}; {datetime.date.today()}.")
    else:
        print(f"Data {config.dataset_name}; preset {config.preset}; seed {config.seed}.")
    return config


def show(figure: Figure, alt: str, name: str = "") -> None:
    """Display a figure as a PNG with ``alt`` as its alternative text, and keep it as ``<name>.png`` when publishing.

    Args:
        figure: what a ``plot_*`` function returned.
        alt: what the picture shows, for those who cannot see it.
        name: the stable name of its file, such as ``03_first_layer_filters``; without one it is shown only.

    Raises:
        UserError: ``alt`` is blank.
    """
    from IPython.display import display

    if not alt.strip():
        raise UserError("alt must say what the picture shows, got an empty text")
    folder = os.environ.get(FIGURES_VARIABLE)
    if folder and name:
        save_figure(figure, Path(folder) / f"{name}.png", alt)
    picture = io.BytesIO()
    metadata = {"Software": None}  # the bytes then do not depend on Matplotlib's version number
    figure.savefig(picture, format="png", dpi=SCREEN_DPI, metadata=metadata, pil_kwargs={"optimize": True})
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    # JupyterLab gives plain image/png outputs no alternative text; an <img> keeps its own everywhere.
    tag = f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'
    display({"text/html": tag, "text/plain": alt}, raw=True)


def say(text: str) -> None:
    """Display ``text`` as Markdown: a sentence or a table whose numbers come from the run."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def finish(name: str) -> None:
    """Print the line by which the course command knows that the notebook ``name`` ran to its end."""
    print(sentinel(name))


def sentinel(name: str) -> str:
    """Return the line that ``finish`` prints."""
    return f"{name}: finished."


class NotYet(AssertionError):
    """An exercise that is not solved yet; the message says what is still wrong."""

    def _render_traceback_(self) -> list[str]:
        """Show the learner the message alone: IPython asks the exception itself for its traceback."""
        return [f"Not yet: {self}"]


def check(test: bool | Callable[[], Any], hint: str) -> None:
    """Check one thing about an exercise.

    Args:
        test: what has to be true, or a function without arguments that returns it. A function may fail, as it does
            where a ``...`` still stands for the answer; that counts as not true.
        hint: what is still wrong, without giving the answer away.

    Raises:
        NotYet: with the hint.
    """
    try:
        passed = test() if callable(test) else test
    except Exception as error:
        raise NotYet(f"{hint} (The check met {type(error).__name__}: {error})") from error
    if passed is ... or not passed:
        raise NotYet(hint)


def _config(name: str, **options: Any) -> RunConfig:
    override = os.environ.get(PRESET_VARIABLE)
    if override and override != name:
        print(f"{PRESET_VARIABLE} is set: preset {override} instead of {name}.")
        name = override
    config = preset(name, **options)
    folder = os.environ.get(DATA_VARIABLE)
    if folder and not config.data_dir and config.dataset != "photo-digits":
        if not os.environ.get(FIGURES_VARIABLE):  # what is published says which images these are
            print(f"{DATA_VARIABLE} is set: images from there.")
        config = preset(name, **{**options, "data_dir": folder})
    return config


def _settle_down() -> None:
    """Keep what is no result out of the outputs, and draw in the style of the course."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for library in ("absl", "tensorflow"):
        # A filter, because TensorFlow sets the level of its logger when it is imported into IPython.
        logging.getLogger(library).addFilter(_is_error)
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    matplotlib.rcParams.update(STYLE | {"axes.prop_cycle": cycler(color=SERIES)})


def _is_error(entry: logging.LogRecord) -> bool:
    return entry.levelno >= logging.ERROR
