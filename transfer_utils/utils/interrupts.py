"""Ctrl-C and other signals that end a process, raised where TensorFlow and Keras are not in the middle of something.

Python raises the exception of a signal at the next bytecode of the main thread, wherever that is. Inside TensorFlow
this can be a function that was called from C++, which then crashes or reports an error of its own; Keras has places
that catch every exception and go on. So a signal that arrives there is pending: until ``raise_pending`` is called,
between two steps, or until the main thread has left both. A second Ctrl-C, or the end of ``PATIENCE_SECONDS``, raises
it in any place.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

CHECK_SECONDS = 0.05  # between two checks of what the main thread does
# Some systems kill what has not ended ten seconds after they asked it to (Docker), and a step can take some of them.
PATIENCE_SECONDS = 5.0
ONE_PRESS_SECONDS = 0.5  # a second signal that comes sooner belongs to the same key press

Exceptions = Mapping[int, Callable[[], BaseException]]


def handle_signals(exceptions: Exceptions) -> None:
    """From now on, for the rest of the life of the process, raise these exceptions on these signals.

    Args:
        exceptions: what makes the exception of each signal. Ignored signals, as under ``nohup``, stay ignored.
    """
    _signals.exceptions = exceptions
    for number in exceptions:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _signals.handle)


def raise_pending() -> None:
    """Raise the exception of the pending signal, if there is one; to be called between two steps."""
    if _signals.pending is not None:
        _signals.end()


def send_to_main_thread(number: int) -> None:
    """Send a signal to the main thread of this process, whose handler then runs there.

    Windows has no such signals: ``os.kill`` would end the process without its handler.
    """
    # Either calls the handler in the main thread; only the first wakes it from a sleep.
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)


class _Signals:
    """The signals that this process handles, and the pending one."""

    def __init__(self) -> None:
        self.exceptions: Exceptions = {}
        self.pending: int | None = None
        self._since, self._checking = 0.0, False

    def handle(self, number: int, frame: FrameType | None) -> None:
        checking, self._checking = self._checking, False
        first = self.pending is None
        if first and checking:  # the main thread has raised the exception meanwhile
            return
        if first:
            self.pending, self._since = number, time.monotonic()
        waited = time.monotonic() - self._since
        pressed_again = number == signal.SIGINT and not checking and waited > ONE_PRESS_SECONDS
        if pressed_again or waited > PATIENCE_SECONDS or not _in_libraries(frame):
            self.end()
        if first and number == signal.SIGINT and os.isatty(2):
            os.write(2, b"\nStopping after this step. Ctrl-C again stops at once.\n")
        if first or checking:
            timer = threading.Timer(CHECK_SECONDS, self._check_again)
            timer.daemon = True
            timer.start()

    def end(self) -> None:
        number, self.pending = self.pending, None
        raise self.exceptions[number]()

    def _check_again(self) -> None:
        if (number := self.pending) is None:
            return
        self._checking = True
        send_to_main_thread(number)


_signals = _Signals()


def _in_libraries(frame: FrameType | None) -> bool:
    """Return whether a function of TensorFlow or Keras is among those that have been called and have not returned."""
    while frame:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in ("tensorflow", "keras"):
            return True
        frame = frame.f_back
    return False
