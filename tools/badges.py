"""What opens the course on Colab and Binder: badges in README and notebooks, and the notebooks' first code cell.

Both follow one setting, the address ``Repository`` of ``[project.urls]`` in ``pyproject.toml``. While it is missing
there are no badges, and the first cell installs the wheel that a reader has put beside the notebook. ``make badges``
writes both again, and changes nothing else in a notebook.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.repository import BRANCH, UNKNOWN, read_project, repository_address
from transfer_utils.course.run import serialised
from transfer_utils.report.readme import with_tables
from transfer_utils.utils.files import write_bytes

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ("notebooks/*.ipynb", "notebooks/exercises/*.ipynb", "notebooks/solutions/*.ipynb")
INSTALL = "install"  # tag and id of the cell
COLAB = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
BINDER = "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
CLONE = re.compile(r"(git clone )(?:<.+?>|\S+)( transfer-utils)")

CELL = """\
# {about}
import importlib.util
import subprocess
import sys

if not importlib.util.find_spec("transfer_utils"):
    source = "{source}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)"""
FROM_REPOSITORY = "Where the course is missing, as on Colab, install it. Everywhere else this cell does nothing."
FROM_WHEEL = "Where the course is missing, as on Colab, install its wheel: upload it beside this notebook first."


def repository_name(project: dict) -> str:
    """Return ``owner/name`` on GitHub of a parsed ``pyproject.toml``, or an empty string if it has no address.

    Raises:
        ValueError: the address is not that of a repository on GitHub, the only ones that Colab opens.
    """
    address = repository_address(project)
    match = GITHUB.fullmatch(address)
    if address and not match:
        raise ValueError(f"Repository must be an address such as https://github.com/OWNER/NAME, got {address!r}.")
    return match[1] if match else ""


def badges(repository: str, notebook: str, folder: str = "") -> str:
    """Return the line of badges of a notebook, by its path in the repository; empty without a repository.

    Args:
        folder: what Binder opens instead of the notebook.
    """
    if not repository:
        return ""
    colab = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{BRANCH}?urlpath=lab/tree/{folder or notebook}"
    return f"{COLAB}({colab}) {BINDER}({binder})"


def install_cell(repository: str, version: str) -> NotebookNode:
    """Return the cell that installs the package where it is missing; elsewhere it looks for it and does nothing."""
    wheel = f"transfer_utils-{version}-py3-none-any.whl"
    source = f"git+https://github.com/{repository}" if repository else wheel
    cell = nbformat.v4.new_code_cell(
        CELL.format(about=FROM_REPOSITORY if repository else FROM_WHEEL, source=source),
        # Folded in JupyterLab; MyST-NB leaves out cells with the tag "remove-cell".
        metadata={"jupyter": {"source_hidden": True}, "tags": [INSTALL, "remove-cell"]},
    )
    cell.id = INSTALL
    return cell


def with_badges(notebook: NotebookNode, path: str, repository: str, version: str) -> NotebookNode:
    """Return a copy of a notebook with its badges, below the title, and with its first code cell.

    The outputs of all other cells stay. Where the cell is new, their execution counts move on by one.
    """
    notebook = nbformat.from_dict(notebook)
    title, *text = notebook.cells[0].source.split("\n")
    if text[1:] and text[1].startswith(COLAB):
        text = text[2:]
    line = badges(repository, path)
    notebook.cells[0].source = "\n".join([title, *(["", line] if line else []), *text])
    cell, old = install_cell(repository, version), notebook.cells[1]
    if old.get("id") == INSTALL:
        cell.execution_count = old.execution_count
        notebook.cells[1] = cell
        return notebook
    executed = [other for other in notebook.cells if other.get("execution_count")]
    for other in executed:
        other.execution_count += 1
    cell.execution_count = 1 if executed else None
    notebook.cells.insert(1, cell)
    return notebook


def pages(root: Path) -> dict[Path, bytes]:
    """Return the README and all notebooks below ``root`` as they must be, by path."""
    project = read_project(root)
    repository, version = repository_name(project), project["project"]["version"]
    readme, first = root / "README.md", "notebooks/01_data_preparation.ipynb"
    line = badges(repository, first, folder="notebooks")
    text = with_tables(readme.read_text("utf-8"), {"badges": f"{line}\n" if line else ""})
    address = f"https://github.com/{repository}" if repository else UNKNOWN
    made = {readme: CLONE.sub(rf"\g<1>{address}\g<2>", text).encode()}
    for path in (path for pattern in NOTEBOOKS for path in sorted(root.glob(pattern))):
        notebook = nbformat.read(path, as_version=4)
        made[path] = serialised(with_badges(notebook, path.relative_to(root).as_posix(), repository, version))
    return made


if __name__ == "__main__":
    for path, content in pages(ROOT).items():
        if path.read_bytes() != content:
            write_bytes(path, content)
            print(path.relative_to(ROOT))
