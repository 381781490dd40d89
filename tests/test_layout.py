"""The layout: modules that read run records do not import modules that train."""

import ast
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "transfer_utils"
READERS = ("results", "report", "plotting", "studies", "dashboard")
COMPUTING = ("data", "models", "features", "training", "experiment", "predict", "interpret")
ASKS_A_MODEL = PACKAGE / "dashboard" / "pages" / "try_it.py"


def modules_imported(source: str) -> set[str]:
    """Return the modules of the package that a file imports, at the top or inside a function."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom | ast.Import)]
    names = {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("transfer_utils.")}


@pytest.mark.parametrize("folder", READERS)
def test_modules_that_read_records_import_none_that_compute(folder):
    for path in (PACKAGE / folder).rglob("*.py"):
        if path != ASKS_A_MODEL:
            assert not modules_imported(path.read_text("utf-8")) & set(COMPUTING), path


# What the examples of the README, the course, papermill and the tests leave behind, and what belongs to the project.
LEFT_BEHIND = ("course/04_model.keras", "notebooks/course/a.png", "notebooks/runs/0001-a/run.json", "out.ipynb")
LEFT_BEHIND += (
    "photo-digits.h5",
    "notebooks/photo-digits.h5",
    "cifar10.h5.classes.json",
    "photos.keras",
    "weights/a.npz",
)
LEFT_BEHIND += ("runs/0099-offline-transfer/run.json", "runs/0099-offline-transfer/comparison.md", "runs/.1f.lock")
LEFT_BEHIND += (
    "report/medium/a.png",
    ".pytest_cache/x",
    "notebooks/.ipynb_checkpoints/x",
    "transfer_utils/__pycache__/x",
)
LEFT_BEHIND += ("inspection.html", "photos/cat/1.jpg", "my-course/notebooks/01.ipynb", "uv.lock")
LEFT_BEHIND += ("transfer_utils-0.1.0-py3-none-any.whl", "dist/a.tar.gz")
KEPT = ("notebooks/09_new.ipynb", "transfer_utils/course/run.py", "tests/course/test_run.py", "studies/new.yaml")
KEPT += (
    "docs/site/digits/model-float16.tflite",
    "figures/new.png",
    "report/blog_post.md",
    "docs/faults.json",
    "benchmarks/results/new.json",
)


def test_git_ignores_what_the_examples_leave_and_nothing_of_the_project(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    command = ["git", "-C", str(tmp_path), "check-ignore", *LEFT_BEHIND, *KEPT]
    ignored = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert ignored == [*LEFT_BEHIND]
