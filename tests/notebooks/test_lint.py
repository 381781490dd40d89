"""Rules for the files of all notebooks."""

import ast
import functools
import importlib
import json
import re
import statistics

import nbformat
import pytest

from tests.notebooks.conftest import ROOT, code, has
from tools.exercises import CHECK, SOLUTION, exercise_of
from transfer_utils.course.run import parameters_of, serialised

NOTEBOOKS = ROOT / "notebooks"
COURSE = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
OWN_IMAGES = "08_your_own_images"  # runs on a folder of the reader's, or on its embedded example
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
EXERCISES = sorted(NOTEBOOKS.glob("exercises/*.ipynb"))
EVERY = COURSE + SOLUTIONS  # and so the exercises, which are made from the solutions

each_course_notebook = pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}-{path.stem}")


def read(path):
    return nbformat.read(path, as_version=4)


def prose(path):
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def outputs(path):
    return [output for cell in code(path) for output in cell.outputs]


def texts(path):
    """Return all sources and outputs, without the bytes of images."""
    contents = [cell.source for cell in read(path).cells]
    for output in outputs(path):
        contents += [output.get("text", ""), *(str(value) for value in output.get("data", {}).values())]
    return [re.sub(r"base64,[A-Za-z0-9+/=]+", "", text) for text in contents]


@each_notebook
def test_the_notebook_is_valid_and_cell_ids_are_unique(path):
    raw = json.loads(path.read_text("utf-8"))
    nbformat.validate(raw)
    assert (raw["nbformat"], raw["nbformat_minor"]) >= (4, 5)
    ids = [cell["id"] for cell in raw["cells"]]
    assert len(ids) == len(set(ids))
    assert raw["metadata"]["kernelspec"]["name"] == "python3"


@each_notebook
def test_the_code_begins_with_installation_parameters_and_begin_and_ends_with_finish(path):
    cells = code(path)
    for place, tag in enumerate(("install", "parameters")):
        assert [number for number, cell in enumerate(cells) if has(cell, tag)] == [place]
    parameters = parameters_of(path)
    preset = "offline" if path.stem == OWN_IMAGES else "cifar10-classic"  # the exercises as their chapter
    folder = "IMAGE_FOLDER" if path.stem == OWN_IMAGES else "data_dir"
    shared = {"preset": preset, "seed": 0, folder: "", "output_dir": "course"}
    assert {name: parameters.get(name) for name in shared} == shared
    assert "begin(" in cells[2].source and cells[-1].source == f'finish("{path.stem}")'


@each_notebook
def test_there_are_no_absolute_paths(path):
    absolute = re.compile(r"(?<![\w.:/<])/(home|tmp|root|work|mnt|opt|usr|var|Users|private)/|[A-Z]:\\\\")
    assert [text for text in texts(path) if absolute.search(text)] == []


@each_notebook
def test_code_cells_are_short(path):
    lines = [len(cell.source.splitlines()) for cell in code(path) if not has(cell, "install")]
    assert max(lines) <= 20 and statistics.median(lines) <= 6


@each_notebook
def test_no_function_has_the_name_of_a_function_of_the_package(path):
    assert {"begin", "load_dataset", "plot_curves"} <= _functions_of_the_package()
    assert set().union(*(_functions(cell.source) for cell in code(path))) & _functions_of_the_package() == set()


@functools.cache
def _functions_of_the_package():
    sources = (ROOT / "transfer_utils").rglob("*.py")
    # Notebooks do not use the dashboard.
    return set().union(*(_functions(each.read_text("utf-8")) for each in sources if "dashboard" not in each.parts))


def _functions(source):
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}


@each_notebook
def test_every_image_has_an_alternative_text(path):
    data = [output.get("data", {}) for output in outputs(path)]
    assert not any("image/png" in each for each in data), "figures are displayed with show(figure, alt)"
    shown = "\n".join([prose(path), *(each.get("text/html", "") for each in data)])
    images = re.findall(r"<img\b[^>]*>", shown)
    assert [image[:200] for image in images if not re.search(r'\balt="[^"]*[^"\s]', image)] == []
    assert all(alt.strip() for alt in re.findall(r"!\[(.*?)\]", prose(path)))
    arguments = [call.args[1] for call in calls_of_show(path)]
    assert all(alt.value.strip() for alt in arguments if isinstance(alt, ast.Constant))


@each_course_notebook
def test_every_figure_has_a_unique_name(path):
    calls = calls_of_show(path)
    names = [keyword.value.value for node in calls for keyword in node.keywords if keyword.arg == "name"]
    assert len(set(names)) == len(names) == len(calls)
    assert all(name.startswith(path.stem[:3]) for name in names)


def calls_of_show(path):
    nodes = [node for cell in code(path) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return [node for node in nodes if getattr(node.func, "id", "") == "show"]


@each_course_notebook
def test_the_first_cell_has_objectives_and_requirements(path):
    first = read(path).cells[0].source
    assert "?" in first.splitlines()[0], "the title is a question"
    for word in ("objectives", "prerequisites", "minutes", "memory"):
        assert word in first.lower()
    headings = [line.lower() for line in prose(path).splitlines() if line.startswith("#")]
    assert any("recap" in line for line in headings)
    assert f"exercises/{path.name}" in prose(path)


@each_course_notebook
def test_outputs_are_from_one_execution_and_at_least_four_are_compared(path):
    cells = code(path)
    compared = [cell for cell in cells if has(cell, "nbval-check-output")]
    assert len(compared) >= 4
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    opening = "".join(output.get("text", "") for output in cells[2].outputs)
    on_cifar10, own = r"CIFAR-10.*; preset cifar10(-classic)?", "08_example.*; preset offline"
    assert re.search((own if path.stem == OWN_IMAGES else on_cifar10) + r"; \d{4}-\d{2}-\d{2}\.", opening)
    assert all(cell.outputs for cell in compared)


@each_notebook
def test_outputs_have_no_errors_and_the_file_is_small(path):
    for output in outputs(path):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not any("widget" in kind for kind in output.get("data", {}))
        assert not re.search(r"[\r\x1b]|warning:", output.get("text", "").lower())
    assert path.stat().st_size <= 1_500_000


@each_solution
def test_there_are_three_to_five_exercises_each_followed_by_its_check(path):
    cells = code(path)
    answers = [place for place, cell in enumerate(cells) if has(cell, SOLUTION)]
    assert 3 <= len(answers) <= 5
    assert all(has(cells[place + 1], CHECK) for place in answers)


@each_solution
def test_the_exercise_is_up_to_date_with_the_solution(path):
    exercise = NOTEBOOKS / "exercises" / path.name
    fresh = serialised(exercise_of(read(path)))
    nbformat.validate(json.loads(fresh))
    assert exercise.read_bytes() == fresh, "stale: run python -m tools.exercises"


def test_every_notebook_has_exercises_and_solutions():
    assert [path.name for path in SOLUTIONS] == [path.name for path in COURSE] == [path.name for path in EXERCISES]


def test_the_names_that_notebooks_import_exist():
    for path in EVERY:
        for cell in code(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("transfer_utils"):
                    module = importlib.import_module(node.module)
                    missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                    assert missing == [], path.name
