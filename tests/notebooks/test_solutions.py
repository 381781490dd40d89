"""The checks of the exercises: an empty one and likely wrong answers fail with a hint, right answers pass."""

import copy
import itertools
import subprocess

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.notebooks.answers import ANSWERS
from tests.notebooks.conftest import ROOT, but_long, code, has
from tools.exercises import CHECK, SOLUTION, skeleton
from transfer_utils.course.kernel import kernel_environment

NOTEBOOKS = sorted(ROOT.glob("notebooks/solutions/*.ipynb"))

# Those of these chapters train for half a minute or more: `make notebooks` and `make torture` run them.
LONG = ("02", "03", "04", "05", "08")

pytestmark = [pytest.mark.slow, pytest.mark.course, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("path", but_long(NOTEBOOKS, LONG), ids=[path.stem for path in NOTEBOOKS])
def test_checks_tell_wrong_answers_from_right_ones(folder, monkeypatch, path):
    """In one kernel, for each exercise: the empty one, the answers in ``answers.py``, and the solution."""
    monkeypatch.chdir(folder)
    cells, answers = code(path), iter(ANSWERS.get(path.stem, []))
    next(cell for cell in cells if has(cell, "parameters")).source += '\npreset = "offline"'
    with kernel_environment():
        client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=1200)
        with client.setup_kernel(stderr=subprocess.DEVNULL):
            for place, cell in enumerate(cells):
                if has(cell, SOLUTION):
                    checks = list(itertools.takewhile(lambda other: has(other, CHECK), cells[place + 1 :]))
                    execute(client, cell, skeleton(cell.source))
                    assert hint_of(client, checks), "the empty exercise passes"
                    for answer, hint in next(answers, []):
                        execute(client, cell, answer)
                        assert hint in (given := hint_of(client, checks)) and bool(hint) == bool(given), answer
                execute(client, cell)
    assert next(answers, None) is None, "answers to an exercise that is not there"


def hint_of(client, checks):
    """Run the checks of an answer up to the first that fails and return its hint, or an empty text if all pass."""
    try:
        for check in checks:
            execute(client, check)
    except CellExecutionError as error:
        assert error.ename == "NotYet", error
        return error.evalue
    return ""


def execute(client, cell, source=None):
    cell = copy.deepcopy(cell)
    cell.source = source or cell.source
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
