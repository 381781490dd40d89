"""Errors that the command line shows as one message, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """An error that the user can fix: a wrong option, a missing file, a file that is not an image. Exit status 2."""


class Diverged(ArithmeticError):
    """The loss is not finite any more, usually because a learning rate is too high. Exit status 2."""


def nearest(name: Any, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` with the known name closest to ``name``, or ``""`` if none is close."""
    if not isinstance(name, str) or len(name) > 80:  # a long text would take seconds to compare
        return ""
    by_lowercase = {item.lower(): item for item in known}
    matches = difflib.get_close_matches(name.lower(), by_lowercase, n=1)
    return f" Did you mean {by_lowercase[matches[0]]!r}?" if matches else ""
