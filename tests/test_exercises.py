"""Exercises are solutions without the answers."""

import nbformat
import pytest

from tools.exercises import exercise_of, skeleton, write_exercises
from transfer_utils.course.run import serialised

FUNCTION = '''import math


def area(
    radius: float,  # metres
) -> float:
    """Return the area.

    In square metres.
    """
    return math.pi * radius**2'''

FUNCTION_SKELETON = FUNCTION.replace("math\n\n\n", "math\n").replace("return math.pi * radius**2", "...")


@pytest.mark.parametrize(
    ("solution", "exercise"),
    [
        ("# A number.\nanswer = 6 * 7", "# A number.\nanswer = ..."),
        ("a, (b, c) = 1, (2, 3)", "a = ...\nb = ...\nc = ..."),
        ("total = 0\nfor n in range(3):\n    total += n\ntotal = 2 * total", "total = ..."),
        ("x = [0]\nx[0] = 1", "x = ..."),
        ("print(42)", "..."),
        ("# Say it.\nprint(42)", "# Say it.\n..."),
        ("def f(x):\n    # a clue\n    return 42", "def f(x):\n    ..."),
        ("def f(x):\n    return 42\n\n\ny = f(1)", "def f(x):\n    ...\n\n\ny = ..."),
        (FUNCTION, FUNCTION_SKELETON),
    ],
)
def test_skeleton_replaces_the_answer_by_placeholders(solution, exercise):
    assert skeleton(solution) == exercise


def notebook():
    code = nbformat.v4.new_code_cell("data = 1", execution_count=1)
    code.outputs = [nbformat.v4.new_output("stream", name="stdout", text="printed")]
    answer = nbformat.v4.new_code_cell("answer = 42", execution_count=2, metadata={"tags": ["solution"]})
    discussion = nbformat.v4.new_markdown_cell("Because it is 42.", metadata={"tags": ["solution"]})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Why?"), code, answer, discussion])


def test_exercise_has_no_answers_discussions_outputs_or_execution_counts():
    solution = notebook()
    before = serialised(solution)
    exercise = exercise_of(solution)
    assert [cell.source for cell in exercise.cells] == ["# Why?", "data = 1", "answer = ..."]
    assert [cell.id for cell in exercise.cells] == [cell.id for cell in solution.cells[:3]]
    assert exercise.cells[1].outputs == [] and exercise.cells[1].execution_count is None
    assert exercise.cells[2].metadata["tags"] == ["answer"]
    assert serialised(solution) == before


def test_writing_exercises_twice_gives_the_same_bytes(tmp_path):
    (tmp_path / "solutions").mkdir()
    nbformat.write(notebook(), tmp_path / "solutions" / "01_x.ipynb")
    first = write_exercises(tmp_path / "solutions", tmp_path / "exercises")[0].read_bytes()
    second = write_exercises(tmp_path / "solutions", tmp_path / "exercises")[0].read_bytes()
    assert first == second and b"answer = 42" not in first
