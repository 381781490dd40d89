"""The one error a user can cause, and the only one whose text is shown without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can put right: a wrong option, a missing file, a picture that is none. Exit status 2."""


class Diverged(ArithmeticError):
    """The loss is no longer a finite number: a learning rate is too high. Exit status 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    spelled = {item.lower(): item for item in known}
    match = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f" Did you mean {spelled[match[0]]!r}?" if match else ""
