"""How templates are filled in: those of the report, of the page of runs and of the demo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def environment(folder: Path = TEMPLATES, **options: Any) -> jinja2.Environment:
    """Return Jinja's environment of the templates in a folder; what they write is escaped only on request."""
    options |= {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), **options)


def tidy(text: str) -> str:
    """Return Markdown without the blank lines that the parts of a template leave which do not apply."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
