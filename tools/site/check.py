"""Check the built site: every link inside leads somewhere, nothing is loaded from elsewhere, and pages are light."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

MAX_FRONT_PAGE, MAX_PAGE = 1_000_000, 3_000_000  # bytes of a page with everything that it loads, without compression

TAG = re.compile(r"<([a-z][a-z0-9]*)\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
ATTRIBUTE = re.compile(r"""([a-z][a-z-]*)=(?:"([^"]*)"|'([^']*)')""")


class Result(NamedTuple):
    """What a check found: the number of pages, the problems as sentences, and the addresses on other sites."""

    pages: int
    problems: list[str]
    outside: list[str]


class Page:
    """The targets, links and resources of one page."""

    def __init__(self, text: str) -> None:
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        # A full HTML parser would take minutes for pages with pictures inside.
        for tag, attributes in TAG.findall(text):
            self._read(tag, {name: html.unescape(a or b) for name, a, b in ATTRIBUTE.findall(attributes)})

    def _read(self, tag: str, values: dict[str, str]) -> None:
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.anchors |= {f"run:{values['data-key']}"} if tag == "th" and "data-key" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and set(values.get("rel", "").split()) & {"stylesheet", "preload", "icon", "shortcut"}:
            self.resources.append(values.get("href", ""))
        if "src" in values and not values["src"].startswith("data:"):
            self.resources.append(values["src"])


def check(site: Path) -> Result:
    """Read every page of a site and return what was found."""
    files = sorted(path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)
    pages = {path.relative_to(site).as_posix(): Page(path.read_text("utf-8")) for path in files}
    problems, outside = [], set()
    for name, page in pages.items():
        problems += [f"{name} loads {each}, which is on another site." for each in page.resources if _is_outside(each)]
        local = [each for each in page.resources if not _is_outside(each)]
        for resource in local:
            if not (site / _target(name, resource)).is_file():
                problems.append(f"{name} loads {resource}, which does not exist.")
        outside |= {link for link in page.links if _is_outside(link)}
        for link in (link for link in page.links if not _is_outside(link)):
            problems += _broken(name, link, pages, site)
        size, limit = _weight(site, name, local), MAX_FRONT_PAGE if name == "index.html" else MAX_PAGE
        if size > limit:
            problems.append(f"{name} and what it loads take {size:,} bytes; at most {limit:,} are allowed.")
    return Result(len(pages), problems, sorted(outside))


def link_report(answers: Iterable[dict[str, Any]]) -> str:
    """Return in words what Sphinx found about the links to other sites.

    Args:
        answers: of ``linkcheck``: for each link its ``uri``, ``status``, ``filename``, ``lineno``, and ``info``, which
            gives the reason if it is broken.
    """
    asked = [answer for answer in answers if answer["status"] not in ("local", "ignored", "unchecked")]
    broken = [answer for answer in asked if answer["status"] in ("broken", "timeout")]
    if broken and len(broken) == len(asked):
        return f"Error: none of the {len(asked)} links to other sites answered. Is this machine without a network?"
    lines = [f"{each['filename']}: {each['uri']} is {each['status']}: {each['info']}" for each in broken]
    return "\n".join([*lines, f"{len(asked) - len(broken)} of {len(asked)} links to other sites answered."])


def _broken(name: str, link: str, pages: dict[str, Page], site: Path) -> Iterator[str]:
    """Yield a sentence if a link inside the site leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme or link in ("", "#"):  # mailto, data, or a button
        return
    target, anchor = _target(name, link), unquote(parts.fragment)
    if target not in pages:
        if not (site / target).exists():
            yield f"{name} links to {link}, which does not exist."
    elif anchor.startswith("runs="):
        absent = [run for run in parse_qs(anchor)["runs"][0].split(",") if f"run:{run}" not in pages[target].anchors]
        if absent:
            yield f"{name} links to runs that {target} does not show: {', '.join(absent)}."
    elif anchor and anchor not in pages[target].anchors:
        yield f"{name} links to {link}, but {target} has no such place."


def _weight(site: Path, name: str, resources: list[str]) -> int:
    """Return the bytes of a page, its scripts, style sheets and pictures; fonts load on demand and are left out."""
    loaded = {name} | {_target(name, resource) for resource in resources}
    return sum((site / each).stat().st_size for each in loaded if (site / each).is_file())


def _target(page: str, address: str) -> str:
    path = unquote(urlsplit(address).path)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    return posixpath.join(target, "index.html") if path.endswith("/") else target


def _is_outside(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))
