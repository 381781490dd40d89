"""Wait for what another process or thread does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

MAX_SECONDS = 300  # on a busy machine; within those that pytest gives a test

T = TypeVar("T")


def wait_for(condition: Callable[[], T], process: subprocess.Popen | None = None) -> T:
    """Wait until ``condition`` returns something true, and return that.

    The report of a failed test shows what ``process`` wrote to its standard error, unless that was redirected.

    Raises:
        AssertionError: ``process`` ended first, or nothing came of it in time; then ``process`` is killed.
    """
    deadline = time.monotonic() + MAX_SECONDS
    while True:
        ended = process is not None and process.poll() is not None
        if result := condition():
            return result
        assert not ended, f"the process ended first, with status {process.returncode}"
        if time.monotonic() > deadline:
            if process is not None:
                process.kill()
            raise AssertionError(f"it did not happen within {MAX_SECONDS} s")
        time.sleep(0.02)
