"""Every notebook runs with the offline preset in papermill and in nbval, and the solutions pass their checks.

The tests share one folder, so that nbval reuses what papermill's run trained and cached.
"""

import copy
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from transfer_utils.course.exercises import CHECK, SOLUTION, skeleton
from transfer_utils.course.kernel import kernel_environment
from transfer_utils.course.run import run_course

ROOT = Path(__file__).parents[2]
COURSE = sorted(path.stem for path in ROOT.glob("notebooks/[0-9]*.ipynb"))
SOLUTIONS = sorted(path.stem for path in ROOT.glob("notebooks/solutions/*.ipynb"))

# A long limit for slow machines; hanging cells and dead kernels are stopped earlier.
pytestmark = [pytest.mark.slow, pytest.mark.course, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder outside the project with the notebooks and the files that nbval needs."""
    folder = tmp_path_factory.mktemp("course")
    for part in ("notebooks", "tests/notebooks", "runs", "studies"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("course", "__pycache__"))
    (folder / "course").mkdir()
    (folder / "notebooks" / "course").symlink_to("../course")
    return folder


@pytest.mark.parametrize("name", COURSE)
def test_papermill_executes_the_notebook(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    lines = []
    assert run_course("offline", [name], log=lines.append, timeout=1200) == 0, "\n".join(lines)
    outputs = [
        output
        for cell in nbformat.read(folder / "course" / f"{name}.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert [output.text for output in outputs if "warning:" in output.get("text", "").lower()] == []


@pytest.mark.parametrize("name", COURSE)
def test_nbval_executes_the_notebook_and_compares_outputs(folder, name):
    done = nbval(folder / "notebooks" / f"{name}.ipynb", timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:]


def nbval(notebook, timeout):
    """Run nbval on a notebook in a new process group, which is killed after ``timeout`` seconds."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", str(notebook)]
    with (
        kernel_environment(),
        subprocess.Popen(
            command,
            cwd=notebook.parent,
            env={**os.environ, "TRANSFER_UTILS_PRESET": "offline"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the kernel exits when its parent is gone
            raise
    return subprocess.CompletedProcess(command, process.returncode, printed)


def test_nbval_reports_a_dead_kernel_immediately(folder):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")]
    path = folder / "notebooks" / "dies.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path, 120)  # without the hook in conftest, nbval waits 2,000 seconds
    assert done.returncode == 1
    assert "The kernel died." in done.stdout


def test_nbval_compares_only_the_marked_cells(folder):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    compared = {"tags": ["nbval-check-output"]}
    notebook.cells = [
        nbformat.v4.new_code_cell("print(1, '2026-03-01', '3 s')", execution_count=1, metadata=compared),
        nbformat.v4.new_code_cell("print(1)", execution_count=2, metadata=compared),
        nbformat.v4.new_code_cell("print(1)", execution_count=3),
    ]
    stored = ("1 1999-12-31 77 s\n", "2\n", "2\n")
    for cell, text in zip(notebook.cells, stored, strict=True):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    path = folder / "notebooks" / "compared.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path, 120)
    assert done.returncode == 1
    assert "1 failed, 2 passed" in done.stdout
    assert "Cell 1" in done.stdout


@pytest.mark.parametrize("name", SOLUTIONS)
def test_solutions_pass_their_checks_and_empty_exercises_fail_them(folder, monkeypatch, name):
    """In one kernel, run each skeleton and its check, then the solution and the check."""
    monkeypatch.chdir(folder)
    notebook = nbformat.read(folder / "notebooks" / "solutions" / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells[0].source += '\npreset = "offline"'
    with kernel_environment():
        client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=1200)
        with client.setup_kernel(stderr=subprocess.DEVNULL):
            for cell, check in zip(cells, [*cells[1:], None], strict=True):
                if SOLUTION in cell.metadata.get("tags", []):
                    assert CHECK in check.metadata.get("tags", [])
                    execute(client, cell, skeleton(cell.source))
                    with pytest.raises(CellExecutionError) as caught:
                        execute(client, check)
                    assert caught.value.ename == "NotYet", caught.value
                execute(client, cell)


def execute(client, cell, source=None):
    cell = copy.deepcopy(cell)
    cell.source = source or cell.source
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
