"""The page about a folder of pictures: self-contained HTML with thumbnails; every name in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from transfer_utils.report.cards import TEMPLATES

TEMPLATE = "inspection.html.j2"


def inspection_page(found: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        found: ``folder``; ``summary``, ``notes`` and ``unreadable``, each a list of sentences; ``counts``, ``sizes``
            and ``modes``, each a list of rows of a table, the header first; ``sections``, each with a ``title``, a
            ``text`` and ``groups`` of ``pictures`` (``name``, ``place`` and ``image``, a data URI) with the number
            of those that are not ``shown``.
    """
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE).render(found)
