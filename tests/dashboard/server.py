"""A server of the dashboard and a browser, for tests, screenshots and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from tests.waiting import wait_for
from transfer_utils.dashboard.launch import server_arguments

if TYPE_CHECKING:
    from PIL import Image
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
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
def quiet_page(context: Browser | BrowserContext, own: str) -> Iterator[Page]:
    """Yield a page; afterwards its console must be empty, and it must have asked for addresses that begin with ``own``.

    Playwright waits up to a minute for each action.
    """
    page, messages, addresses = context.new_page(), [], []
    page.set_default_timeout(60_000)
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    yield page
    foreign = [address for address in addresses if not address.startswith((own, "blob:", "data:"))]
    assert not messages and not foreign, (messages, foreign)
    page.close()


def camera(film: Path, pictures: Iterable[Image.Image]) -> list[str]:
    """Return flags for a camera that films ``pictures`` of 320 x 240 pixels, which are written to ``film`` (.y4m)."""
    with open(film, "wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F10:1 Ip A1:1 C420jpeg\n")
        for picture in pictures:
            light, *colours = picture.convert("YCbCr").split()
            file.write(b"FRAME\n" + light.tobytes())
            file.writelines(colour.resize((160, 120)).tobytes() for colour in colours)
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    return [*flags, f"--use-file-for-fake-video-capture={film}"]


@contextmanager
def served(folder: str | os.PathLike) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the dashboard for a folder on a free port; yield its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", *server_arguments(folder, port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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
    """Wait until ``server`` answers; an answer of another process that has taken its port does not count."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready() -> bool:
        try:
            opener.open(address, timeout=5).close()
            connections = psutil.Process(server.pid).net_connections("tcp")
        except (OSError, psutil.NoSuchProcess):
            return False
        return urlsplit(address).port in {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}

    wait_for(ready, server)


def open_page(page: Page, address: str) -> None:
    """Open a page of the dashboard, given the parameters of its address, and wait until it is drawn."""
    page.goto(f"/?{address}")
    wait_until_drawn(page)


def wait_until_drawn(page: Page) -> None:
    """Wait until the script has run and all elements are drawn."""
    from playwright.sync_api import expect

    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
