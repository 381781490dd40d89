"""The dashboard over a thousand runs of which one is in progress, in a real browser.

How long each page takes then is measured by ``make waits``.
"""

import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")

from benchmarks.dashboard import MAX_MEGABYTES, run_in_progress, time_clicks, write_runs
from tests.dashboard.server import NEEDS_CHROMIUM, chromium, served
from transfer_utils.records.record import RECORD_NAME

pytestmark = NEEDS_CHROMIUM
RUNS = 1000


@pytest.mark.torture
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count the bytes that a process has read")
def test_a_run_in_progress_does_not_make_the_pages_read_all_records_again(tmp_path: Path):
    runs = write_runs(tmp_path, RUNS)
    size = sum(path.stat().st_size for path in tmp_path.rglob(RECORD_NAME))
    with served(tmp_path) as (address, process), chromium() as browser:
        server = psutil.Process(process.pid)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        time_clicks(page, address, runs, 1)  # from here on, the browser has all scripts
        with run_in_progress(tmp_path):
            page.goto(address)
            page.get_by_text("1 running").wait_for()
            before = server.io_counters().read_chars
            time_clicks(page, address, runs, 1)
            read = server.io_counters().read_chars - before
        memory = server.memory_info().rss
    assert read < size / 2, f"read {read:,} bytes; all records have {size:,}"
    assert memory < MAX_MEGABYTES * 1e6
