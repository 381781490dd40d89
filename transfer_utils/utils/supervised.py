"""Run a command in a child process that ends when its parent ends, even if the parent is killed.

The parent holds one end of a pipe and the child reads the other; the system closes the pipe when the parent ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from transfer_utils.utils import interrupts

GRACE_SECONDS = 30.0  # time for a child to finish its record before it is ended

PROGRAM = ("-m", "transfer_utils")  # the arguments of Python that start the command line

_children: dict[subprocess.Popen, str] = {}


def run_child(
    arguments: Sequence[str],
    folder: str,
    program: Sequence[str] = PROGRAM,
    without: Sequence[str] = (),
    owner: str = "",
) -> tuple[int, str]:
    """Run the command line in a child process and wait for it to end.

    Args:
        arguments: the arguments of ``transfer-utils``; the command must call ``end_with_starter``.
        folder: the working directory, so that relative paths mean the same as for the caller.
        program: the arguments of Python before ``arguments``.
        without: environment variables to remove.
        owner: a name with which ``stop_children`` can stop it.

    Returns:
        The exit status (negative for a signal) and the last line of standard error.
    """
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment["PYTHONIOENCODING"] = "utf-8"  # into a file, Windows would write in the encoding of the system
    with tempfile.TemporaryFile() as errors:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": errors}
        with subprocess.Popen([sys.executable, *program, *arguments], cwd=folder, env=environment, **pipes) as child:
            _children[child] = owner
            status = child.wait()
            del _children[child]
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").split("\n")
    return status, next((line.strip() for line in reversed(lines) if line.strip()), "")


def stop_children(owner: str) -> None:
    """Stop the children of this process that were started with this ``owner``."""
    for child in [child for child, name in list(_children.items()) if name == owner]:
        child.stdin.close()


def end_with_starter() -> None:
    """Watch standard input from now on; when it closes, send SIGTERM to this process, and exit after a grace time."""

    def watch() -> None:
        while os.read(sys.__stdin__.fileno(), 1024):
            pass
        interrupts.send_to_main_thread(signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
