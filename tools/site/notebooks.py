"""Notebooks as pages of the site: cells hidden by tag, solutions folded away, links moved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tools.site.links import Links, StageError

CHAPTERS, EXERCISES, SOLUTIONS = "notebooks", "notebooks/exercises", "notebooks/solutions"
READING = re.compile(r"(?:Reading\W*(?:about )?(\d+) minutes)|(?:(\d+) minutes to read)")
ONLY_FOR_TESTS = re.compile(r"finish\(.*\)\s*$")  # prints the line by which the tests know a notebook's end


class Chapter(NamedTuple):
    """A notebook of the course: its path in the repository, its title, and the minutes that reading it takes."""

    path: str
    title: str
    minutes: int


def chapters(root: Path) -> list[Chapter]:
    """Return the chapters of the course in order.

    Raises:
        StageError: a notebook does not begin with its title, or does not say how long reading it takes.
    """
    chapters = []
    for path in sorted((root / CHAPTERS).glob("[0-9]*.ipynb")):
        first = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
        title, minutes = re.match(r"# (.+)", first), READING.search(first)
        if not title or not minutes:
            raise StageError(f"{path}: the first cell must hold the title and the minutes of reading.")
        chapters.append(Chapter(path.relative_to(root).as_posix(), title[1], int(minutes[1] or minutes[2])))
    return chapters


def staged_notebook(text: str, path: str, links: Links, children: dict[str, str] | None = None) -> str:
    """Return a notebook, as JSON, as the site shows it.

    Args:
        path: its path in the repository, which is also its path on the site.
        children: the pages below it in the navigation, by title.
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source, tags = "".join(cell["source"]), set(cell["metadata"].get("tags", []))
        if cell["cell_type"] == "markdown":
            source = links.moved(source, path, path)
            if "solution" in tags:
                source = f"<details><summary>Discussion</summary>\n\n{source}\n\n</details>"
        elif ONLY_FOR_TESTS.match(source):
            tags.add("remove-cell")
        elif tags & {"solution", "check"}:
            tags.add("hide-input")
            what = "solution" if "solution" in tags else "check"
            cell["metadata"]["mystnb"] = {
                "code_prompt_show": f"Show the {what}",
                "code_prompt_hide": f"Hide the {what}",
            }
        cell["source"] = source
        if tags:
            cell["metadata"]["tags"] = sorted(tags)
    if path.startswith(f"{SOLUTIONS}/"):
        first = notebook["cells"][0]
        first["source"] = re.sub("^# Exercises", "# Solutions", first["source"])
    if children:
        lines = [f"{title} <{target}>" for title, target in children.items()]
        tree = "\n".join(["```{toctree}", ":hidden:", "", *lines, "```"])
        notebook["cells"].append({"cell_type": "markdown", "id": "pages-below", "metadata": {}, "source": tree})
    return json.dumps(notebook, ensure_ascii=False)


def glossary(root: Path, course: Iterable[Chapter], links: Links, target: str) -> str:
    """Return the course's glossary as a page of its own: the cell of a chapter that begins with that heading.

    Raises:
        StageError: no chapter has such a cell.
    """
    for chapter in course:
        cells: list[dict[str, Any]] = json.loads((root / chapter.path).read_text("utf-8"))["cells"]
        for cell in cells:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown" and source.startswith("## Glossary"):
                return links.moved(source.removeprefix("#"), chapter.path, target)
    raise StageError("No chapter has a cell that begins with '## Glossary'.")
