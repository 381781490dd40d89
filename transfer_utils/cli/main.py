"""The entry point of the command line: it runs a command and turns errors into messages and exit statuses."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress

import click

from transfer_utils.cli.commands import cli
from transfer_utils.errors import Diverged, UserError
from transfer_utils.utils import disk, interrupts
from transfer_utils.utils.text import as_lines

RESUMING = {"train", "compare", "sweep", "course", "teach"}  # commands that continue where they were interrupted

USER_ERROR, MACHINE_ERROR, HUNG_UP, INTERRUPTED, TERMINATED = 2, 1, 129, 130, 143


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    For the rest of the process, Ctrl-C raises ``KeyboardInterrupt``, and SIGTERM and SIGHUP (a terminal that is closed)
    raise ``SystemExit``, if possible between two calls of TensorFlow (``utils.interrupts``); warnings are one line
    each, and standard output and error escape characters that they cannot encode.

    Returns:
        0: success; 1: an error of the machine; 2: an error of the user; 129: SIGHUP; 130: Ctrl-C; 143: SIGTERM.
    """
    arguments = [_at_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    _end_on_signals()
    warnings.formatwarning = lambda message, *location, **line: f"Warning: {as_lines(str(message))}\n"
    warnings.filterwarnings("ignore", module="PIL")  # damaged EXIF of a picture that can be read, without its name
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file name may have undecodable bytes
    try:
        cli.main(arguments, prog_name="transfer-utils", standalone_mode=False)
        return 0
    except (click.exceptions.Abort, KeyboardInterrupt) as stop:
        if isinstance(stop.__cause__, EOFError):  # a file that ends too early, which Click takes for Ctrl-D
            return _machine_failed(stop.__cause__, arguments)
        return _interrupted(INTERRUPTED, arguments)
    except SystemExit as stop:
        return _interrupted(stop.code, arguments) if stop.code in (HUNG_UP, TERMINATED) else int(stop.code or 0)
    except click.ClickException as error:
        error.message = as_lines(error.message + _hint(error))
        error.show()
        return USER_ERROR
    except (UserError, Diverged) as error:
        return _failed(error, str(error), USER_ERROR, arguments)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _failed(error, f"The file name is too long: {error.filename}", USER_ERROR, arguments)
        return _machine_failed(error, arguments)


def _at_home(word: str) -> str:
    """Replace ``~`` in an option such as ``--runs=~/runs``, which a shell leaves as it is after an equals sign."""
    name, equals, value = word.partition("=")
    return name + equals + os.path.expanduser(value) if name.startswith("--") else word


def _hint(error: click.ClickException) -> str:
    """Return what to do about an option that does not exist; a likely name is one of Click's own hints."""
    if not isinstance(error, click.NoSuchOption) or error.possibilities:
        return ""
    if not error.option_name.startswith("--"):
        return " Options begin with two hyphens, such as --preset."
    if error.ctx and error.ctx.parent is None:
        return f" Options follow a command: transfer-utils train {error.option_name}."
    return ""


def _end_on_signals() -> None:
    ends = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: lambda: SystemExit(TERMINATED)}
    if hasattr(signal, "SIGHUP"):  # Windows has none
        ends[signal.SIGHUP] = lambda: SystemExit(HUNG_UP)
    interrupts.handle_signals(ends)


def _interrupted(status: int, arguments: list[str]) -> int:
    resumes = bool(arguments) and arguments[0] in RESUMING
    advice = " Run the same command again to continue." if resumes else ""
    with suppress(OSError):  # the terminal may be gone
        click.echo(f"Interrupted.{advice}", err=True)
    return status


def _machine_failed(error: Exception, arguments: list[str]) -> int:
    reason = disk.explain(error) if isinstance(error, OSError) else ""
    reason = reason or f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
    return _failed(error, f"{reason} (--debug shows the traceback)", MACHINE_ERROR, arguments)


def _failed(error: Exception, message: str, status: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(f"Error: {as_lines(message)}", err=True)
    return status
