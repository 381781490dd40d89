"""Ctrl-C and other signals that end a process, raised only where TensorFlow is not in the middle of something.

Python raises the exception of a signal at the next bytecode of the main thread, wherever that is. Inside TensorFlow
this can be a function that was called from C++, which then crashes or reports an error of its own. So a signal that
arrives there waits: for ``end_if_asked``, which is called between two steps, or until the main thread has left it.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

LOOK_SECONDS = 0.05  # between two looks at what the main thread does
# After this time the exception is raised wherever it may be: some systems kill what has not ended soon (Docker: 10 s).
PATIENCE_SECONDS = 5.0

Ends = Mapping[int, Callable[[], BaseException]]


class _Signals:
    """The signals that this process handles, and the one that waits."""

    def __init__(self) -> None:
        self.ends: Ends = {}
        self.waiting: int | None = None
        self._since, self._looking = 0.0, False

    def handle(self, number: int, frame: FrameType | None) -> None:
        again, self._looking = self._looking, False
        if self.waiting is None:
            self.waiting, self._since = number, time.monotonic()
        elif not again:  # somebody who asks twice does not want to wait
            self.end()
        if not _in_tensorflow(frame) or time.monotonic() - self._since > PATIENCE_SECONDS:
            self.end()
        timer = threading.Timer(LOOK_SECONDS, self._look)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        number, self.waiting = self.waiting, None
        raise self.ends[number]()

    def _look(self) -> None:
        if self.waiting is not None:
            self._looking = True
            # Either calls ``handle`` in the main thread; only the first wakes it from a sleep.
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident, self.waiting)
            else:
                _thread.interrupt_main(self.waiting)


_signals = _Signals()


def end_on(ends: Ends) -> None:
    """From now on, end the process by these exceptions on these signals, for the rest of its life.

    Args:
        ends: what makes the exception of each signal. Signals that are ignored, as under ``nohup``, stay ignored.
    """
    _signals.ends = ends
    for number in ends:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _signals.handle)


def end_if_asked() -> None:
    """Raise the exception of a signal that waits, if there is one; to be called between two steps."""
    if _signals.waiting is not None:
        _signals.end()


def _in_tensorflow(frame: FrameType | None) -> bool:
    """Return whether a function of TensorFlow is among those that have been called and have not returned."""
    while frame:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "tensorflow":
            return True
        frame = frame.f_back
    return False
