"""The course, run headlessly: which notebooks, with which parameters, what came of it, and publishing the outputs."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from transfer_utils import config
from transfer_utils.course.exercises import serialised
from transfer_utils.course.kernel import Running, kernel_environment, run_notebook
from transfer_utils.course.notebook import FIGURES_VARIABLE
from transfer_utils.errors import UserError, nearest
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress

CELL_TIMEOUT = 1800.0  # seconds; the longest cells train a network on all of CIFAR-10


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
    """Run the notebooks of the course in order, each in a kernel of its own, and keep the executed copies.

    Args:
        preset: what the notebooks' parameter ``preset`` is set to.
        notebooks: which ones, by number (``4`` or ``04``) or by name; all when empty.
        parameters: further parameters by name; text is read as the type of the notebook's own value. Each notebook
            gets those it has.
        output_dir: folder of the executed notebooks, and their parameter ``output_dir``.
        progress: called with (name, cells done, cells in all).
        say: called with a line for each notebook and the summary.
        complain: called with what failed; ``say`` by default.
        timeout: seconds a single cell may take.

    Returns:
        Exit status: 0, or 1 when a notebook failed; its copy is kept as far as it came.

    Raises:
        UserError: a notebook, parameter or value that does not exist; nothing has run then.
    """
    chosen = choose_notebooks(notebooks_folder(), notebooks)
    wanted = {"preset": preset, "output_dir": output_dir, **(parameters or {})}
    plan = {path: _fitting(path, wanted) for path in chosen}
    _check_names(plan, wanted)
    for given in plan.values():
        options = {name: value for name, value in given.items() if name in config.RunConfig.model_fields}
        config.preset(options.pop("preset"), **options)
    started = time.monotonic()
    with kernel_environment():
        failures = [_run(path, given, output_dir, progress, log, timeout) for path, given in plan.items()]
    failed = [failure for failure in failures if failure]
    seconds = time.monotonic() - started
    log(f"{len(plan) - len(failed)} of {len(plan)} notebooks ran in {seconds:.0f} s; they are in {output_dir}.")
    for failure in failed:
        (log_error or log)(failure)
    return 1 if failed else 0


def publish(
    notebooks: Iterable[str] = (),
    output_dir: str = "course",
    *,
    progress: Progress | None = None,
    log: Log = print,
    log_error: Log | None = None,
    timeout: float = CELL_TIMEOUT,
) -> int:
    """Run the notebooks as they stand and write what they print and draw back into them, and into ``figures/``.

    What depends on the machine and the moment (timing, papermill's notes) is left out. A notebook that fails, or that
    writes to standard error, keeps its former outputs.

    Returns:
        Exit status: 0, or 1 when a notebook was not published.
    """
    folder = notebooks_folder()
    failed = 0
    with kernel_environment(**{FIGURES_VARIABLE: str(folder.parent / "figures")}):
        for path in choose_notebooks(folder, notebooks):
            failure = _run(path, {}, output_dir, progress, log, timeout) or _write_back(path, Path(output_dir))
            if failure:
                failed += 1
                (log_error or log)(failure)
    return 1 if failed else 0


def notebooks_folder() -> Path:
    """Return the folder of the course: ``notebooks`` here, this folder itself, or the one beside the package.

    Raises:
        UserError: there is none.
    """
    beside = Path(__file__).parents[2] / "notebooks"
    for folder in (Path("notebooks"), Path(), beside):
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder.resolve()
    raise UserError(f"There are no notebooks here: expected a folder notebooks in {Path.cwd()}.")


def choose_notebooks(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """Return the notebooks of ``folder`` with these numbers or names, in the order of the course; all without names.

    Raises:
        UserError: no notebook has that number or name.
    """
    known = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        number = f"{stem.lstrip('0'):0>2}_" if stem.isdecimal() else ""
        found = [other for other in known if other == stem or (number and other.startswith(number))]
        if not found:
            raise UserError(f"notebook must be one of {', '.join(known)}, got {name!r}.{nearest(stem, known)}")
        chosen.update(found)
    return [path for stem, path in known.items() if stem in chosen or not chosen]


def parameters_of(path: Path) -> dict[str, Any]:
    """Return the parameters of a notebook with their values, from its cell tagged ``parameters``.

    Raises:
        UserError: there is no such cell, or it holds something other than ``name = literal``.
    """
    for cell in nbformat.read(path, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            try:
                lines = ast.parse(cell.source).body
                return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
            except (AttributeError, SyntaxError, ValueError):
                raise UserError(f"The parameters of {path.name} must be lines of the form name = literal.") from None
    raise UserError(f"{path.name} has no cell tagged parameters.")


def _fitting(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the ``wanted`` parameters that the notebook has, as the types its own values have."""
    own = parameters_of(path)
    return {name: _typed(name, value, own[name]) for name, value in wanted.items() if name in own}


def _typed(name: str, value: Any, own: Any) -> Any:
    """Return ``value`` as the type of ``own``, the value in the notebook."""
    read = value
    if isinstance(value, str) and not isinstance(own, str):
        try:
            read = ast.literal_eval(value.title() if isinstance(own, bool) else value)
        except (SyntaxError, ValueError):
            read = None
    if isinstance(own, float) and type(read) is int:
        read = float(read)
    if type(read) is not type(own):
        raise UserError(f"{name} must be like {own!r}, got {value!r}.")
    return read


def _check_names(plan: Mapping[Path, Mapping[str, Any]], wanted: Mapping[str, Any]) -> None:
    known = sorted({name for path in plan for name in parameters_of(path)})
    for name in wanted:
        if name not in known:
            raise UserError(
                f"There is no parameter {name!r}.{nearest(name, known)} The notebooks have {', '.join(known)}."
            )


def _run(path: Path, given: dict, output_dir: str, progress: Progress | None, log: Log, timeout: float) -> str:
    """Run one notebook into ``output_dir``; return what went wrong, or an empty text."""
    copy = Path(output_dir) / path.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    running, started = Running(path.stem, progress), time.monotonic()
    problem = run_notebook(path, copy, given, running, timeout)
    place = f"cell {running.cell} of {running.cells}"
    log(f"{path.stem}: {place}, {time.monotonic() - started:.0f} s" + (", failed" if problem else ""))
    return f"{path.stem} failed in {place}: {problem}\n  As far as it came: {copy}" if problem else ""


def _write_back(path: Path, output_dir: Path) -> str:
    """Put the outputs of the executed copy into the notebook; return why not, or an empty text."""
    notebook = nbformat.read(path, as_version=4)
    executed = {cell.id: cell for cell in nbformat.read(output_dir / path.name, as_version=4).cells}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = executed[cell.id].outputs, executed[cell.id].execution_count
            noise = [output.text for output in cell.outputs if output.get("name") == "stderr"]
            if noise:
                return f"{path.stem} is not published: it wrote to standard error: {noise[0][:200]}"
    write_bytes(path, serialised(notebook))
    return ""
