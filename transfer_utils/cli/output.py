"""How the commands print."""

from __future__ import annotations

from functools import partial

import click

from transfer_utils.utils.text import as_lines


def echo(text: str, err: bool = False) -> None:
    """Print text that may hold the names of files and classes, with their control characters as escapes."""
    click.echo(as_lines(text), err=err)


log_error = partial(echo, err=True)
