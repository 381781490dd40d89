"""The dashboard over a thousand runs of which one is in progress, in a real browser."""

import statistics
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import sync_playwright

from benchmarks.dashboard import MAX_MEGABYTES, TARGETS, first_paint, run_in_progress, time_clicks, write_runs
from tests.dashboard.server import BROWSER_FLAGS, CHROMIUM, served
from transfer_utils.records import RECORD_NAME

RUNS, REPEATS = 1000, 3


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count the bytes that a process has read")
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_a_run_in_progress_neither_delays_the_pages_nor_makes_them_read_all_records_again(tmp_path: Path):
    runs = write_runs(tmp_path, RUNS)
    size = sum(path.stat().st_size for path in tmp_path.rglob(RECORD_NAME))
    with served(tmp_path) as (address, process), sync_playwright() as playwright:
        server = psutil.Process(process.pid)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        first_paint(browser, address, runs)
        idle = time_clicks(page, address, runs, REPEATS)
        with run_in_progress(tmp_path):
            page.goto(address)
            page.get_by_text("1 running").wait_for()
            before = server.io_counters().read_chars
            moving = time_clicks(page, address, runs, REPEATS)
            read = server.io_counters().read_chars - before
        memory = server.memory_info().rss
        browser.close()
    assert read < size, "all records were read again"
    assert memory < MAX_MEGABYTES * 1e6
    # On a machine that is slow or busy, changing the page takes no more than twice as long as without the run.
    for name, seconds in moving.items():
        limit = max(TARGETS["one run in progress"], 2 * statistics.median(idle[name]))
        assert statistics.median(seconds) < limit, f"{name}: {seconds} with a run in progress, {idle[name]} without"
