"""The cells tagged ``plain-keras`` are programs of their own that need only Keras, NumPy and Matplotlib.

The cells before them prepare the files that they read. They run first, in a process of their own.
"""

import ast
import os
import subprocess
import sys

import pytest

from tests.notebooks.conftest import ROOT, but_long, code, has

PLAIN, PARAMETERS = "plain-keras", "parameters"
LONG = ("04", "08")  # half a minute each: `make notebooks` runs them, and nbval runs the same cells
BLOCKED = "import sys\nsys.modules['transfer_utils'] = None  # an import raises ImportError\n"
ONE_EPOCH = """
import keras
whole_fit = keras.Model.fit
keras.Model.fit = lambda *args, **options: whole_fit(*args, **options | {"epochs": 1})
"""
ALLOWED = {"keras", "numpy", "matplotlib", *sys.stdlib_module_names}

NOTEBOOKS = [path for path in sorted(ROOT.glob("notebooks/*.ipynb")) if any(has(cell, PLAIN) for cell in code(path))]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def plain_program(path):
    """Return the parameters and the tagged cells of a notebook as one program."""
    return "\n".join(cell.source for cell in code(path) if has(cell, PARAMETERS) or has(cell, PLAIN))


def preparation(path):
    """Return all cells before the first tagged one, with the offline preset."""
    cells = code(path)
    first = next(place for place, cell in enumerate(cells) if has(cell, PLAIN))
    offline = '\npreset = "offline"'
    return "\n".join(cell.source + (offline if has(cell, PARAMETERS) else "") for cell in cells[:first])


def imported(program):
    """Return the top-level modules that a program imports."""
    imports = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {(getattr(node, "module", "") or name.name).split(".")[0] for node in imports for name in node.names}


def test_the_chapter_on_two_stages_has_plain_cells():
    assert "04_two_stage_fine_tuning" in [path.stem for path in NOTEBOOKS]


@each_notebook
def test_the_plain_cells_import_only_keras_numpy_and_matplotlib(path):
    assert "keras" in imported(plain_program(path))
    assert imported(plain_program(path)) <= ALLOWED


@each_notebook
def test_the_plain_cells_use_no_name_that_another_cell_defines(path):
    assert undefined(plain_program(path)) == ""
    assert "Undefined name `model`" in undefined("import keras\nmodel.fit(1)"), "the test finds nothing"


def undefined(program):
    """Return what ruff says of names that a program uses and does not define."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "F821", "-"]
    return subprocess.run(command, input=program, capture_output=True, text=True).stdout


@each_notebook
def test_the_plain_cells_show_both_stages(path):
    program = plain_program(path)
    assert program.count(".fit(") >= 2, "stage 1 and stage 2"
    assert ".compile(" in program and (".evaluate(" in program or ".predict(" in program)


@pytest.mark.slow
@pytest.mark.course
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", but_long(NOTEBOOKS, LONG), ids=lambda path: path.stem)
def test_the_plain_cells_run_as_a_program(path, tmp_path):
    """In a process in which ``transfer_utils`` cannot be imported, and with one epoch for each ``fit``."""
    run(preparation(path), tmp_path)
    printed = run(BLOCKED + ONE_EPOCH + plain_program(path), tmp_path)
    assert "accuracy" in printed


def run(program, folder):
    """Run a program in ``folder`` and return what it printed."""
    script = folder / "program.py"
    script.write_text(program, "utf-8")
    environment = {"PYTHONPATH": str(ROOT)} if "transfer_utils" in imported(program) else {}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
