"""Every notebook runs with the offline preset in papermill and in nbval.

The tests share one folder, so that a notebook reuses what another trained and cached.
"""

import os
import signal
import subprocess
import sys

import nbformat
import pytest

from tests.notebooks.conftest import ROOT, code, notebook_of
from transfer_utils.course.kernel import kernel_environment
from transfer_utils.course.run import run_course

COURSE = sorted(path.stem for path in ROOT.glob("notebooks/[0-9]*.ipynb"))

# A long limit for slow machines; hanging cells and dead kernels are stopped earlier.
pytestmark = [pytest.mark.slow, pytest.mark.course, pytest.mark.timeout(1800)]

# What nbval shortens in the text of a notebook, which halves its time; `make notebooks` also runs them as they stand.
# Chapters 4, 5 and 7 use the same run, with all its epochs: after few, nothing has changed that chapter 7 could show.
# Chapters 1, 2 and 4 keep whole batches of 32: for others, TensorFlow traces again.
FEW_EPOCHS = {"epochs_baseline": 10}
BEGIN, BEGIN_SHORT = "begin(preset=preset, ", f"begin(preset=preset, **{FEW_EPOCHS}, "
CHANGES = {
    "01_data_preparation": [("n_probe = 1000", "n_probe = 96")],
    "02_architecture": [("probe_images = 1000", "probe_images = 96")],
    "03_feature_maps": [("embedded_images = 800", "embedded_images = 200"), ("min(2000, ", "min(300, ")],
    "04_two_stage_fine_tuning": [
        (BEGIN, BEGIN_SHORT),
        ("[:5000]", "[:320]"),
        ('epochs\\": 8,', 'epochs\\": 1,'),
        ("epochs=4, batch_size", "epochs=1, batch_size"),
        ("(1e-5, 1e-4, 1e-3, 1e-2)", "(1e-5, 1e-2)"),
        ('zip(\\"osD^\\", ', 'zip(\\"os\\", '),
        ("range(20)", "range(2)"),
    ],
    "05_baseline_comparison": [
        (BEGIN, BEGIN_SHORT),
        ("levels = [5, 20, 100]", "levels = [2]"),
        ("draws = 3", "draws = 1"),
        ("scratch_epochs = 20", "scratch_epochs = 2"),
        ("epochs=100", "epochs=10"),
    ],
    "06_experiment_study": [("epochs=20", "epochs=2")],
    "07_what_changed": [
        ("embedded_images = 1000", "embedded_images = 200"),
        ("corrupted_images = 500", "corrupted_images = 50"),
    ],
    "08_your_own_images": [('epochs\\": 12', 'epochs\\": 1')],
}


@pytest.mark.torture  # nbval executes all of them as well
@pytest.mark.parametrize("name", COURSE)
def test_papermill_executes_the_notebook(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    lines = []
    assert run_course("offline", [name], log=lines.append, timeout=1200) == 0, "\n".join(lines)
    outputs = [output for cell in code(folder / "course" / f"{name}.ipynb") for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert [output.text for output in outputs if "warning:" in output.get("text", "").lower()] == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, CHANGES.get(name, [])) for name in COURSE),
        *(pytest.param(name, [], marks=pytest.mark.torture) for name in CHANGES),
    ],
    ids=lambda value: value if isinstance(value, str) else "shortened" if value else "as it stands",
)
def test_nbval_executes_the_notebook_and_compares_outputs(folder, name, changes):
    path = folder / "notebooks" / f"{name}.ipynb"
    if changes:
        source = path.read_text("utf-8")
        for old, new in changes:
            assert source.count(old) == 1
            source = source.replace(old, new)
        path = path.with_name(f"{name}_shortened.ipynb")
        path.write_text(source, "utf-8")
    done = nbval(path, timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:]


def nbval(notebook, timeout):
    """Run nbval on a notebook in a new process group, which is killed after ``timeout`` seconds."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-q", str(notebook)]
    pipes = {"cwd": notebook.parent, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with kernel_environment(), subprocess.Popen(command, **pipes, start_new_session=True) as process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the kernel exits when its parent is gone
            raise
    return subprocess.CompletedProcess(command, process.returncode, printed)


def test_nbval_takes_the_chapters_and_the_solutions_but_no_unanswered_exercise():
    words = "-m pytest --nbval notebooks/ -p no:cacheprovider --collect-only -q"
    command = [sys.executable, *words.split()]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    taken = {line.partition("::")[0] for line in listed if "::" in line}
    assert taken == {f"notebooks/{part}{name}.ipynb" for part in ("", "solutions/") for name in COURSE}


def test_nbval_reports_a_dead_kernel_immediately(folder):
    notebook = notebook_of("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    path = folder / "notebooks" / "dies.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path, 120)  # without the hook in conftest, nbval waits 2,000 seconds
    assert done.returncode == 1
    assert "The kernel died." in done.stdout


def test_nbval_compares_all_but_the_ignored_cells(folder):
    notebook = notebook_of("print(1, '2026-03-01', '3 s')", "print(1)", "print(1)")
    notebook.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    stored = ("1 1999-12-31 77 s\n", "2\n", "2\n")
    for number, (cell, text) in enumerate(zip(notebook.cells, stored, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    path = folder / "notebooks" / "compared.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path, 120)
    assert done.returncode == 1
    assert "1 failed, 2 passed" in done.stdout
    assert "Cell 1" in done.stdout


def test_nbval_fails_where_a_cell_makes_tensorflow_trace_again_and_again(folder):
    source = "import sys\nprint('5 out of the last 5 calls triggered tf.function retracing.', file=sys.stderr)"
    notebook = notebook_of(source)
    notebook.cells[0].metadata["tags"] = ["nbval-ignore-output"]
    path = folder / "notebooks" / "traces.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path, 120)
    assert done.returncode == 1 and "1 passed" in done.stdout
    assert "again and again: 5 out of the last 5" in done.stdout
