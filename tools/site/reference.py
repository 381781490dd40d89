"""The pages of the reference: the public functions and classes of each module, for autosummary to describe."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

# In the order of the layout. A package lists its public names in __all__; a module's are all that it defines.
MODULES = ("config", "data", "models", "features", "training", "experiment", "evaluation", "records", "predict")
MODULES += ("studies", "results", "plotting", "interpret", "report", "course", "errors")


def reference_pages(root: Path) -> dict[str, str]:
    """Return the pages as reStructuredText, by name; ``index`` lists the others."""
    pages: dict[str, str] = {}
    described: set[str] = set()
    for name in MODULES:
        about, names = public_names(f"transfer_utils.{name}", root)
        # A package may hand out the function of another one, which is described there.
        pages[name] = _page(f"transfer_utils.{name}", about, [each for each in names if each not in described])
        described |= set(names)
    tree = "\n   ".join(MODULES)
    title = "Reference"
    about = "What each public function takes, returns and raises, from its docstring."
    index = f"{title}\n{'=' * len(title)}\n\n{about}\n\n.. toctree::\n   :maxdepth: 1\n\n   {tree}\n"
    return {"index": index} | pages


def public_names(module: str, root: Path) -> tuple[str, list[str]]:
    """Return the first paragraph of a module's docstring, and its public functions and classes."""
    path = root.joinpath(*module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    if path.is_dir():
        names = importlib.import_module(module).__all__
    else:
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    about = (ast.get_docstring(tree) or "").split("\n\n")[0]
    return about, [name for name in names if not name.startswith("_") and not name.isupper()]


def _page(module: str, about: str, names: list[str]) -> str:
    listed = "\n   ".join(names)
    summary = f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n   {listed}\n"
    return f"{module}\n{'=' * len(module)}\n\n{about}\n\n.. currentmodule:: {module}\n\n{summary}"
