"""The cells of a notebook, and one folder for all notebooks that a worker executes, outside the project."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT


def code(path):
    """Return the code cells of a notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def notebook_of(*sources):
    """Return a notebook whose code cells have these sources."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources], metadata=metadata)


def has(cell, tag):
    return tag in cell.metadata.get("tags", [])


def but_long(chapters: Sequence[str | Path], long: str | tuple[str, ...]) -> list:
    """Return parameters of a test; those of chapters whose number is in ``long`` run in `make notebooks` alone."""
    marks = ([pytest.mark.torture] if Path(each).stem.startswith(long) else [] for each in chapters)
    return [pytest.param(each, marks=own) for each, own in zip(chapters, marks, strict=True)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder outside the project with the notebooks and the files that nbval needs."""
    folder = tmp_path_factory.mktemp("course")
    for part in ("notebooks", "tests/notebooks", "runs", "studies"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("course", "__pycache__"))
    (folder / "course").mkdir()
    (folder / "notebooks" / "course").symlink_to("../course")
    return folder
