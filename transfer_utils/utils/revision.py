"""The revision of the source code: the commit of the checkout, and whether the package was edited since."""

from __future__ import annotations

import subprocess
from pathlib import Path

from transfer_utils.utils.project import PACKAGE


def source_revision(package: Path = PACKAGE) -> dict[str, str | bool]:
    """Return ``commit``, 40 hex digits, and ``changed``, whether files of the package differ from that commit.

    Returns an empty dictionary where the package is not part of a git checkout, or git is not installed.
    """
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")  # not just any repository around the package
        commit = _git(package, "rev-parse", "HEAD").strip()
        return {"commit": commit, "changed": bool(_git(package, "status", "--porcelain", "--", ".").strip())}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    # A supervised run waits for the end of its standard input; Windows would not let git, which inherits it, begin.
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True}
    return subprocess.run(command, **pipes, text=True, check=True, timeout=20).stdout
