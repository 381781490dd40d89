"""The entry point of the command line: it runs a command and turns errors into messages and exit statuses."""

from __future__ import annotations

import errno
import signal
import sys
import traceback
import warnings

import click

from transfer_utils.cli.commands import cli
from transfer_utils.errors import Diverged, UserError

USER_ERROR, MACHINE_ERROR, INTERRUPTED, TERMINATED = 2, 1, 130, 143


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    For the rest of the process, SIGTERM raises ``SystemExit``, warnings are one line each, and standard output and
    error escape characters that they cannot encode.

    Returns:
        0: success; 1: an error of the machine; 2: an error of the user; 130: Ctrl-C; 143: SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    warnings.formatwarning = lambda message, *location, **line: f"Warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file name may have undecodable bytes
    try:
        cli.main(arguments, prog_name="transfer-utils", standalone_mode=False)
        return 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted(INTERRUPTED)
    except SystemExit as stop:
        return _interrupted(TERMINATED) if stop.code == TERMINATED else int(stop.code or 0)
    except click.ClickException as error:
        error.show()
        return USER_ERROR
    except (UserError, Diverged) as error:
        return _failed(error, str(error), USER_ERROR, arguments)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _failed(error, f"The file name is too long: {error.filename}", USER_ERROR, arguments)
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        return _failed(error, f"{reason} (--debug shows the traceback)", MACHINE_ERROR, arguments)


def _interrupted(status: int) -> int:
    click.echo("Interrupted. Run the same command again to continue.", err=True)
    return status


def _failed(error: Exception, message: str, status: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(f"Error: {message}", err=True)
    return status
