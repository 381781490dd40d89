"""How ``pytest --nbval`` runs these notebooks.

The preset is ``offline`` unless the environment names another one, and unanswered exercises are left out. A dead kernel
is noticed at once, what may differ is blanked, and TensorFlow's warning that a cell makes it trace functions again and
again fails the session, also where the outputs of that cell are not compared.
"""

import os
import time
from pathlib import Path
from queue import Empty

import pytest

SANITISE = Path(__file__).parents[1] / "tests" / "notebooks" / "sanitise.cfg"
RETRACING = "retracing"  # a word of TensorFlow's warning
WARNINGS = pytest.StashKey[list[str]]()
LOOK = 1.0  # seconds between looks at the kernel; nbval itself waits for the whole timeout of a cell

collect_ignore = ["exercises"]  # their checks are meant to fail until somebody has answered


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not (config.getoption("nbval", False) or config.getoption("nbval_lax", False)):
        return
    from nbval.kernel import RunningKernel

    from transfer_utils.course.notebook import PRESET_VARIABLE

    config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(SANITISE)
    config.stash[WARNINGS] = []
    os.environ.setdefault(PRESET_VARIABLE, "offline")
    RunningKernel.get_message = _watched(RunningKernel.get_message, config.stash[WARNINGS])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(WARNINGS, []):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for warning in config.stash.get(WARNINGS, []):
        terminalreporter.write_line(f"A cell makes TensorFlow trace functions again and again: {warning}", red=True)


def _watched(get_message, warnings: list[str]):
    def get_message_or_raise(kernel, stream, timeout=None):
        """Wait for a message in short steps.

        Raises:
            RuntimeError: the kernel has died.
            queue.Empty: no message came within ``timeout`` seconds.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                message = get_message(kernel, stream, timeout=min(LOOK, max(0.0, deadline - time.monotonic())))
            except Empty:
                if not kernel.is_alive():
                    raise RuntimeError("The kernel died.") from None
                if time.monotonic() >= deadline:
                    raise
                continue
            text = message["content"].get("text", "") if message["msg_type"] == "stream" else ""
            if RETRACING in text:
                warnings.append(text)
            return message

    return get_message_or_raise
