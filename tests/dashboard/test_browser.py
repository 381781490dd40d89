"""The dashboard as its reader meets it: a real server, a real browser, every page; and who talks to whom."""

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.samples import write_run, write_samples
from transfer_utils.dashboard.launch import command

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_run: Path) -> Path:
    folder = write_samples(tmp_path_factory.mktemp("browsed"))
    shutil.copytree(model_run / "0001-colours", folder / "colours")
    return folder


@pytest.fixture(scope="module")
def server(folder) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the folder on a free port; yield the address and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(command(folder, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/_stcore/health", process)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server stopped"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: tuple[str, psutil.Process]) -> Iterator[Page]:
    """Yield a page; afterwards, nothing may stand in its console and nobody else may have been asked for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=server[0])
    page, noise, asked = context.new_page(), [], set()
    page.set_default_timeout(60_000)
    page.on("console", lambda message: noise.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: asked.add(request.url.split("/")[2] if "//" in request.url else ""))
    yield page
    assert page.get_by_test_id("stException").count() == 0
    assert noise == []
    assert asked - {""} == {server[0].removeprefix("http://")}
    context.close()


def settled(page: Page) -> None:
    """Wait until the script has run and its elements are drawn."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(page.locator('[data-stale="true"]')).to_have_count(0)


def opened(page: Page, address: str) -> Page:
    page.goto(f"/?{address}")
    settled(page)
    return page


def tick(page: Page, row: int) -> None:
    """Tick the box of a row of the table, counted from 0. The table is one canvas, with its rows evenly spaced."""
    grid = page.get_by_test_id("stDataFrame").first
    rows = int(grid.locator("table").get_attribute("aria-rowcount"))
    box = grid.bounding_box()
    step = box["height"] / rows
    page.mouse.click(box["x"] + 16, box["y"] + step * (row + 1.5))


def cells(page: Page, table: int = 0) -> list[list[str]]:
    """Read a table as a screen reader would."""
    grid = page.get_by_test_id("stDataFrame").nth(table)
    expect(grid.locator("td").first).to_be_attached()
    return grid.locator("tr").evaluate_all("rows => rows.map(row => [...row.children].map(cell => cell.textContent))")


def test_every_page_opens_from_the_navigation(page):
    opened(page, "chosen=depth-30-0&chosen=baseline-0")
    for name, sight in (
        ("Compare", "Options that differ"),
        ("One run", "Validation accuracy"),
        ("Study", "6 · Averaged views"),
        ("Try it", "Drop in a picture"),
        ("Runs", "Best configuration"),
    ):
        page.get_by_test_id("stButtonGroup").get_by_role("radio", name=name, exact=True).click()
        expect(page.get_by_text(sight).first).to_be_visible()
        settled(page)
        assert ("page=" in page.url) == (name != "Runs")


def test_two_runs_are_picked_compared_and_one_is_hidden(page):
    opened(page, "search=depth-&sort=name")
    tick(page, 0)
    expect(page.get_by_text("8 of 15 runs, 1 chosen")).to_be_visible()
    tick(page, 2)
    expect(page.get_by_text("8 of 15 runs, 2 chosen")).to_be_visible()
    assert re.search(r"chosen=depth-10-0&chosen=depth-30-0", page.url)

    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Options that differ")).to_be_visible()
    settled(page)
    differences = [row[-3:] for row in cells(page)]
    assert ["n_unfreeze", "10", "30"] in differences and ["augment", "no", "yes"] in differences
    assert len(differences) == 3  # the head and the two options that differ

    opened(page, "search=depth-&sort=name&chosen=depth-10-0")
    page.get_by_role("button", name="Hide", exact=True).click()
    expect(page.get_by_text("7 of 15 runs", exact=True)).to_be_visible()
    assert "hidden=depth-10-0" in page.url and "chosen" not in page.url
    assert not any("depth-10-0" in row for row in cells(page))

    opened(page, page.url.split("?")[1])  # the address alone brings the view back
    expect(page.get_by_text("7 of 15 runs", exact=True)).to_be_visible()
    page.get_by_role("button", name="Show 1 hidden").click()
    expect(page.get_by_text("8 of 15 runs", exact=True)).to_be_visible()


def test_an_image_is_dropped_in(page, picture):
    opened(page, "page=Try+it")
    page.locator('input[type="file"]').set_input_files({"name": "red.png", "mimeType": "image/png", "buffer": picture})
    expect(page.get_by_text("Where it looked")).to_be_visible()
    expect(page.get_by_text("What the network saw: 8 px, resized to 32 px")).to_be_visible()
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(3)
    expect(page.get_by_text("<b>red</b>", exact=True)).to_be_visible()


def test_a_run_that_goes_on_moves_without_a_reload(page, folder):
    opened(page, "page=Runs")
    expect(page.get_by_text("1 running")).to_be_visible()
    path = write_run(folder / "newcomer", {"n_unfreeze": 7}, "running", 20)
    expect(page.get_by_text("2 running")).to_be_visible()
    expect(page.get_by_text("16 of 16 runs")).to_be_visible()
    shutil.rmtree(path.parent)
    expect(page.get_by_text("15 of 15 runs")).to_be_visible()


@pytest.mark.parametrize("form", ["PNG", "SVG"])
def test_a_chart_is_saved_as_a_picture(page, form):
    opened(page, f"page=One+run&run=depth-30-0&format={form}")
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as download:
        page.locator('[data-title^="Download plot"]').first.click()
    assert download.value.suggested_filename == f"depth-30-0-curves.{form.lower()}"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG") if form == "PNG" else b"<svg" in content[:200]


def test_the_chosen_runs_are_saved_as_csv(page):
    opened(page, "chosen=depth-30-0&chosen=baseline-0")
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == ["run", "depth-30-0", "baseline-0"]


@pytest.mark.fault(30)
def test_the_server_listens_to_this_machine_and_calls_nobody(server, page):
    opened(page, "page=Study")
    family = [server[1], *server[1].children(recursive=True)]
    sockets = [one for process in family for one in process.net_connections("inet")]
    listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    called = {one.raddr.ip for one in sockets if one.raddr}
    assert listening == {"127.0.0.1"}
    assert called <= {"127.0.0.1"}
