"""Take a picture of every page, light and dark, wide and narrow: to be looked at, and for the README.

``python -m tests.dashboard.screenshots OUT [--runs FOLDER] [--chosen NAME ...]``; without ``--runs``, over sample runs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from benchmarks.dashboard import CHROMIUM, FLAGS, served

from .samples import write_samples, write_study

PAGES = ("Runs", "Compare", "One run", "Study", "Try it")
WIDTHS, THEMES, TALLEST = (1440, 800), ("light", "dark"), 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder that receives the pictures")
    parser.add_argument("--runs", help="folder of runs; sample runs when left out")
    parser.add_argument("--chosen", nargs="*", default=[], help="runs to compare; the first one is opened")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        if not options.runs:
            write_study(write_samples(Path(made)) / "study")
            options.chosen = ["depth-30-0", "depth-10-0", "baseline-0", "depth-60-0"]
        with served(options.runs or made) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for page in PAGES:
                for width in WIDTHS:
                    for theme in THEMES:
                        path = options.out / f"dashboard-{page.lower().replace(' ', '-')}-{width}-{theme}.png"
                        take(browser, f"{address}/?{_address(page, options.chosen)}", width, theme, path)
            browser.close()


def take(browser: Browser, address: str, width: int, theme: str, path: Path) -> None:
    """Save a picture of the whole page at a width in pixels, in the light or the dark theme."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.goto(address)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.wait_for_timeout(2000)  # for the charts to be drawn
    height = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height, TALLEST)})
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
    page.close()


def _address(page: str, chosen: list[str]) -> str:
    choice = [("page", page), *(("chosen", name) for name in chosen)]
    return urlencode([*choice, ("run", chosen[0])] if chosen else choice)


if __name__ == "__main__":
    main()
