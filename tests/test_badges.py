"""Badges and the first cell of the notebooks, which follow the address of the repository in ``pyproject.toml``."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT
from tools.badges import INSTALL, NOTEBOOKS, badges, install_cell, pages, repository_name

README = "# A\n\n<!-- badges -->\n<!-- /badges -->\n\n    git clone <address of this repository> transfer-utils && ls\n"
ADDRESS = "https://github.com/example/course"


def project(address: str) -> dict:
    return {"project": {"urls": {"Repository": address}}}


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a folder with a README, a ``pyproject.toml`` and a notebook of each kind, without an address."""
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
    for pattern in NOTEBOOKS:
        path = Path(pattern).with_name("04_two_stage_fine_tuning.ipynb")
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def write(folder: Path) -> None:
    for path, content in pages(folder).items():
        path.write_bytes(content)


def test_readme_and_notebooks_follow_the_setting():
    stale = [path.name for path, content in pages(ROOT).items() if path.read_bytes() != content]
    assert stale == [], "run `make badges`"


def test_with_an_address_there_are_badges_and_without_it_they_are_gone_again(copy):
    write(copy)
    before = {path: path.read_bytes() for path in pages(copy)}
    without = (copy / "pyproject.toml").read_text()
    (copy / "pyproject.toml").write_text(f'{without}urls.Repository = "{ADDRESS}"\n')
    write(copy)
    assert pages(copy) == {path: path.read_bytes() for path in before}, "a second time nothing changes"
    readme = (copy / "README.md").read_text()
    assert f"git clone {ADDRESS} transfer-utils && ls" in readme
    assert "course/blob/main/notebooks/01_data_preparation.ipynb" in readme and "?urlpath=lab/tree/notebooks)" in readme
    for path in list(before)[1:]:
        notebook, old = nbformat.read(path, as_version=4), nbformat.reads(before[path].decode(), as_version=4)
        place = path.relative_to(copy).as_posix()
        title, blank, line, *_ = notebook.cells[0].source.split("\n")
        assert title.startswith("# ") and blank == "" and line.startswith("[![Open in Colab]")
        assert f"/github/example/course/blob/main/{place})" in line
        assert f"/v2/gh/example/course/main?urlpath=lab/tree/{place})" in line
        assert f'"git+{ADDRESS}"' in notebook.cells[1].source
        assert notebook.cells[2:] == old.cells[2:]
        nbformat.validate(notebook)
    (copy / "pyproject.toml").write_text(without)
    write(copy)
    assert before == {path: path.read_bytes() for path in before}


def test_a_new_first_cell_moves_the_numbers_of_the_others_on_and_leaves_their_outputs(copy):
    path = copy / "notebooks" / "04_two_stage_fine_tuning.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id != INSTALL]
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number  # as before there was such a cell
    nbformat.write(notebook, path)
    write(copy)
    cells = nbformat.read(path, as_version=4).cells
    executed = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert cells[1].id == INSTALL and executed == list(range(1, len(executed) + 1))
    assert [cell.get("outputs") for cell in cells[2:]] == [cell.get("outputs") for cell in notebook.cells[1:]]


@pytest.mark.parametrize("address", [ADDRESS, f"{ADDRESS}/", f"{ADDRESS}.git"])
def test_the_name_of_the_repository_is_in_its_address(address):
    assert repository_name(project(address)) == "example/course"
    assert repository_name({"project": {}}) == "" and badges("", "notebooks/a.ipynb") == ""


@pytest.mark.parametrize("address", ["https://example.org/a/b", "https://github.com/only", "git@github.com:a/b.git"])
def test_an_address_that_colab_cannot_open_is_an_error(address):
    with pytest.raises(ValueError, match=r"Repository must be an address such as .*, got '"):
        repository_name(project(address))


@pytest.mark.parametrize("repository", ["", "example/course"])
def test_the_first_cell_installs_the_package_only_where_it_is_missing(monkeypatch, repository):
    cell, started = install_cell(repository, "0.1.0"), []
    assert "remove-cell" in cell.metadata["tags"], "the site leaves it out"
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append((command, check)))
    exec(cell.source, {})
    assert started == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(cell.source, {})
    source = f"git+https://github.com/{repository}" if repository else "transfer_utils-0.1.0-py3-none-any.whl"
    assert started == [([sys.executable, "-m", "pip", "install", "--quiet", source], True)]
