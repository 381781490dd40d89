"""The commands that use a trained model or its record: ask it, describe it, hand it on as a page."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import click

from transfer_utils.cli.options import WholeNumber, debug_option, quiet_option
from transfer_utils.cli.output import echo
from transfer_utils.errors import UserError
from transfer_utils.utils.disk import check_writable
from transfer_utils.utils.progress import reporting
from transfer_utils.utils.text import as_text, counted, printable


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path, readable=False), nargs=-1, required=True)
@click.option("--top", default=3, show_default=True, type=WholeNumber(1, 1000), help="number of classes per image")
@debug_option
def predict(model: Path, images: tuple[Path, ...], top: int) -> None:
    """Print the likeliest classes of each IMAGE.

    "Not sure" stands before them if even the first is too unlikely. MODEL is the file of a saved model (.keras, .h5 or
    .tflite). The threshold of "not sure" was chosen when the model was trained (--not_sure_rate), and is kept in a file
    beside the model.
    """
    from transfer_utils.evaluation.percent import percent
    from transfer_utils.predict import SUFFIXES, predict_images

    swapped = next((path for path in images if path.suffix in SUFFIXES), None)
    if swapped and model.suffix not in SUFFIXES:
        raise UserError(f"The model comes before the images: transfer-utils predict {swapped} {model}")
    paths, failed = [match for path in images for match in _matching(path)], 0
    for path, prediction in predict_images(model, paths, top):
        if isinstance(prediction, UserError):
            failed += 1
            echo(f"Error: {prediction}", err=True)
        else:
            classes = ", ".join(f"{as_text(name)} {percent(probability)}" for name, probability in prediction.best)
            doubt = "not sure; " if prediction.not_sure else ""
            echo(f"{printable(os.fspath(path))}: {doubt}{classes}")
    if failed:
        raise UserError(f"{failed} of {counted(len(paths), 'image')} could not be read.")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--output_dir", default=None, type=click.Path(path_type=Path), help="folder of the cards [default: that of the run]"
)
@debug_option
def card(run: Path, output_dir: Path | None) -> None:
    """Write a model card and a data card of a completed RUN.

    RUN is the folder of a run, or its record. The cards are Markdown with the metadata of Hugging Face; every number
    comes from the record, and the cards list what the record does not say.
    """
    if output_dir:
        check_writable("output_dir", output_dir)
    from transfer_utils.report.cards import write_cards

    for path in write_cards(run, output_dir):
        echo(f"Wrote {path}.")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--example", "examples", multiple=True, type=click.Path(path_type=Path), help="a picture to try; repeatable"
)
@click.option("--cache_dir", default="", help="folder of the cache [default: the user's cache folder]")
@quiet_option
@debug_option
def demo(model: Path, folder: Path, examples: tuple[Path, ...], cache_dir: str, quiet: bool) -> None:
    """Write a web page that runs MODEL in the browser.

    The page is written into FOLDER. MODEL is an exported or saved model (.tflite, .keras, .h5) or the folder of a run.
    Pictures are chosen, dropped or taken by camera, and never leave the browser. The page needs a web server and
    nothing else. LiteRT.js, which runs the model, is downloaded from the npm registry once.
    """
    from transfer_utils.demo import write_demo

    with reporting(quiet) as (progress, log):
        write_demo(model, folder, examples=examples, cache_dir=cache_dir, progress=progress, log=log)


def _matching(path: Path) -> list[Path]:
    """Return the files that a pattern such as ``photos/*.jpg`` names; the shells of Windows leave that to the program.

    A name that exists, or that matches nothing, stays as it is.
    """
    matches = [] if os.path.lexists(path) else sorted(glob.glob(os.fspath(path)))
    return [Path(name) for name in matches] or [path]
