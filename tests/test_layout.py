"""The layout: modules that read run records do not import modules that train."""

import ast

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
