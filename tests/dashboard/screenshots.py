"""Take the screenshots of the dashboard in the README (``make pictures``).

``python -m tests.dashboard.screenshots OUT --runs FOLDER --chosen NAME ...``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.dashboard.server import chromium, served

PAGES, WIDTH, MAX_HEIGHT, COLOURS = ("Runs", "Compare"), 1440, 760, 128
DRAWN = """() => !document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')
    && [...document.images].every(image => image.complete)
    && [...document.querySelectorAll('.chart')]
        .every(chart => !chart.offsetParent || chart.querySelector('.main-svg'))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the screenshots")
    parser.add_argument("--runs", required=True, help="folder of runs")
    parser.add_argument("--chosen", nargs="+", required=True, help="runs to compare")
    options = parser.parse_args()
    with served(options.runs) as (address, _), chromium() as browser:
        for page in PAGES:
            path = options.out / f"dashboard_{page.lower()}.png"
            choice = [("page", page), *(("chosen", run) for run in options.chosen)]
            take(browser, f"{address}/?{urlencode(choice)}", path)
            _shrink(path)


def take(browser: Browser, address: str, path: Path) -> None:
    """Save a screenshot of a page in the light theme, cut at the bottom if it is taller than ``MAX_HEIGHT``."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.set_default_timeout(120_000)
    page.goto(address)
    _wait_until_drawn(page)
    height = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(height, MAX_HEIGHT)})
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


if __name__ == "__main__":
    main()
