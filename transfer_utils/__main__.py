"""The program ``transfer-utils``, and ``python -m transfer_utils``."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return its exit status; Ctrl-C ends it without a traceback from the first moment on."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell had it ignored
    try:
        if default:
            # While the command line is imported, an exception could end up in the middle of any library.
            signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
        from transfer_utils.cli.main import main as run

        if default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:  # before or after what ``run`` handles itself
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
