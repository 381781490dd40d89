"""The commands that the dashboard's page Teach starts: one keeps uploaded pictures, one measures and trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_utils.cli.options import (
    RunCommand,
    debug_option,
    photo_config,
    quiet_option,
    run_options,
    supervised_option,
)
from transfer_utils.errors import UserError
from transfer_utils.utils.progress import reporting
from transfer_utils.utils.supervised import end_with_starter
from transfer_utils.utils.text import counted


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@quiet_option
@debug_option
@supervised_option
def collect(folder: Path, quiet: bool, supervised: bool) -> None:
    """Judge the uploaded files in FOLDER, and keep those that are pictures in its collection."""
    if supervised:
        end_with_starter()
    from transfer_utils.data.uploads import take_upload

    with reporting(quiet) as (_, log):
        receipt = take_upload(folder)
        log(f"Kept {counted(sum(receipt.added.values()), 'picture')}, refused {counted(len(receipt.refused), 'file')}.")


@click.command(cls=RunCommand, hidden=True)
@run_options()
@supervised_option
def teach(quiet: bool, supervised: bool, **options: Any) -> None:
    """Cross-validate the head on the pictures in --data_dir, and train it as `train --dataset folder` does.

    The page Teach of the dashboard starts this command. It takes neither --preset nor --model baseline.
    """
    if supervised:
        end_with_starter()
    settings = photo_config({**options, "dataset": "folder"})
    if settings is None:
        raise UserError("teach needs --data_dir, and takes neither --preset nor --model baseline.")
    config, reason = settings
    from transfer_utils.experiment.teach import teach as measure_and_train

    with reporting(quiet) as (_, log):
        log(reason)
        run = measure_and_train(config, log=log)
        log(f"Recorded in {run.path}.")
