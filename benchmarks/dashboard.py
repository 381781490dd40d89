"""How long the dashboard keeps its reader waiting over 500 runs, measured in the browser.

``python -m benchmarks.dashboard [--runs 500] [--repeats 5] [--output FILE]`` writes the sample runs to a temporary
folder, serves them, opens them in a headless Chromium and prints the seconds as JSON. What is measured ends when the
reader sees it: the rows of the table, the count of chosen runs, the finished chart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.samples import write_study
from transfer_utils.dashboard.launch import command
from transfer_utils.records import RECORD_NAME
from transfer_utils.utils.files import write_json

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
TARGETS = {"first paint": 3.0, "click": 1.0}

# Asked at every frame: Playwright's own waiting looks twice a second only, and would round every time up to that.
IN_SIGHT = """([words, mark]) =>
    document.evaluate(`//*[text()[contains(., "${words}")]]`, document, null, XPathResult.BOOLEAN_TYPE).booleanValue
    && document.querySelector(mark)"""
CHART, CELL = "[class*=st-key-chart]{} .main-svg", '[data-testid="stDataFrame"] td'


def measure(runs: int = 500, repeats: int = 5) -> dict:
    """Return the medians in seconds, with the slowest of each, and how many runs and CPU cores there were."""
    load = os.getloadavg()[0]  # above the number of cores, other work was slowing this one down
    with tempfile.TemporaryDirectory() as folder:
        n = write_runs(Path(folder), runs)
        with served(folder) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            first = [first_paint(browser, address, n) for _ in range(repeats + 1)]
            clicks = click_around(browser, address, n, repeats)
            browser.close()
    return {
        "runs": n,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load before": round(load, 1),
        "targets": TARGETS,
        # The first visitor of a server also waits for the records to be read and the libraries to be loaded.
        "first paint, fresh server": {"median": round(first[0], 2), "slowest": round(first[0], 2), "n": 1},
        "first paint": summary(first[1:]),
        **{name: summary(seconds) for name, seconds in clicks.items()},
    }


def write_runs(folder: Path, at_least: int) -> int:
    """Write whole studies of sample runs below ``folder`` until there are enough; return how many there are."""
    count = 0
    while count < at_least:
        study = write_study(folder / f"study-{count}")
        count += len(list(study.glob(f"*/{RECORD_NAME}")))
    return count


@contextmanager
def served(folder: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(command(folder, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise RuntimeError(f"the server stopped with status {server.returncode}") from None
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def first_paint(browser: Browser, address: str, runs: int) -> float:
    """Time a visit by a new reader, from the request until the table shows its rows."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    seconds = timed(lambda: page.goto(address), lambda: wait_for(page, f"{runs} of {runs} runs", CELL))
    page.context.close()
    return seconds


def click_around(browser: Browser, address: str, runs: int, repeats: int) -> dict[str, list[float]]:
    """Time what a reader does most: tick a run, search, change the page."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(address)
    wait_for(page, f"{runs} of {runs} runs", CELL)
    table = page.get_by_test_id("stDataFrame").first
    search = page.get_by_role("textbox", name="Search")
    pages = page.get_by_test_id("stButtonGroup").first
    seconds: dict[str, list[float]] = {}

    def click(name: str, act: Callable[[], object], see: Callable[[], object]) -> None:
        seconds.setdefault(name, []).append(timed(act, see))
        page.wait_for_selector('[data-test-script-state="notRunning"]')
        page.wait_for_timeout(300)  # let the last drawing end, so that it is not counted twice

    def type_in(words: str) -> None:
        search.fill(words)
        search.press("Enter")

    for turn in range(repeats):
        box = table.bounding_box()
        spot = box["x"] + 16, box["y"] + 50 + 33 * turn
        click(
            "click: tick a run",
            lambda spot=spot: page.mouse.click(*spot),
            lambda turn=turn: wait_for(page, f"of {runs} runs, {turn + 1} chosen", CELL),
        )
    for _ in range(repeats):
        click(
            "click: search",
            lambda: type_in("seed=0"),
            lambda: wait_for(page, f"{runs // 3} of {runs} runs", CELL),
        )
        click(
            "click: search",
            lambda: type_in(""),
            lambda: wait_for(page, f"{runs} of {runs} runs", CELL),
        )
        for name, words, chart in (
            ("Compare", "Options that differ", "[class*=chart-compare]"),
            ("One run", "Validation accuracy", "[class*=-curves]:not([class*=compare])"),
            ("Study", "Image size", "[class*=Image-size]"),
        ):
            click(
                f"click: open {name}",
                lambda name=name: pages.get_by_role("radio", name=name, exact=True).click(),
                lambda words=words, chart=chart: wait_for(page, words, CHART.format(chart)),
            )
        click(
            "click: open Runs",
            lambda: pages.get_by_role("radio", name="Runs", exact=True).click(),
            lambda: wait_for(page, f"{runs} of {runs} runs", CELL),
        )
    page.context.close()
    return seconds


def wait_for(page: Page, words: str, mark: str) -> None:
    """Wait until the page shows these words and something that the selector ``mark`` finds."""
    page.wait_for_function(IN_SIGHT, arg=[words, mark])


def timed(act: Callable[[], object], see: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    see()
    return time.perf_counter() - begun


def summary(seconds: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 2), "slowest": round(max(seconds), 2), "n": len(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="also write the JSON to this file")
    options = parser.parse_args()
    found = measure(options.runs, options.repeats)
    print(json.dumps(found, indent=2))
    if options.output:
        write_json(options.output, found)


if __name__ == "__main__":
    main()
