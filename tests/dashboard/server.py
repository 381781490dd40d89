"""A server of the dashboard and a browser, for tests, screenshots and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from transfer_utils.dashboard.launch import server_arguments

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
START_SECONDS = 120
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]
# Where the centre of a cell lies in the window; the argument is its column and its row.
CENTRE = """(chart, [column, row]) => {
    const { left, top } = chart.getBoundingClientRect(), { xaxis, yaxis } = chart._fullLayout;
    return [left + xaxis._offset + xaxis.c2p(column), top + yaxis._offset + yaxis.c2p(row)];
}"""


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Start Chromium and wait up to a minute for what is expected of its pages; skip the test without Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*BROWSER_FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def served(folder: str | os.PathLike) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the dashboard for a folder on a free port; yield its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", *server_arguments(folder, port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def wait_until_ready(address: str, server: subprocess.Popen) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            opener.open(address, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None:
                raise RuntimeError(f"the server stopped with status {server.returncode}") from None
            time.sleep(0.1)
    raise TimeoutError(f"the server did not answer at {address} within {START_SECONDS} s")


def open_page(page: Page, address: str) -> None:
    """Open a page of the dashboard, given the parameters of its address, and wait until it is drawn."""
    page.goto(f"/?{address}")
    wait_until_drawn(page)


def wait_until_drawn(page: Page) -> None:
    """Wait until the script has run and all elements are drawn."""
    from playwright.sync_api import expect

    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
