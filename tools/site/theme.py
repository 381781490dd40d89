"""Mend the theme's pages: icons without its script of 1.5 MB, no words in the console, a name for each fold."""

from __future__ import annotations

import re
from pathlib import Path

SCRIPT = "_static/scripts/fontawesome.js"
ICON = re.compile(r'<(i|span) class="([^"]*\bfa-[^"]*)"([^>]*)></\1>')
LOADED = re.compile(r"\s*<(?:script|link)\b[^>]*fontawesome\.js[^>]*>(?:</script>)?")
FOLD = '<summary><span class="toctree-toggle"'
# Their names would be others than the texts on them, such as "Search Ctrl + K", by which one calls them when speaking.
NAMED = re.compile(
    r'(<button class="btn search-button-field[^>]*?|<summary) aria-label="(?:Search|Toggle hidden content)"'
)
LOGGED = 'console.log("[PST]'  # in a page itself
STYLES = {"fa-solid", "fa-regular", "fa-brands", "fa-lg", "fa-fw"}  # class names that are not the name of an icon


def mend_theme(site: Path) -> None:
    """Replace the icons of every page by drawings and remove their script, silence the others, name folds and search.

    Raises:
        ValueError: the script lacks an icon that a page shows.
    """
    library = (site / SCRIPT).read_text("utf-8")
    drawings: dict[str, str] = {}

    def drawn(match: re.Match) -> str:
        names = [name for name in match[2].split() if name.startswith("fa-") and name not in STYLES]
        if names[0] not in drawings:  # looked for once: the library has 1.5 MB
            drawings[names[0]] = _drawing(names[0].removeprefix("fa-"), library)
        return f'<svg class="svg-inline--fa {match[2]}" aria-hidden="true"{match[3]} {drawings[names[0]]}</svg>'

    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        text = text.replace(FOLD, FOLD.replace("<summary>", '<summary aria-label="Show the pages below">'))
        text = NAMED.sub(r"\1", text).replace(LOGGED, LOGGED.replace("console.log", "void"))
        path.write_text(LOADED.sub("", ICON.sub(drawn, text)), "utf-8")
    for path in (site / SCRIPT).parent.glob("fontawesome.js*"):
        path.unlink()
    for path in (site / SCRIPT).parent.glob("*.js"):  # which tell the console what they do
        path.write_text(path.read_text("utf-8").replace("console.log(", "void("), "utf-8")


def _drawing(name: str, library: str) -> str:
    """Return the attributes and the content of an SVG element; of several styles, the solid one comes last."""
    pattern = rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]'
    icons = re.findall(pattern, library)
    if not icons:
        raise ValueError(f"{SCRIPT} has no icon {name!r}.")
    width, height, path = icons[-1]
    return f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"/>'
