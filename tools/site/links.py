"""Links of Markdown text, moved from a file's place in the repository to its place on the site."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.repository import BRANCH, UNKNOWN, read_project, repository_address

# The text of a link can itself be a picture.
LINK = re.compile(r"(!?)\[((?:!\[[^\]]*\]\([^)\s]+\)|[^\]])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$)", re.DOTALL | re.MULTILINE)
PICTURES = (".png", ".svg", ".jpg")


class StageError(Exception):
    """A source of the site is not as it must be; the message names it."""


@dataclass(frozen=True)
class Repository:
    """Where the sources are published; an empty ``url`` if that is not known."""

    url: str = ""
    branch: str = BRANCH

    @classmethod
    def of_project(cls, root: Path) -> Repository:
        """Return the address in ``[project.urls]`` of pyproject.toml, or of the repository whose workflow this is."""
        workflow = "/".join(os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
        return cls((repository_address(read_project(root)) or workflow).strip("/"))

    def filled(self, text: str) -> str:
        """Return text with the address of the repository in place of what stands for it while it is not known."""
        return text.replace(UNKNOWN, self.url) if self.url else text

    def address(self, path: str, is_folder: bool) -> str:
        return f"{self.url}/{'tree' if is_folder else 'blob'}/{self.branch}/{path}"


@dataclass
class Links:
    """What the links of the staged files can lead to."""

    root: Path  # of the repository
    # For each file that becomes a page its path below the staged folder; ``README.md#section`` is a section of it.
    pages: Mapping[str, str]
    repository: Repository = Repository()
    pictures: set[str] = field(default_factory=set)  # shown by staged files: paths in the repository, from ``moved``

    def moved(self, text: str, source: str, target: str) -> str:
        """Return Markdown from the file ``source`` of the repository as it must read in the staged file ``target``.

        A link to another page leads to that page. A link to another file leads to the repository, if its address is
        known, or else becomes plain text. A picture from another site becomes its alternative text, because the site
        loads nothing from elsewhere.

        Raises:
            StageError: a link leads to a file that does not exist.
        """
        parts = FENCED.split(text)
        for index in range(0, len(parts), 2):
            parts[index] = LINK.sub(lambda match: self._moved_link(match, source, target), parts[index])
        return "".join(parts)

    def _moved_link(self, match: re.Match, source: str, target: str) -> str:
        mark, text, address = match[1], self.moved(match[2], source, target), match[3]
        if address.startswith(("http:", "https:", "mailto:")):
            return text if mark else f"[{text}]({address})"
        if address.startswith(("#", "data:")):
            return f"{mark}[{text}]({address})"
        path, _, anchor = address.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        here = posixpath.dirname(target) or "."
        if f"{file}#{anchor}" in self.pages:
            return f"[{text}]({posixpath.relpath(self.pages[f'{file}#{anchor}'], here)})"
        if file in self.pages:
            return f"[{text}]({posixpath.relpath(self.pages[file], here)}{'#' + anchor if anchor else ''})"
        if not (self.root / file).exists():
            raise StageError(f"{source} links to {address}, which does not exist.")
        if mark and file.endswith(PICTURES):
            self.pictures.add(file)
            return f"![{text}]({posixpath.relpath(file, here)})"
        if not self.repository.url:
            return text
        return f"[{text}]({self.repository.address(file, (self.root / file).is_dir())})"
