"""A learner's way: open a notebook in JupyterLab, choose "Run All Cells", and save (fast: the offline preset)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import Page, expect

from tests.dashboard.server import CHROMIUM, chromium, free_port, wait_until_ready
from tests.notebooks.conftest import ROOT, code
from tools.exercises import exercise_of
from transfer_utils.course.kernel import kernel_environment

RUN_SECONDS = 900

pytestmark = [
    pytest.mark.slow,
    pytest.mark.course,
    pytest.mark.torture,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the notebooks, without their outputs."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for path in sorted(ROOT.glob("notebooks/0*.ipynb")):
        nbformat.write(exercise_of(nbformat.read(path, as_version=4)), folder / path.name)
    return folder


@pytest.fixture
def lab(folder: Path) -> Iterator[str]:
    """Serve the folder in JupyterLab, with settings of its own, and yield the address."""
    port = free_port()
    own = folder.parent / "jupyter"
    # By default a cell is only drawn while it is on the screen, and the last line of the notebook never is.
    tracker = own / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text('{"windowingMode": "none"}')
    folders = dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR"), str(own))
    folders |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    with kernel_environment(**folders):
        environment = os.environ | {"TRANSFER_UTILS_PRESET": "offline"}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/api", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium("--disable-dev-shm-usage") as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(120_000)
        yield page


@pytest.mark.parametrize("name", ["04_two_stage_fine_tuning", "08_your_own_images"])
def test_run_all_cells_runs_the_notebook_to_its_end(folder, lab, page, name):
    # The indicator says "idle" even before there is a kernel, and then "Run All Cells" only asks for one.
    with page.expect_websocket(lambda socket: "/channels" in socket.url):
        page.goto(f"{lab}/lab/tree/{name}.ipynb?reset")
    indicator = page.locator(".jp-Notebook-ExecutionIndicator")
    expect(indicator).to_have_attribute("data-status", "idle", timeout=120_000)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    expect(indicator).to_have_attribute("data-status", "busy", timeout=120_000)
    last_line = page.locator(".jp-OutputArea-output", has_text=f"{name}: finished.")
    expect(last_line).to_have_count(1, timeout=1000 * RUN_SECONDS)
    expect(indicator).to_have_attribute("data-status", "idle", timeout=120_000)
    page.locator(".jp-Notebook").press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0, timeout=120_000)
    cells = code(folder / f"{name}.ipynb")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for cell in cells for output in cell.outputs if output.output_type == "error"] == []
    assert sum("<img alt=" in output.get("data", {}).get("text/html", "") for c in cells for output in c.outputs) > 5
