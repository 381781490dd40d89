"""How ``pytest --nbval-lax`` runs these notebooks: a dead kernel is noticed at once, and what may differ is blanked."""

import time
from pathlib import Path
from queue import Empty

import pytest

SANITISE = Path(__file__).parents[1] / "tests" / "notebooks" / "sanitise.cfg"
LOOK = 1.0  # seconds between looks at the kernel; nbval itself waits for the whole timeout of a cell


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not (config.getoption("nbval", False) or config.getoption("nbval_lax", False)):
        return
    from nbval.kernel import RunningKernel

    config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(SANITISE)
    RunningKernel.get_message = _watched(RunningKernel.get_message)


def _watched(get_message):
    def get_message_or_raise(kernel, stream, timeout=None):
        """Wait for a message in short steps.

        Raises:
            RuntimeError: the kernel has died.
            queue.Empty: no message came within ``timeout`` seconds.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                return get_message(kernel, stream, timeout=min(LOOK, max(0.0, deadline - time.monotonic())))
            except Empty:
                if not kernel.is_alive():
                    raise RuntimeError("The kernel died.") from None
                if time.monotonic() >= deadline:
                    raise

    return get_message_or_raise
