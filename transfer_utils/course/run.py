"""Execution of the course: selection of notebooks, their parameters, and publication of their outputs."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.course.kernel import Kernels, Running, kernel_environment, run_notebook
from transfer_utils.course.notebook import FIGURES_VARIABLE
from transfer_utils.errors import UserError, nearest
from transfer_utils.records.record import RECORD_NAME
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress
from transfer_utils.utils.project import project_folder
from transfer_utils.utils.text import counted

NOTEBOOK_FILES = "[0-9][0-9]_*.ipynb"
TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
CELL_TIMEOUT = 1800.0  # seconds; some cells train a network on all of CIFAR-10


def run_course(
    preset: str,
    notebooks: Iterable[str] = (),
    parameters: Mapping[str, Any] | None = None,
    output_dir: str = "course",
    *,
    progress: Progress | None = None,
    log: Log = print,
    log_error: Log | None = None,
    timeout: float = CELL_TIMEOUT,
) -> int:
    """Execute the notebooks of the course in order, each in its own kernel, and save the executed copies.

    Args:
        preset: value of the parameter ``preset``.
        notebooks: numbers (``4`` or ``04``) or names; empty for all.
        parameters: values of other parameters, for the notebooks that have them. Text is converted to the type of the
            value in the notebook.
        output_dir: folder of the executed copies, and value of the parameter ``output_dir``.
        progress: called with (name, executed cells, all cells).
        log: called with a line for each notebook and with the summary.
        log_error: called with each failure; the default is ``log``.
        timeout: time limit of a cell in seconds.

    Returns:
        Exit status: 0, or 1 if a notebook failed; its partial copy is saved.

    Raises:
        UserError: an unknown notebook or parameter, or a wrong value; no notebook has started.
    """
    parameters = {"preset": preset, "output_dir": output_dir, **(parameters or {})}
    plan = _plan(choose_notebooks(notebooks_folder(), notebooks), parameters)
    started = time.monotonic()
    failures = [failure for _, failure in _execute(plan, Path(output_dir), progress, log, timeout) if failure]
    done = f"{len(plan) - len(failures)} of {counted(len(plan), 'notebook')}"
    log(f"{done} succeeded in {time.monotonic() - started:.0f} s; the copies are in {output_dir}.")
    for failure in failures:
        (log_error or log)(failure)
    return 1 if failures else 0


def publish(
    notebooks: Iterable[str] = (),
    output_dir: str = "course",
    *,
    progress: Progress | None = None,
    log: Log = print,
    log_error: Log | None = None,
    timeout: float = CELL_TIMEOUT,
) -> int:
    """Execute the notebooks unchanged, write their outputs back into them, and save their figures in ``figures/``.

    Papermill's metadata, such as times, are left out. A notebook that fails or writes to standard error keeps its
    previous outputs. The arguments are those of ``run_course``.

    Returns:
        Exit status: 0, or 1 if a notebook was not published.

    Raises:
        UserError: the whole course is to be published, and the notebooks would find runs from before.
    """
    folder, notebooks = notebooks_folder(), tuple(notebooks)
    chosen = choose_notebooks(folder, notebooks)
    places = {Path(own["output_dir"]) for path in chosen if "output_dir" in (own := parameters_of(path))}
    for place in places if not notebooks else ():
        if any(place.glob(f"*/{RECORD_NAME}")):
            reused = "holds runs that the notebooks would use again instead of training"
            raise UserError(f"{place.absolute()} {reused}: move the folder away.")
    status = 0
    figures, unchanged = {FIGURES_VARIABLE: str(folder.parent / "figures")}, {path: {} for path in chosen}
    for path, failure in _execute(unchanged, Path(output_dir), progress, log, timeout, **figures):
        if failure := failure or _write_back(path, Path(output_dir)):
            status = 1
            (log_error or log)(failure)
    return status


def notebooks_folder() -> Path:
    """Return the folder of the course: ``notebooks`` in the working folder, the working folder, or the project's own.

    Raises:
        UserError: none of them contains notebooks.
    """
    for folder in (Path("notebooks"), Path(), project_folder() / "notebooks"):
        if any(folder.glob(NOTEBOOK_FILES)):
            return folder.resolve()
    raise UserError(f"There are no notebooks: expected a folder notebooks in {Path.cwd()}.")


def choose_notebooks(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """Return the notebooks of ``folder`` with these numbers or names, in course order; without names, all of them.

    Raises:
        UserError: no notebook has that number or name.
    """
    known = {path.stem: path for path in sorted(folder.glob(NOTEBOOK_FILES))}
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        number = f"{stem.lstrip('0'):0>2}_" if stem.isdecimal() else ""
        matches = [other for other in known if other == stem or (number and other.startswith(number))]
        if not matches:
            raise UserError(f"notebook must be one of {', '.join(known)}, got {name!r}.{nearest(stem, known)}")
        chosen.update(matches)
    return [path for stem, path in known.items() if stem in chosen or not chosen]


def parameters_of(path: Path) -> dict[str, Any]:
    """Return the parameters of a notebook and their values, from the cell tagged ``parameters``.

    Raises:
        UserError: there is no such cell, or it has a line other than ``name = literal``.
    """
    for cell in nbformat.read(path, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            try:
                lines = ast.parse(cell.source).body
                return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
            except (AttributeError, SyntaxError, ValueError):
                raise UserError(f"The parameters of {path.name} must be lines of the form name = literal.") from None
    raise UserError(f"{path.name} has no cell tagged parameters.")


def serialised(notebook: nbformat.NotebookNode) -> bytes:
    """Return the file content of a notebook; equal notebooks give equal bytes."""
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def _plan(paths: list[Path], parameters: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Return the values of the parameters that each notebook has, after checking names and values."""
    defaults = {path: parameters_of(path) for path in paths}
    known = sorted({name for own in defaults.values() for name in own})
    for name in parameters:
        if name not in known:
            hint = nearest(name, known)
            raise UserError(f"There is no parameter {name!r}.{hint} The notebooks have {', '.join(known)}.")
    plan = {}
    for path, own in defaults.items():
        values = {name: _converted(name, value, own[name]) for name, value in parameters.items() if name in own}
        options = {name: value for name, value in values.items() if name in RunConfig.model_fields}
        preset(options.pop("preset", own.get("preset", "none")), **options | values.get("options", {}))
        plan[path] = values
    return plan


def _converted(name: str, value: Any, default: Any) -> Any:
    """Convert ``value`` to the type of ``default``, the value in the notebook."""
    converted = value
    if isinstance(value, str) and not isinstance(default, str):
        try:
            converted = ast.literal_eval(value.title() if isinstance(default, bool) else value)
        except (SyntaxError, ValueError):
            converted = value if default is None else None
    if isinstance(default, float) and type(converted) is int:
        converted = float(converted)
    if default is not None and type(converted) is not type(default):
        kind = TYPES.get(type(default), f"a {type(default).__name__}")
        raise UserError(f"{name} must be {kind}, such as {default!r}, got {value!r}.")
    return converted


def _execute(
    plan: Mapping[Path, dict], folder: Path, progress: Progress | None, log: Log, timeout: float, **variables: str
) -> Iterator[tuple[Path, str]]:
    """Execute notebooks into ``folder`` with these environment variables; yield each with why it failed, or ``""``."""
    with kernel_environment(**variables), Kernels(len(plan)) as kernels:
        for path, values in plan.items():
            copy = folder / path.name
            if copy.resolve() == path.resolve():
                holds = f"{folder} holds the notebooks themselves, which their copies would replace"
                raise UserError(f"{holds}: choose another folder with --output_dir.")
            copy.parent.mkdir(parents=True, exist_ok=True)
            running, started = Running(path.stem, progress), time.monotonic()
            problem = run_notebook(path, copy, values, running, timeout, kernels)
            cell = f"cell {running.cell} of {running.cells}"
            log(f"{path.stem}: {cell}, {time.monotonic() - started:.0f} s" + (", failed" if problem else ""))
            yield path, f"{path.stem} failed in {cell}: {problem}\n  Partial copy: {copy}" if problem else ""


def _write_back(path: Path, output_dir: Path) -> str:
    """Copy the outputs of the executed copy into the notebook; return why that failed, or an empty string."""
    notebook = nbformat.read(path, as_version=4)
    executed = {cell.id: cell for cell in nbformat.read(output_dir / path.name, as_version=4).cells}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = executed[cell.id].outputs, executed[cell.id].execution_count
            errors = [output.text for output in cell.outputs if output.get("name") == "stderr"]
            if errors:
                return f"{path.stem} is not published: it wrote to standard error: {errors[0][:200]}"
    write_bytes(path, serialised(notebook))
    return ""
