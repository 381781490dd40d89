"""The page about a folder of pictures: self-contained HTML with thumbnails; every name in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_utils.report.rendering import environment


def inspection_page(found: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        found: ``folder``; ``summary``, ``notes`` and ``unreadable``, each a list of sentences; ``counts``, ``sizes``
            and ``modes``, each a list of rows of a table, the header first; ``sections``, each with a ``title``, a
            ``text`` and ``groups`` of ``pictures`` (``name``, ``place`` and ``image``, a data URI) with the number
            of those that are not ``shown``.
    """
    return environment(autoescape=True).get_template("inspection.html.j2").render(found)
