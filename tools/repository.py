"""The address of the repository, ``Repository`` of ``[project.urls]``: badges, notebooks and the site follow it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BRANCH = "main"
UNKNOWN = "<address of this repository>"  # stands in the README as long as there is no address


def read_project(root: Path) -> dict[str, Any]:
    """Return the content of ``pyproject.toml``."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def repository_address(project: dict[str, Any]) -> str:
    """Return the address in a parsed ``pyproject.toml``, or an empty string if it has none."""
    return project["project"].get("urls", {}).get("Repository", "")
