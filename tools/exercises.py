"""The exercises of the course, generated from their solutions so that both always match.

A solutions notebook asks a question in Markdown. The next cell, tagged ``solution``, answers it, and the cell after
that, tagged ``check``, checks the answer. A Markdown cell tagged ``solution`` discusses it. The exercise is the same
notebook without answers and discussions.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from transfer_utils.course.run import serialised
from transfer_utils.utils.files import write_bytes

# Tags of cells; a cell tagged "solution" in the solutions is tagged "answer" in the exercise.
SOLUTION, ANSWER, CHECK = "solution", "answer", "check"


def write_exercises(solutions: str | Path, exercises: str | Path) -> list[Path]:
    """Write the exercise of every notebook in the folder ``solutions`` to ``exercises``, and return the paths."""
    paths = []
    for path in sorted(Path(solutions).glob("*.ipynb")):
        target = Path(exercises) / path.name
        write_bytes(target, serialised(exercise_of(nbformat.read(path, as_version=4))))
        paths.append(target)
    return paths


def exercise_of(solution: NotebookNode) -> NotebookNode:
    """Return a copy of ``solution`` without answers, outputs and execution counts."""
    exercise = nbformat.from_dict(solution)
    exercise.cells = [
        cell for cell in exercise.cells if cell.cell_type == "code" or SOLUTION not in cell.metadata.get("tags", [])
    ]
    for cell in exercise.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        tags = cell.metadata.get("tags", [])
        if SOLUTION in tags:
            cell.metadata["tags"] = [ANSWER if tag == SOLUTION else tag for tag in tags]
            cell.source = skeleton(cell.source)
    return exercise


def skeleton(source: str) -> str:
    """Replace the code of a solution by placeholders.

    Leading comments and imports stay. Every assigned name is set to ``...``, and a function keeps its signature and
    docstring. If nothing else remains, the code is ``...``.
    """
    comments = itertools.takewhile(lambda line: line.startswith("#"), source.splitlines())
    return "\n".join([*comments, *(list(_skeleton_lines(source)) or ["..."])]).rstrip()


def _skeleton_lines(source: str) -> Iterator[str]:
    """Yield the imports, signatures and placeholders; imports and signatures keep their layout."""
    lines, assigned = source.splitlines(), set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from lines[statement.lineno - 1 : statement.end_lineno]
        elif isinstance(statement, ast.FunctionDef):
            first = statement.body[0]
            end = first.end_lineno if ast.get_docstring(statement) is not None else first.lineno - 1
            while lines[end - 1].lstrip().startswith("#"):  # a comment on the solution
                end -= 1
            yield from [*lines[statement.lineno - 1 : end], "    ...", "", ""]
        elif isinstance(statement, ast.Assign):
            nodes = [node for target in statement.targets for node in ast.walk(target)]
            names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
            yield from (f"{name} = ..." for name in names if name not in assigned)
            assigned.update(names)


if __name__ == "__main__":  # python -m tools.exercises
    folder = Path(__file__).parents[1] / "notebooks"
    for path in write_exercises(folder / "solutions", folder / "exercises"):
        print(path.relative_to(folder.parent))
