"""Take screenshots of every page, light and dark, wide and narrow, for inspection and for the README.

``python -m tests.dashboard.screenshots OUT [--runs FOLDER] [--chosen NAME ...]`` shows sample runs without ``--runs``.
``--readme`` takes only the two screenshots of the README (``make pictures``).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.dashboard.server import chromium, served
from tests.samples import write_samples, write_study

PAGES = ("Runs", "Compare", "One run", "One run&part=Test split", "One run&part=Options")
PAGES += ("One run&part=Files", "Mistakes", "Study", "Try it", "Teach")
README_PAGES, README_HEIGHT, COLOURS = ("Runs", "Compare"), 760, 128
WIDTHS, THEMES, MAX_HEIGHT = (1440, 800, 390), ("light", "dark"), 6000
DRAWN = """() => !document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')
    && [...document.images].every(image => image.complete)
    && [...document.querySelectorAll('.chart')]
        .every(chart => !chart.offsetParent || chart.querySelector('.main-svg'))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the screenshots")
    parser.add_argument("--runs", help="folder of runs (default: sample runs)")
    parser.add_argument("--chosen", nargs="*", default=[], help="runs to compare; the first one is opened")
    parser.add_argument("--readme", action="store_true", help="take only the two screenshots of the README, compressed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as samples:
        if not options.runs:
            write_study(write_samples(Path(samples)) / "study")
            options.chosen = ["depth-30-0", "depth-10-0", "baseline-0", "depth-60-0"]
        with served(options.runs or samples) as (address, _), chromium() as browser:
            for page, width, theme in itertools.product(PAGES, WIDTHS, THEMES) if not options.readme else ():
                name = page.lower().replace("&part=", "-").replace(" ", "-")
                path = options.out / f"dashboard-{name}-{width}-{theme}.png"
                take(browser, _address(address, page, options.chosen), width, theme, path)
            for page in README_PAGES if options.readme else ():
                path = options.out / f"dashboard_{page.lower()}.png"
                take(browser, _address(address, page, options.chosen), WIDTHS[0], "light", path, README_HEIGHT)
                _shrink(path)


def take(browser: Browser, address: str, width: int, theme: str, path: Path, max_height: int = MAX_HEIGHT) -> None:
    """Save a screenshot of a page in the light or the dark theme.

    Args:
        width: in pixels.
        max_height: in pixels; a taller page is cut at the bottom.
    """
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.set_default_timeout(120_000)
    page.goto(address)
    _wait_until_drawn(page)
    height = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height, max_height)})
    _wait_until_drawn(page)
    page.wait_for_timeout(1000)  # the table is a canvas, which does not report when it is drawn
    page.screenshot(path=path)
    page.close()


def _wait_until_drawn(page: Page) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.wait_for_function(DRAWN)


def _shrink(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _address(server: str, page: str, chosen: list[str]) -> str:
    name, _, part = page.partition("&part=")
    choice = [("page", name), *(("chosen", run) for run in chosen)]
    choice += [("part", part)] if part else []
    choice += [("run", chosen[0])] if chosen else []
    return f"{server}/?{urlencode(choice)}"


if __name__ == "__main__":
    main()
