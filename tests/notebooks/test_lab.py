"""A notebook as its reader meets it: JupyterLab in a real browser, "Run All Cells", from the top to the last cell."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from transfer_utils.notebook import PRESET_VARIABLE, sentinel

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a copy of the notebooks, without their outputs, from JupyterLab; yield the folder and the address."""
    folder = tmp_path_factory.mktemp("lab")
    for part in ("notebooks", "runs", "studies"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("course", "__pycache__"))
    for path in folder.glob("notebooks/*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--IdentityProvider.token=", "--LabApp.news_url=", f"--ServerApp.root_dir={folder}"]
    environment = {**os.environ, PRESET_VARIABLE: "offline"}
    server = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not _answers(f"{address}/api/status"):
            assert server.poll() is None and time.monotonic() < deadline, "JupyterLab did not start"
            time.sleep(0.3)
        yield folder, address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("name", ["03_feature_maps", "04_two_stage_fine_tuning"])
def test_run_all_in_jupyterlab_comes_to_the_end_without_an_error(lab, name):
    folder, address = lab
    path = folder / "notebooks" / f"{name}.ipynb"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(f"{address}/lab/tree/notebooks/{path.name}?reset")
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(state="attached")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
        notebook = _saved_at_the_end(page, path, name)
        page.screenshot(path=folder / f"{name}.png")
        browser.close()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code if cell.source.strip())


def _saved_at_the_end(page: Page, path: Path, name: str) -> nbformat.NotebookNode:
    """Save the notebook from time to time, as a reader would, until its last line or an error is in the file."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        time.sleep(3)
        page.keyboard.press("Control+s")
        notebook = nbformat.read(path, as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        errors = [output for output in outputs if output.output_type == "error"]
        assert errors == [], json.dumps(errors)[:2000]
        if any(sentinel(name) in output.get("text", "") for output in outputs):
            return notebook
    raise TimeoutError(name)
