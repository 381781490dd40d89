"""Measure how long a reader of the dashboard waits with 1,000 runs, in a real browser.

``make waits`` writes the sample runs to a temporary folder, serves them, opens them in a headless Chromium, prints the
seconds as JSON and renews the table in docs/speed.md. A measurement ends when the result is visible: the rows of the
table, the number of chosen runs, the finished chart. The clicks are measured twice, the second time while the record of
one run is written every second. The cells of the page "Mistakes" are clicked on a run of 10,000 test images.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page

from benchmarks.pairs import wait_until_quiet
from tests.dashboard.server import CENTRE, chromium, served
from tests.samples import TESTED_CLASSES, predictions, write_study, write_tested
from transfer_utils.records.record import RECORD_NAME, read_record
from transfer_utils.utils.files import lock, write_json
from transfer_utils.utils.revision import source_revision

RESULT = Path(__file__).parent / "results" / "dashboard.json"
MAX_MEGABYTES = 300  # of memory that the server may take
TARGETS = {"first paint": 3.0, "click": 1.0, "one run in progress": 1.0}
SECONDS_PER_EPOCH = 1.0  # of the run in progress
TEST_IMAGES = 10_000  # of the run whose mistakes are looked at
RUNS, REPEATS = 1000, 5  # at least so many runs; times that each action is measured
MAX_WAIT = 300.0  # seconds to wait until the machine is quiet

# Evaluated at every frame; Playwright's own waiting checks only twice a second.
IS_VISIBLE = """([text, mark]) =>
    document.evaluate(`//*[text()[contains(., "${text}")]]`, document, null, XPathResult.BOOLEAN_TYPE).booleanValue
    && document.querySelector(mark)"""
CHART, CELL = "[class*=st-key-chart]{} .main-svg", '[data-testid="stDataFrame"] td'


def measure() -> dict:
    """Return the median and the slowest time of each action in seconds, with the number of runs and CPU cores.

    It begins when the machine is quiet, but at the latest after ``MAX_WAIT`` seconds.
    """
    busy = wait_until_quiet(MAX_WAIT)
    load = os.getloadavg()[0]  # above the number of cores, other processes slow down the measurement
    with tempfile.TemporaryDirectory() as folder:
        n = write_runs(Path(folder), RUNS)
        with served(folder) as (address, server), chromium() as browser:
            first = [first_paint(browser, address, n) for _ in range(REPEATS + 1)]
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            clicks = time_clicks(page, address, n, REPEATS)
            with run_in_progress(Path(folder)):
                for name, seconds in time_clicks(page, address, n, REPEATS).items():
                    clicks[name.replace("click", "one run in progress")] = seconds
            memory = psutil.Process(server.pid).memory_info().rss
            time_cells(browser, clicks)
    return {
        "source": source_revision(),
        "runs": n,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load average before": round(load, 1),
        "busy cores before": round(busy, 1),
        "memory of the server in MB": {"measured": round(memory / 1e6), "target": MAX_MEGABYTES},
        "targets": TARGETS,
        # The first visitor also waits until the server has loaded the libraries and read the records.
        "first paint, fresh server": {"median": round(first[0], 2), "slowest": round(first[0], 2), "n": 1},
        "first paint": summary(first[1:]),
        **{name: summary(seconds) for name, seconds in clicks.items()},
    }


def write_runs(folder: Path, at_least: int) -> int:
    """Write complete studies of sample runs below ``folder`` until there are enough; return the number of runs."""
    count = 0
    while count < at_least:
        study = write_study(folder / f"study-{count}")
        count += len(list(study.glob(f"*/{RECORD_NAME}")))
    return count


@contextmanager
def run_in_progress(folder: Path) -> Iterator[None]:
    """Hold the lock of one run and write its record every second, as a run in progress does."""
    path = min(folder.rglob(RECORD_NAME))
    record, stop = read_record(path), threading.Event()
    record.status, record.metrics = "running", {}  # results come at the end of a run

    def write() -> None:
        while not stop.wait(SECONDS_PER_EPOCH):
            record.save(path)

    writer = threading.Thread(target=write)
    with lock(path):
        record.save(path)  # first: the table moves a run that begins to its top, and a click would hit another row
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()


def first_paint(browser: Browser, address: str, runs: int) -> float:
    """Time a first visit, from the request until the table shows its rows."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    seconds = timed(lambda: (page.goto(address), wait_for(page, f"{runs} of {runs} runs", CELL)))
    page.context.close()
    return seconds


def time_clicks(page: Page, address: str, runs: int, repeats: int) -> dict[str, list[float]]:
    """Open the dashboard and time frequent actions of a reader: select a run, search, open a page."""
    page.goto(address)
    wait_for(page, f"{runs} of {runs} runs", CELL)
    seconds: dict[str, list[float]] = {}
    for row in range(repeats):
        _record(seconds, "click: tick a run", page, _select, row, runs)
    for _ in range(repeats):
        for query, matches in (("seed=0", runs // 3), ("", runs)):
            _record(seconds, "click: search", page, _search, query, matches, runs)
        for name, text, chart in (
            ("Compare", "Options that differ", "[class*=chart-compare]"),
            ("One run", "Validation accuracy", "[class*=-curves]:not([class*=compare])"),
            ("Study", "Image size", "[class*=Image-size]"),
        ):
            _record(seconds, f"click: open {name}", page, _open, name, text, CHART.format(chart))
        _record(seconds, "click: open Runs", page, _open, "Runs", f"{runs} of {runs} runs", CELL)
    return seconds


def time_cells(browser: Browser, seconds: dict[str, list[float]]) -> None:
    """Time a click on each wrong cell of the confusion matrix of a run, until the pictures of that cell are shown."""
    with tempfile.TemporaryDirectory() as folder:
        test = write_tested(Path(folder) / "one", predictions(1, TEST_IMAGES))
        with served(folder) as (address, _):
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(f"{address}/?page=Mistakes&show=Least+sure")
            wait_for(page, "All test images, the least confident prediction first", ".chart.clickable .main-svg")
            for (true, predicted), count in np.ndenumerate(test.confusion_matrix()):
                if true != predicted:
                    where = page.locator(".chart.clickable").evaluate(CENTRE, [predicted, true])
                    text = f"{count} images of {TESTED_CLASSES[true]}, predicted {TESTED_CLASSES[predicted]}"
                    _record(seconds, "click: a cell of Mistakes", page, _click_cell, where, text)
            page.close()


def _click_cell(page: Page, where: list[float], text: str) -> None:
    page.mouse.click(*where)
    wait_for(page, text, '[data-test-script-state="notRunning"]')  # the pictures come last


def _record(seconds: dict[str, list[float]], name: str, page: Page, act: Callable[..., None], *arguments: Any) -> None:
    seconds.setdefault(name, []).append(timed(lambda: act(page, *arguments)))
    page.wait_for_selector('[data-test-script-state="notRunning"]')
    page.wait_for_timeout(300)  # the end of this drawing must not count for the next action


def _select(page: Page, row: int, runs: int) -> None:
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + 50 + 33 * row)
    wait_for(page, f"of {runs} runs, {row + 1} chosen", CELL)


def _search(page: Page, query: str, matches: int, runs: int) -> None:
    field = page.get_by_role("textbox", name="Search")
    field.fill(query)
    field.press("Enter")
    wait_for(page, f"{matches} of {runs} runs", CELL)


def _open(page: Page, name: str, text: str, mark: str) -> None:
    page.get_by_test_id("stButtonGroup").first.get_by_role("radio", name=name, exact=True).click()
    wait_for(page, text, mark)


def wait_for(page: Page, text: str, mark: str) -> None:
    """Wait until the page shows this text and an element that matches the selector ``mark``."""
    page.wait_for_function(IS_VISIBLE, arg=[text, mark])


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def summary(seconds: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 2), "slowest": round(max(seconds), 2), "n": len(seconds)}


def main() -> None:
    """Measure, print the result and keep it for the table in docs/speed.md."""
    result = measure()
    print(json.dumps(result, indent=2))
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
