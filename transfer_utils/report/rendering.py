"""How the templates of the report are filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2


def environment(**options: Any) -> jinja2.Environment:
    """Return Jinja's environment of the templates of the report; what they write is escaped only on request."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    options |= {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(loader=loader, **options)


def tidy(text: str) -> str:
    """Return Markdown without the blank lines that the parts of a template leave which do not apply."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
