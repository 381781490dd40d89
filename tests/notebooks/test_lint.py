"""Rules for the files of all notebooks."""

import ast
import functools
import html.parser
import importlib
import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest

import transfer_utils
from transfer_utils.course.exercises import ANSWER, CHECK, SOLUTION, exercise_of, serialised
from transfer_utils.course.run import parameters_of

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
COURSE = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
OWN_IMAGES = "08_your_own_images"  # runs on a folder of the reader's, or on its embedded example
ON_CIFAR10 = [path for path in COURSE if path.stem != OWN_IMAGES]
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
EXERCISES = sorted(NOTEBOOKS.glob("exercises/*.ipynb"))
EVERY = COURSE + SOLUTIONS + EXERCISES

each_course_notebook = pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}-{path.stem}")


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path):
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def tags(cell):
    return cell.metadata.get("tags", [])


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
def test_the_code_begins_with_installation_parameters_and_begin(path):
    cells = code(path)
    for place, tag in enumerate(("install", "parameters")):
        assert [tag in tags(cell) for cell in cells] == [number == place for number in range(len(cells))]
    parameters = parameters_of(path)
    preset = "offline" if path.stem == OWN_IMAGES else "cifar10-classic"  # the exercises as their chapter
    folder = "IMAGE_FOLDER" if path.stem == OWN_IMAGES else "data_dir"
    shared = {"preset": preset, "seed": 0, folder: "", "output_dir": "course"}
    assert {name: parameters.get(name) for name in shared} == shared
    assert "begin(" in cells[2].source


@each_notebook
def test_the_last_cell_calls_finish(path):
    assert code(path)[-1].source == f'finish("{path.stem}")'


@each_notebook
def test_there_are_no_absolute_paths(path):
    absolute = re.compile(r"(?<![\w.:/<])/(home|tmp|root|work|mnt|opt|usr|var|Users|private)/|[A-Z]:\\\\")
    assert [text for text in texts(path) if absolute.search(text)] == []


@each_notebook
def test_code_cells_are_short(path):
    lines = [len(cell.source.splitlines()) for cell in code(path) if "install" not in tags(cell)]
    assert max(lines) <= 20
    assert statistics.median(lines) <= 6


@each_notebook
def test_no_function_has_the_name_of_a_function_of_the_package(path):
    assert {"begin", "load_dataset", "plot_curves"} <= _functions_of_the_package()
    assert set().union(*(_functions(cell.source) for cell in code(path))) & _functions_of_the_package() == set()


@functools.cache
def _functions_of_the_package():
    sources = Path(transfer_utils.__path__[0]).rglob("*.py")
    # Notebooks do not use the dashboard.
    return set().union(*(_functions(each.read_text("utf-8")) for each in sources if "dashboard" not in each.parts))


def _functions(source):
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}


class ImageParser(html.parser.HTMLParser):
    """Collects the alternative text of every image, or None if it is missing."""

    def __init__(self):
        super().__init__()
        self.alts = []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.alts.append(dict(attributes).get("alt"))


@each_notebook
def test_every_image_has_an_alternative_text(path):
    parser = ImageParser()
    for output in outputs(path):
        data = output.get("data", {})
        assert "image/png" not in data, "figures are displayed with show(figure, alt)"
        parser.feed(data.get("text/html", ""))
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            parser.feed(cell.source)
            parser.alts += re.findall(r"!\[(.*?)\]", cell.source)
    assert all(alt and alt.strip() for alt in parser.alts)
    calls = [node for cell in code(path) for node in ast.walk(ast.parse(cell.source)) if _calls(node, "show")]
    assert all(_text_of(node.args[1]) for node in calls)


@each_course_notebook
def test_every_figure_has_a_unique_name(path):
    calls = [node for cell in code(path) for node in ast.walk(ast.parse(cell.source)) if _calls(node, "show")]
    names = [keyword.value.value for node in calls for keyword in node.keywords if keyword.arg == "name"]
    assert len(names) == len(calls)
    assert len(set(names)) == len(names)
    assert all(name.startswith(path.stem[:3]) for name in names)


def _calls(node, name):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _text_of(node):
    return not isinstance(node, ast.Constant) or bool(str(node.value).strip())


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
def test_at_least_four_outputs_are_compared(path):
    assert sum("nbval-check-output" in cell.metadata.get("tags", []) for cell in code(path)) >= 4


@each_course_notebook
def test_outputs_are_from_one_execution(path):
    cells = code(path)
    if not any(cell.execution_count for cell in cells):
        pytest.skip("not published yet: make publish")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    opening = "".join(output.get("text", "") for output in cells[2].outputs)
    data = r"CIFAR-10.*; preset cifar10(-classic)?" if path in ON_CIFAR10 else "08_example.*; preset offline"
    assert re.search(data + r"; \d{4}-\d{2}-\d{2}\.", opening)
    compared = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
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
    kinds = [next((tag for tag in tags(cell) if tag in (SOLUTION, CHECK)), "") for cell in code(path)]
    assert 3 <= kinds.count(SOLUTION) <= 5
    for place, kind in enumerate(kinds):
        assert kind != SOLUTION or kinds[place + 1] == CHECK


@each_solution
def test_the_exercise_is_up_to_date_with_the_solution(path):
    exercise = NOTEBOOKS / "exercises" / path.name
    fresh = serialised(exercise_of(read(path)))
    assert exercise.read_bytes() == fresh, "stale: run python -m transfer_utils.course.exercises"
    assert SOLUTION not in {tag for cell in read(exercise).cells for tag in tags(cell)}
    assert ANSWER in {tag for cell in read(exercise).cells for tag in tags(cell)}


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
