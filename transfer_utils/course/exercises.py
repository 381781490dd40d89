"""The exercises of the course, made from their solutions, so that the two cannot drift apart.

A solutions notebook asks its questions in Markdown; the cell tagged ``solution`` behind a question answers it, and
the cell tagged ``check`` behind that tells what is still wrong. The exercise is the same notebook without the answers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from transfer_utils.utils.files import write_bytes

SOLUTION, ANSWER, CHECK = "solution", "answer", "check"  # tags: an answer is what is left of a solution


def write_exercises(solutions: str | Path, exercises: str | Path) -> list[Path]:
    """Write the exercise of every notebook in the folder ``solutions`` to ``exercises``; return their paths."""
    written = []
    for path in sorted(Path(solutions).glob("*.ipynb")):
        target = Path(exercises) / path.name
        write_bytes(target, serialised(exercise_of(nbformat.read(path, as_version=4))))
        written.append(target)
    return written


def exercise_of(solution: NotebookNode) -> NotebookNode:
    """Return the exercise: a copy of ``solution`` with its answers left out, without outputs or execution counts."""
    exercise = nbformat.from_dict(solution)
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
    """Return what a learner finds in place of a solution.

    Leading comments and imports stay; every name the solution assigns is assigned ``...``; a function keeps its
    signature and docstring. A solution with none of these leaves ``...``.
    """
    comments = []
    for line in source.splitlines():
        if not line.startswith("#"):
            break
        comments.append(line)
    kept = list(_kept(source))
    return "\n".join(comments + (kept or ["..."]))


def serialised(notebook: NotebookNode) -> bytes:
    """Return the bytes of a notebook's file, the same for the same notebook."""
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def _kept(source: str) -> Iterator[str]:
    """Yield the lines that stay; written out of ``source`` itself, so that its layout stays too."""
    lines, named = source.splitlines(), set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from lines[statement.lineno - 1 : statement.end_lineno]
        elif isinstance(statement, ast.FunctionDef):
            first = statement.body[0]
            end = first.end_lineno if ast.get_docstring(statement) is not None else first.lineno - 1
            while lines[end - 1].lstrip().startswith("#"):  # a comment on the way to the answer
                end -= 1
            yield from [*lines[statement.lineno - 1 : end], "    ..."]
        elif isinstance(statement, ast.Assign):
            nodes = [node for target in statement.targets for node in ast.walk(target)]
            names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
            yield from (f"{name} = ..." for name in names if name not in named)
            named.update(names)


if __name__ == "__main__":
    folder = Path(__file__).parents[2] / "notebooks"
    for path in write_exercises(folder / "solutions", folder / "exercises"):
        print(path.relative_to(folder.parent))
