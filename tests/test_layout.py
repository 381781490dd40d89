"""The layout: imports point up the table of CONTRIBUTING.md; modules that read run records import none that compute."""

import ast
import graphlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "transfer_utils"
READERS = ("results", "report", "plotting", "studies", "dashboard")
COMPUTING = ("data", "models", "features", "training", "experiment", "predict", "interpret")
ASKS_A_MODEL = PACKAGE / "dashboard" / "answers.py"


def modules_imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, at the top or inside a function, as ``results.table``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import, which this test does not follow"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = (name.removeprefix("transfer_utils.").split(".") for name in names if name.startswith("transfer_utils."))
    return {".".join(parts[:depth]) for parts in own for depth in range(1, 4)}


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
}


@pytest.mark.parametrize("folder", READERS)
def test_modules_that_read_records_import_none_that_compute(folder):
    known = {path.stem for path in PACKAGE.iterdir()}
    for path in (PACKAGE / folder).rglob("*.py"):
        imported = {name.split(".")[0] for name in modules_imported(path)}
        if path != ASKS_A_MODEL:
            assert not imported & set(COMPUTING), path
        assert imported <= known, f"{path} imports a function from transfer_utils, which may come from any module"


def test_imports_point_up_the_table_of_contributing_and_never_in_a_circle():
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    rows = {Path(name).stem: row for row, cell in enumerate(table) for name in re.findall("`(.*?)`", cell)}
    assert rows.keys() - {"letters"} == {name.split(".")[0] for name in MODULES}
    imports = {name: modules_imported(path) & MODULES.keys() for name, path in MODULES.items()}
    row_of = {name: rows[name.split(".")[0]] for name in MODULES}
    down = [(name, other) for name, others in imports.items() for other in others if row_of[other] > row_of[name]]
    assert down == []
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


# What the examples of the README, the course, papermill and the tests leave behind, and what belongs to the project.
LEFT_BEHIND = """
course/04_model.keras notebooks/course/a.png notebooks/solutions/course/a.png notebooks/runs/0001-a/run.json out.ipynb
photo-digits.h5 notebooks/photo-digits.h5 cifar10.h5.classes.json photos.keras weights/a.npz runs/.1f.lock
runs/0099-offline-transfer/run.json runs/0099-offline-transfer/comparison.md report/medium/a.png .pytest_cache/x
notebooks/.ipynb_checkpoints/x transfer_utils/__pycache__/x inspection.html photos/cat/1.jpg uv.lock
my-course/notebooks/01.ipynb transfer_utils-0.1.0-py3-none-any.whl dist/a.tar.gz
"""
KEPT = """
notebooks/09_new.ipynb transfer_utils/course/run.py tests/course/test_run.py studies/new.yaml figures/new.png
docs/site/digits/model-float16.tflite report/blog_post.md docs/faults.json benchmarks/results/new.json
"""


def test_git_ignores_what_the_examples_leave_and_nothing_of_the_project(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    command = ["git", "-C", str(tmp_path), "check-ignore", *LEFT_BEHIND.split(), *KEPT.split()]
    ignored = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert ignored == LEFT_BEHIND.split()


def public_definitions(path: Path) -> set[str]:
    """Return the public functions, classes and constants that a file defines at the top."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in getattr(target, "elts", [target])]
            names |= {part.id for part in parts if isinstance(part, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_no_name_stands_for_two_public_things():
    """A constant that no other module imports is its module's own, and so is a page's ``draw`` or a command."""
    imported = {
        alias.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transfer_utils")
        for alias in node.names
    }
    places = {}
    for module, path in MODULES.items():
        for name in public_definitions(path):
            own = module.startswith("cli") or name in ("draw", "main") or (name.isupper() and name not in imported)
            if not own:
                places.setdefault(name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
