"""The commands of the command line. They parse options, call the package and print; they compute nothing."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from transfer_utils import __version__
from transfer_utils.cli.models import card, demo, predict
from transfer_utils.cli.options import (
    Number,
    RunCommand,
    WholeNumber,
    debug_option,
    photo_config,
    quiet_option,
    run_config,
    run_options,
    supervised_option,
)
from transfer_utils.cli.output import echo, log_error
from transfer_utils.cli.teach import collect, teach
from transfer_utils.errors import UserError
from transfer_utils.utils.disk import check_writable
from transfer_utils.utils.progress import reporting
from transfer_utils.utils.supervised import end_with_starter
from transfer_utils.utils.text import command_line, counted

OF_COMPARE = {"epochs_stage1": 20, "epochs_stage2": 20, "n_unfreeze": 30}  # its defaults without a preset

SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
    "token_normalize_func": lambda name: name.replace("-", "_"),
}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="transfer-utils")
def cli() -> None:
    """Transfer learning from a pretrained network to your images, with a record of every run.

    Options may be written with hyphens as well: --data-dir is --data_dir.
    """


@cli.command(cls=RunCommand)
@run_options()
@supervised_option
def train(quiet: bool, supervised: bool, **options: Any) -> None:
    """Train one network, evaluate it, and write the run record.

    A pretrained network trains in two stages: first the new head, then the last layers of the backbone. An image
    folder (--dataset folder) without a preset gets the preset photos, fitted to the sizes and number of its pictures,
    unless --model is baseline.
    """
    if supervised:
        end_with_starter()
    config, reason = photo_config(options) or (run_config(options), "")
    from transfer_utils.experiment.run import run_experiment

    with reporting(quiet) as (progress, log):
        if reason:
            log(reason)
        run = run_experiment(config, reuse=supervised, progress=progress, log=log)
        log(f"Recorded in {run.path}.")


@cli.command(cls=RunCommand)
@run_options(("model",), **OF_COMPARE)
def compare(quiet: bool, **options: Any) -> None:
    """Train the transfer model and the baseline, and compare them.

    Without a preset, each stage has 20 epochs and stage 2 trains the last 30 layers; an image folder (--dataset folder)
    gets the preset photos, as with train. A recorded run with the same options is reused.
    """
    if options.get("model") == "baseline":
        raise UserError("compare trains both models: leave out --model, or use train --model baseline.")
    config, reason = photo_config(options, ("transfer", "baseline")) or (run_config(options, **OF_COMPARE), "")
    from transfer_utils.cli.compare import run_comparison

    with reporting(quiet) as (progress, log):
        if reason:
            log(reason)
        log(run_comparison(config, progress=progress, log=log))


@cli.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--preset", default="", help="preset of the runs [default: the preset of the study]")
@click.option("--data_dir", default=None, help="image folder of every run [default: that of the study]")
@click.option("--output_dir", default=None, help="folder for the runs [default: that of the study, else runs]")
@click.option("--cache_dir", default=None, help="folder for the cache [default: the user's cache folder]")
@click.option("--groups", default="", help="run only these groups of the study, such as depth,mixup [default: all]")
@click.option("--seeds", default="", help="run only these seeds, such as 0,1 [default: all]")
@click.option(
    "--workers", default=1, show_default=True, type=WholeNumber(1, 256), help="number of runs at the same time"
)
@click.option("--scheduler", default="", metavar="tcp://HOST:PORT", help="use the workers of this Dask scheduler")
@click.option("--notebook", is_flag=True, help="execute notebook 04 for each run that it supports; keep the copies")
@click.option("--dry_run", "dry", is_flag=True, help="only list the runs with their time and disk space")
@quiet_option
@debug_option
def sweep(
    study: Path,
    *,
    groups: str,
    seeds: str,
    workers: int,
    scheduler: str,
    notebook: bool,
    dry: bool,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Run every experiment of a STUDY that is not recorded yet.

    STUDY is a YAML file, or six_stages, opponents, augmentation or forgetting for a study of the course. Each run is a
    separate process; a failed run does not stop the others and is listed at the end. Run the same command again to
    continue an interrupted sweep.
    """
    from transfer_utils.cli.sweep_table import dry_run, watching
    from transfer_utils.experiment.session import check_paths
    from transfer_utils.studies.spec import load_study
    from transfer_utils.studies.sweep import plan, run_sweep

    if scheduler and _is_given("workers"):
        raise UserError("--scheduler has workers of its own: leave out --workers.")
    overrides = {name: value for name, value in overrides.items() if value is not None}
    selected = load_study(study, **overrides).chosen(_split(groups), [_seed(word) for word in _split(seeds)])
    configs = [run.started_with for run in selected.planned()]
    for config in {(config.data_dir, config.weights, config.model): config for config in configs}.values():
        check_paths(config)  # once, and not by the process of each run
    if dry:
        planned = plan(selected)
        planned.workers = workers
        echo(dry_run(planned))
        return
    with watching(quiet) as (log, on_update):
        outputs = {"log": log, "log_error": log_error if quiet else log, "on_update": on_update}
        status = run_sweep(selected, workers=workers, scheduler=scheduler, notebook=notebook, **outputs)
    sys.exit(status)


@cli.command()
@click.option("--preset", default="offline", show_default=True, help="preset of the notebooks")
@click.option("--notebook", "notebooks", multiple=True, help="run only this notebook, such as 04; can be repeated")
@click.option("--parameter", "-p", "parameters", multiple=True, nargs=2, metavar="NAME VALUE", help="set a parameter")
@click.option("--output_dir", default="course", show_default=True, help="folder for the executed copies")
@click.option("--timeout", default=1800.0, show_default=True, type=Number(1), help="seconds that a cell may take")
@click.option(
    "--publish", is_flag=True, help="write outputs and figures back into the project, with each notebook's own preset"
)
@quiet_option
@debug_option
@supervised_option
def course(
    preset: str, parameters: tuple[tuple[str, str], ...], publish: bool, quiet: bool, supervised: bool, **options: Any
) -> None:
    """Execute the notebooks of the course in order.

    Each notebook has its own kernel. The executed copies are saved.
    """
    if supervised:
        end_with_starter()
    from transfer_utils.course import run

    if publish and (parameters or _is_given("preset")):
        raise UserError("--publish runs the notebooks unchanged: leave out --preset and --parameter.")
    if "preset" in dict(parameters) and _is_given("preset"):
        raise UserError("the preset is named twice: leave out -p preset.")
    check_writable("output_dir", options["output_dir"])
    with reporting(quiet) as (progress, log):
        execute = run.publish if publish else partial(run.run_course, preset, parameters=dict(parameters))
        status = execute(**options, progress=progress, log=log, log_error=log_error if quiet else log)
    sys.exit(status)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@debug_option
def notebooks(folder: Path) -> None:
    """Copy the course into FOLDER to work in it.

    FOLDER gets the notebooks with their exercises and solutions, the studies and the recorded runs. Files that exist
    are kept.
    """
    from transfer_utils.course import copy_course

    copied, kept = copy_course(folder)
    existed = f"; {kept} existed and {'was' if kept == 1 else 'were'} kept." if kept else "."
    echo(f"Copied {counted(copied, 'file')} to {folder}{existed}")
    start = str(folder / "notebooks" / "01_data_preparation.ipynb")
    echo(f"Start with: {command_line(['jupyter', 'lab', start])}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output_file",
    default="inspection.html",
    show_default=True,
    type=click.Path(path_type=Path),
    help="the page (.html)",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    type=click.Choice(["imagenet", "letters", "none"]),
    help="network that judges labels and unusual pictures; none skips this",
)
@click.option("--cache_dir", default="", help="folder for the cache [default: the user's cache folder]")
@quiet_option
@debug_option
def inspect(folder: Path, output_file: Path, weights: str, cache_dir: str, quiet: bool) -> None:
    """Look at the pictures in FOLDER before training on them.

    Names unreadable files, copies, pictures that look alike, classes with few pictures, doubtful labels and
    pictures unlike all others, and writes a page that shows them. No file is changed.
    """
    from transfer_utils.cli.inspection import write_inspection

    with reporting(quiet) as (progress, log):
        write_inspection(folder, output_file, weights=weights, cache_dir=cache_dir, progress=progress, log=log)


@cli.command()
@click.option("--cache_dir", default="", help="folder of the cache [default: the user's cache folder]")
@debug_option
def doctor(cache_dir: str) -> None:
    """Report what this machine offers and what each preset needs."""
    from transfer_utils.cli.doctor import examine

    echo(examine(cache_dir))


@cli.command()
@click.option("--output_dir", default="weights", show_default=True, help="folder for the weights and the record")
@click.option(
    "--n_letters",
    default=80_000,
    show_default=True,
    type=WholeNumber(min=40),
    help="number of images, one in twenty of them for validation",
)
@click.option("--epochs", default=8, show_default=True, type=WholeNumber(min=1), help="number of epochs")
@click.option("--seed", default=0, show_default=True, type=WholeNumber(0, 2**31 - 1), help="random seed")
@quiet_option
@debug_option
def pretrain(output_dir: str, n_letters: int, epochs: int, seed: int, quiet: bool) -> None:
    """Pretrain the backbone of the offline preset.

    It learns to classify letters drawn over photographs, and its weights are saved.
    """
    check_writable("output_dir", output_dir)
    from transfer_utils.evaluation.percent import percent
    from transfer_utils.training.pretrain import pretrain_backbone

    with reporting(quiet) as (progress, log):
        record = pretrain_backbone(output_dir, n_letters=n_letters, epochs=epochs, seed=seed, progress=progress)
        accuracy = record["curves"]["val_accuracy"][-1]
        log(f"Wrote {record['weights']['file']} to {output_dir}: validation accuracy {percent(accuracy)}.")


@cli.command()
@click.option("--study", default="studies/six_stages.yaml", show_default=True, help="study whose settings are compared")
@click.option("--runs", default="runs", show_default=True, help="folder of the run records")
@click.option("--output_dir", default=".", show_default=True, help="folder for figures/, report/ and README.md")
@click.option("--medium", is_flag=True, help="also write the article for editors without tables, such as Medium's")
@quiet_option
@debug_option
def report(study: str, runs: str, output_dir: str, medium: bool, quiet: bool) -> None:
    """Write the figures, the article and the README tables.

    All numbers come from run records.
    """
    check_writable("output_dir", output_dir)
    from transfer_utils.report.article import write_report

    with reporting(quiet) as (_, log):
        write_report(study, runs, output_dir, medium=medium, log=log)


@cli.command()
@click.option("--runs", default="runs", show_default=True, help="folder of the run records")
@click.option("--port", default=8501, show_default=True, type=WholeNumber(1, 65535), help="port of the server")
@click.option(
    "--export", default=None, metavar="DIR", help="write a page that needs no server into this folder instead"
)
@debug_option
def dashboard(runs: str, port: int, export: str | None) -> None:
    """Compare recorded runs in the browser.

    The server listens on this machine only. Stop it with Ctrl-C.
    """
    if export is not None:
        if _is_given("port"):
            raise UserError("--export writes a page that needs no server: leave out --port.")
        from transfer_utils.dashboard.export import export_page

        echo(f"Wrote {export_page(runs, export)}.")
        return
    from transfer_utils.dashboard.launch import launch

    sys.exit(launch(runs, port))


for command in (predict, card, demo, collect, teach):
    cli.add_command(command)


def _is_given(option: str) -> bool:
    """Return whether the command line names an option, whose value may be that of its default."""
    return click.get_current_context().get_parameter_source(option) != ParameterSource.DEFAULT


def _split(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if text and not words:
        raise UserError(f"a list such as 0,1 is expected, got {text!r}.")
    return words


def _seed(word: str) -> int:
    if not word.isdecimal() or len(word) > 10:
        raise UserError(f"seeds must be whole numbers such as 0,1, got {word[:80]!r}.")
    return int(word)
