"""The command line: parse, call, print. Nothing is computed here."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from transfer_utils import __version__
from transfer_utils.cli.options import GroupedCommand, run_options
from transfer_utils.config import RunConfig, preset
from transfer_utils.errors import Diverged, UserError

USER_ERROR, MACHINE_ERROR, INTERRUPTED, TERMINATED = 2, 1, 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="transfer-utils")
def cli() -> None:
    """Transfer learning from a pretrained network to your images, with every number on record."""


@cli.command(cls=GroupedCommand)
@run_options
@click.option("--supervised", is_flag=True, hidden=True)  # one of a sweep: ends with it, and repeats no finished run
def train(quiet: bool, debug: bool, supervised: bool, **options: Any) -> None:
    """Train one network in two stages (or the baseline), evaluate it, and record the run."""
    _supervise(supervised)
    config = _config(options)
    from transfer_utils.experiment.run import run_experiment
    from transfer_utils.utils.progress import reporting

    with reporting(quiet) as (progress, log):
        run = run_experiment(config, reuse=supervised, progress=progress, log=log)
        log(f"Recorded in {run.path}.")


@cli.command(cls=GroupedCommand)
@run_options
def compare(quiet: bool, debug: bool, **options: Any) -> None:
    """The whole story: transfer in two stages, the baseline from scratch, figures, and what it gained.

    Without a preset: the defaults, but 20 epochs a stage and the last 30 layers unfrozen. A run that is on record with
    the same options is used again.
    """
    config = _config(options, epochs_stage1=20, epochs_stage2=20, n_unfreeze=30)
    from transfer_utils.cli.compare import run_comparison
    from transfer_utils.utils.progress import reporting

    with reporting(quiet) as (progress, log):
        log(run_comparison(config, progress=progress, log=log))


@cli.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--preset", default="", help="what the runs start from, instead of the study's own preset")
@click.option("--data_dir", "--data-dir", default=None, help="image folder that every run reads")
@click.option("--output_dir", "--output-dir", default="runs", show_default=True, help="folder that receives the runs")
@click.option("--cache_dir", "--cache-dir", default=None, help="folder of the cache, as for train")
@click.option("--groups", default="", help="only these groups of the study, such as depth,mixup")
@click.option("--seeds", default="", help="only these seeds, such as 0,1")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="runs at a time")
@click.option("--scheduler", default="", metavar="tcp://HOST:PORT", help="use the workers of this Dask scheduler")
@click.option("--notebook", is_flag=True, help="do each run as notebook 04 and keep the executed copies")
@click.option("--dry-run", "--dry_run", "dry", is_flag=True, help="list the runs with their time and disk, do nothing")
@click.option("--quiet", is_flag=True, help="print nothing but errors")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def sweep(
    study: Path,
    preset: str,
    groups: str,
    seeds: str,
    workers: int,
    scheduler: str,
    notebook: bool,
    dry: bool,
    quiet: bool,
    debug: bool,
    **overrides: Any,
) -> None:
    """Do every run of a STUDY (a YAML file) that is not on record yet. Start it again where it was stopped.

    Each run is a process of its own. One that fails is named at the end and does not stop the others.
    """
    from transfer_utils.cli.sweep_table import dry_run, watching
    from transfer_utils.studies.spec import load_study
    from transfer_utils.studies.sweep import plan, run_sweep

    given = {name: value for name, value in overrides.items() if value is not None}
    chosen = load_study(study, preset, **given).chosen(_words(groups), [_seed(word) for word in _words(seeds)])
    if dry:
        planned = plan(chosen)
        planned.workers = workers
        click.echo(dry_run(planned))
        return
    with watching(quiet) as (log, on_update):
        told = {"log": log, "log_error": _log_error if quiet else log, "on_update": on_update}
        status = run_sweep(chosen, workers=workers, scheduler=scheduler, notebook=notebook, **told)
    sys.exit(status)


@cli.command()
@click.option("--preset", default="offline", show_default=True, help="options that the notebooks start from")
@click.option(
    "--notebook", "notebooks", multiple=True, help="run this one only, such as 04; may be given several times"
)
@click.option("--parameter", "-p", "parameters", multiple=True, nargs=2, metavar="NAME VALUE", help="set a parameter")
@click.option("--output_dir", "--output-dir", default="course", show_default=True, help="folder of the executed copies")
@click.option("--timeout", default=1800.0, show_default=True, type=click.FloatRange(1), help="seconds a cell may take")
@click.option("--publish", is_flag=True, help="write outputs and figures back into the project (preset cifar10)")
@click.option("--quiet", is_flag=True, help="print nothing but errors")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
@click.option("--supervised", is_flag=True, hidden=True)
def course(
    preset: str,
    notebooks: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    output_dir: str,
    timeout: float,
    publish: bool,
    quiet: bool,
    debug: bool,
    supervised: bool,
) -> None:
    """Run the notebooks in order, each in a kernel of its own, and keep the executed copies."""
    _supervise(supervised)
    from transfer_utils.course import run as room
    from transfer_utils.utils.progress import reporting

    chosen = click.get_current_context().get_parameter_source("preset")
    if publish and (parameters or chosen != ParameterSource.DEFAULT):
        raise UserError("--publish runs the notebooks as they stand: leave out --preset and --parameter.")
    with reporting(quiet) as (progress, log):
        log_error = _log_error if quiet else log
        shared = {"progress": progress, "log": log, "log_error": log_error, "timeout": timeout}
        if publish:
            status = room.publish(notebooks, output_dir, **shared)
        else:
            status = room.run_course(preset, notebooks, dict(parameters), output_dir, **shared)
    sys.exit(status)


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--top", default=3, show_default=True, type=click.IntRange(1, 1000), help="classes to print for each image"
)
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def predict(model: Path, images: tuple[Path, ...], top: int, debug: bool) -> None:
    """Print the likeliest classes of each IMAGE by a saved MODEL (.keras, .h5, .tflite), with their probabilities."""
    from transfer_utils.predict import predict_images
    from transfer_utils.utils.text import printable

    failed = 0
    for path, answer in predict_images(model, images, top):
        if isinstance(answer, UserError):
            failed += 1
            click.echo(f"Error: {answer}", err=True)
        else:
            click.echo(
                f"{printable(os.fspath(path))}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in answer)
            )
    if failed:
        raise UserError(f"{failed} of {len(images)} images could not be read.")


@cli.command()
@click.option("--cache_dir", "--cache-dir", default="", help="folder of the cache; empty means the user's cache folder")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def doctor(cache_dir: str, debug: bool) -> None:
    """Say what this machine has, what is cached, and what each preset would need here."""
    from transfer_utils.cli.doctor import examine

    click.echo(examine(cache_dir))


@cli.command()
@click.option(
    "--output_dir", "--output-dir", default="weights", show_default=True, help="folder for weights and record"
)
@click.option(
    "--n_letters", "--n-letters", default=80_000, show_default=True, type=click.IntRange(min=40), help="letters to draw"
)
@click.option("--epochs", default=8, show_default=True, type=click.IntRange(min=1), help="passes over the letters")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="draws letters, weights and order"
)
@click.option("--quiet", is_flag=True, help="print nothing but errors")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def pretrain(output_dir: str, n_letters: int, epochs: int, seed: int, quiet: bool, debug: bool) -> None:
    """Make the backbone of the offline preset from nothing: draw letters on photographs, train, write the weights."""
    from transfer_utils.training.pretrain import pretrain_backbone
    from transfer_utils.utils.progress import reporting

    with reporting(quiet) as (progress, log):
        record = pretrain_backbone(output_dir, n_letters=n_letters, epochs=epochs, seed=seed, progress=progress)
        accuracy = record["curves"]["val_accuracy"][-1]
        log(f"{record['weights']['file']}: {100 * accuracy:.1f} % of the held-out letters right; in {output_dir}.")


@cli.command()
@click.option("--study", default="studies/six_stages.yaml", show_default=True, help="the study that the runs answer")
@click.option("--runs", default="runs", show_default=True, help="folder of run records")
@click.option(
    "--output_dir", "--output-dir", default=".", show_default=True, help="folder of figures/, report/ and README.md"
)
@click.option("--medium", is_flag=True, help="also write the article for editors without tables, such as Medium's")
@click.option("--quiet", is_flag=True, help="print nothing but errors")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def report(study: str, runs: str, output_dir: str, medium: bool, quiet: bool, debug: bool) -> None:
    """Write figures, article and the README's tables of results from the records of a study's runs."""
    from transfer_utils.report.article import write_report
    from transfer_utils.utils.progress import reporting

    with reporting(quiet) as (_, log):
        write_report(study, runs, output_dir, medium=medium, log=log)


@cli.command()
@click.option("--runs", default="runs", show_default=True, help="folder of run records to show")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535), help="port on this machine")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def dashboard(runs: str, port: int, debug: bool) -> None:
    """Compare recorded runs in the browser. Listens on this machine only; stop it with Ctrl-C."""
    from transfer_utils.dashboard.launch import launch

    sys.exit(launch(runs, port))


def _supervise(supervised: bool) -> None:
    """End with the sweep that started this command, if one did."""
    if supervised:
        from transfer_utils.utils.supervised import end_with_starter

        end_with_starter()


def _log_error(line: str) -> None:
    """Print what failed where everything else is kept quiet."""
    click.echo(line, err=True)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seed(word: str) -> int:
    if not word.isdecimal() or len(word) > 10:
        raise UserError(f"seeds must be whole numbers such as 0,1, got {word[:80]!r}.")
    return int(word)


def _config(options: dict[str, Any], **without_preset: Any) -> RunConfig:
    """Turn the flags that were given into a config; ``without_preset`` are a command's defaults where none is named."""
    given = {name: value for name, value in options.items() if value is not None}
    name = given.pop("preset", "none")
    return preset(name, **({**without_preset, **given} if name == "none" else given))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the machine), 2 (the user), 130 or 143 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _terminate)
    warnings.formatwarning = _plain_warning
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file's name need not be printable
    try:
        cli.main(arguments, prog_name="transfer-utils", standalone_mode=False)
        return 0
    except click.exceptions.Abort:
        return _stopped(INTERRUPTED)
    except KeyboardInterrupt:
        return _stopped(INTERRUPTED)
    except SystemExit as stop:
        return _stopped(TERMINATED) if stop.code == TERMINATED else int(stop.code or 0)
    except click.ClickException as error:
        error.show()
        return USER_ERROR
    except (UserError, Diverged) as error:
        return _failed(error, str(error), USER_ERROR, arguments)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _failed(error, f"Too long a name for a file or folder here: {error.filename}", USER_ERROR, arguments)
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        return _failed(error, f"{reason} (--debug shows where)", MACHINE_ERROR, arguments)


def _plain_warning(message: Warning | str, *where: Any, **line: Any) -> str:
    return f"Warning: {message}\n"


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(TERMINATED)


def _stopped(status: int) -> int:
    click.echo("Interrupted. The same command goes on where this one stopped.", err=True)
    return status


def _failed(error: Exception, message: str, status: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(f"Error: {message}", err=True)
    return status
