"""A command in a process of its own that cannot outlive whoever started it, even when that is killed.

The starter holds one end of a pipe, the child listens at the other: the system closes it whatever ends the starter.
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

GRACE_SECONDS = 30.0  # seconds in which a child may close its record before it is ended

PROGRAM = ("-m", "transfer_utils")  # what Python runs: the command line

_children: dict[subprocess.Popen, str] = {}


def run_child(
    arguments: Sequence[str],
    folder: str,
    program: Sequence[str] = PROGRAM,
    without: Sequence[str] = (),
    owner: str = "",
) -> tuple[int, str]:
    """Run the command line with these arguments and wait for its end.

    Args:
        arguments: what follows ``transfer-utils``; the command must call ``end_with_starter``.
        folder: where it runs, so that relative paths mean what they mean to the caller.
        without: environment variables that it is not to have.
        owner: by what ``stop_children`` knows it.

    Returns:
        Its exit status, negative for a signal, and the last line it wrote to the error stream.
    """
    environment = {name: value for name, value in os.environ.items() if name not in without}
    with tempfile.TemporaryFile() as said:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": said}
        with subprocess.Popen([sys.executable, *program, *arguments], cwd=folder, env=environment, **pipes) as child:
            _children[child] = owner
            status = child.wait()
            del _children[child]
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").split("\n")
    return status, next((line.strip() for line in reversed(lines) if line.strip()), "")


def stop_children(owner: str) -> None:
    """Let the children of this process that are ``owner``'s end as if this process had."""
    for child in [child for child, other in _children.items() if other == owner]:
        child.stdin.close()


def end_with_starter() -> None:
    """From now on end this process when its standard input closes: as SIGTERM would, and if need be, at once."""

    def watch() -> None:
        while os.read(sys.__stdin__.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
