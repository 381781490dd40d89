"""Execution of the course: parameters, notebooks that fail, hang, die or end early (fault 28), and publication."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.notebooks.conftest import code, notebook_of
from tests.waiting import wait_for
from transfer_utils.course import kernel, run
from transfer_utils.course.run import choose_notebooks, notebooks_folder, parameters_of, publish, run_course
from transfer_utils.errors import UserError

LOADED = kernel.LOADED
PARAMETERS = (
    'preset = "cifar10"\noutput_dir = "course"\nseed = 0\nrate = 0.5\nnames = ["a"]\nfast = False\noptions = {}'
)


def write(name, *cells, parameters=PARAMETERS, finished=True):
    """Write a notebook with a parameters cell, a Markdown cell, ``cells`` and the last line; return its path."""
    closing = [f'print("{name}: finished.")'] if finished else []
    notebook = notebook_of(parameters, *cells, *closing)
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("# Why?"))
    path = Path.cwd() / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(autouse=True)
def _next_kernel_loads_nothing(monkeypatch):
    """Keep the kernel of the next notebook from loading Keras, which takes seconds."""
    monkeypatch.setattr(kernel, "LOADED", "pass")


def texts(path):
    return [output.get("text", "") for cell in code(path) for output in cell.outputs]


def test_the_notebooks_folder_is_found_from_its_parent_itself_and_elsewhere(monkeypatch):
    assert notebooks_folder().name == "notebooks"
    here = write("01_one").parent
    assert notebooks_folder() == here
    monkeypatch.chdir(here)
    assert notebooks_folder() == here


def test_notebooks_are_selected_by_number_or_name_in_course_order():
    paths = [write("01_one"), write("02_two"), write("10_ten")]
    folder = paths[0].parent
    assert choose_notebooks(folder) == paths
    assert choose_notebooks(folder, ["10", "1"]) == [paths[0], paths[2]]
    assert choose_notebooks(folder, ["02_two"]) == choose_notebooks(folder, ["notebooks/02_two.ipynb"]) == [paths[1]]
    with pytest.raises(UserError, match=r"notebook must be one of 01_one, .*Did you mean '02_two'"):
        choose_notebooks(folder, ["02_tow"])
    with pytest.raises(UserError, match="got '3'"):
        choose_notebooks(folder, ["3"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sede", "1", "Did you mean 'seed'"),
        ("seed", "one", "seed must be a whole number, such as 0, got 'one'"),
        ("seed", "1.5", "seed must be a whole number"),
        ("seed", True, "seed must be a whole number, such as 0, got True"),
        ("seed", "-1", "seed must be at least 0"),
        ("fast", "maybe", "fast must be True or False, such as False, got 'maybe'"),
        ("rate", "fast", "rate must be a number, such as 0.5"),
        ("preset", "offlin", "Did you mean 'offline'"),
        ("options", "tta", "options must be a mapping, such as {}, got 'tta'"),
        ("options", "{'epoch_stage2': 3}", "no option 'epoch_stage2'. Did you mean 'epochs_stage2'"),
    ],
)
@pytest.mark.fault(29)
def test_a_wrong_parameter_is_rejected_before_anything_runs(monkeypatch, name, value, message):
    monkeypatch.setattr(run, "run_notebook", lambda *_: pytest.fail("a notebook was started"))
    write("01_one")
    with pytest.raises(UserError, match=message):
        run_course("offline", parameters={name: value})


def test_notebooks_get_their_parameters_converted_to_the_right_type(monkeypatch):
    write("01_one")
    write("02_two", parameters='preset = "cifar10"')
    write("09_mine", parameters="limit = None\nkind = None\nsizes = (1, 2)")
    received = {}
    monkeypatch.setattr(run, "run_notebook", lambda path, copy, values, *rest: received.update({path.stem: values}))
    texts = {"seed": "3", "rate": "2", "names": "['b', 'c']", "fast": "true"}
    own = {"limit": "3", "kind": "new", "sizes": "(3,)"}
    assert run_course("offline", parameters=texts | own, output_dir="out", log=lambda line: None) == 0
    converted = {"seed": 3, "rate": 2.0, "names": ["b", "c"], "fast": True}
    assert received["01_one"] == {"preset": "offline", "output_dir": "out", **converted}
    assert received["02_two"] == {"preset": "offline"}
    assert received["09_mine"] == {"limit": 3, "kind": "new", "sizes": (3,)}, "a notebook of the reader's own"
    with pytest.raises(UserError, match="sizes must be a tuple, such as"):
        run_course("offline", parameters={"sizes": "[3]"})


@pytest.mark.parametrize("source", ["seed = 1 + x", "seed, rate = 1, 2", "import os", "seed ="])
@pytest.mark.fault(29)
def test_parameters_must_be_literals(source):
    with pytest.raises(UserError, match="must be lines of the form"):
        parameters_of(write("01_one", parameters=source))


@pytest.mark.slow
@pytest.mark.course
def test_a_notebook_is_executed_with_its_parameters_into_a_copy_without_a_home_folder(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("TRANSFER_UTILS_PRESET", "cifar10")
    variable = "os.environ.get('TRANSFER_UTILS_PRESET')"
    write(
        "01_one",
        f"import matplotlib.figure, os, sys\nprint(preset, seed, {variable}, sys.prefix, flush=True)\nprint('end')",
    )
    lines, steps = [], []
    progress = lambda *step: steps.append(step)  # noqa: E731
    assert run_course("offline", ["1"], {"seed": "5"}, progress=progress, log=lines.append) == 0
    assert f"offline 5 None {sys.prefix}\nend\n" in texts("course/01_one.ipynb"), "one output, however it arrived"
    assert lines[0].startswith("01_one: cell 4 of 4, ") and lines[1].startswith("1 of 1 notebook succeeded in ")
    assert steps == [("01_one", done, 4) for done in range(4)]
    assert os.environ["TRANSFER_UTILS_PRESET"] == "cifar10"


@pytest.mark.slow
@pytest.mark.course
def test_the_kernel_of_the_next_notebook_has_loaded_keras_but_gives_it_no_name(monkeypatch):
    loaded = LOADED.replace("'transfer_utils', 'keras'", "'wave',")  # another module, as Keras takes seconds
    assert loaded != LOADED
    monkeypatch.setattr(kernel, "LOADED", loaded)
    for number, name in enumerate(("01_one", "02_two")):
        write(name, f"import sys\nprint({number}, 'wave' in sys.modules, 'wave' in globals())")
    assert run_course("offline", log=lambda line: None) == 0
    first, second = (texts(f"course/{name}.ipynb") for name in ("01_one", "02_two"))
    assert "0 False False\n" in first and "1 True False\n" in second
    counts = [[cell.execution_count for cell in code(f"course/{name}.ipynb")] for name in ("01_one", "02_two")]
    assert counts[0] == counts[1], "the cells are numbered as in a kernel of one's own"


HANGS = ("import time\ntime.sleep(600)", True, "failed in cell 4 of 6: it took longer than 2 s.")
ENDS_EARLY = ("x = 1", False, "failed in cell 5 of 5: it ended without the line")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "finished", "failure"),
    [
        ("x = {}['lost']", True, "failed in cell 4 of 6: KeyError: 'lost'"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", True, "failed in cell 4 of 6: its kernel died"),
        pytest.param(*HANGS, marks=pytest.mark.course),
        pytest.param(*ENDS_EARLY, marks=pytest.mark.course),
    ],
    ids=["raises", "dies", "hangs", "ends early"],
)
@pytest.mark.fault(28)
def test_a_failure_names_notebook_cell_and_error_and_keeps_the_partial_copy(body, finished, failure):
    write("01_bad", "print('so far')", body, "print('not reached')", finished=finished)
    lines = []
    assert run_course("offline", log=lines.append, timeout=2 if failure == HANGS[-1] else 60) == 1
    assert lines[0].endswith(", failed")
    assert lines[1].startswith("0 of 1 notebook succeeded")
    assert f"01_bad {failure}" in lines[2] and "01_bad.ipynb" in lines[2]
    assert "so far\n" in texts("course/01_bad.ipynb")
    assert ("not reached\n" in texts("course/01_bad.ipynb")) is not finished


def test_the_notebooks_themselves_are_never_replaced_by_their_copies():
    path = write("01_one")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"holds the notebooks themselves.*--output_dir"):
        run_course("offline", output_dir=str(path.parent))
    assert path.read_bytes() == before


@pytest.mark.fault(28)
def test_the_notebooks_after_a_failed_one_still_run(monkeypatch):
    write("01_bad")
    write("02_good")
    ran, lines, errors = [], [], []

    def fail_first(path, *rest):
        ran.append(path.stem)
        return "ZeroDivisionError" if path.stem == "01_bad" else ""

    monkeypatch.setattr(run, "run_notebook", fail_first)
    assert run_course("offline", log=lines.append, log_error=errors.append) == 1
    assert lines[2].startswith("1 of 2 notebooks succeeded") and len(lines) == 3
    assert len(errors) == 1 and "01_bad" in errors[0]
    assert ran == ["01_bad", "02_good"]


@pytest.mark.slow
@pytest.mark.course
@pytest.mark.fault(6, 28)
def test_an_interrupt_stops_the_course_and_its_kernel(tmp_path):
    write("01_long", "import os, time\nprint(os.getpid(), file=open('kernel', 'w'), flush=True)\ntime.sleep(600)")
    write("02_next", "open('next', 'w')")
    program = """
        from transfer_utils.course import kernel, run_course
        kernel.LOADED = "pass"
        try:
            run_course("offline")
        except BaseException as error:
            print(type(error).__name__)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        note, started = tmp_path / "kernel", psutil.Process(process.pid)
        wait_for(lambda: note.exists() and note.read_text().endswith("\n"), process)
        wait_for(lambda: len(started.children()) > 1, process)  # the kernel of the next notebook starts meanwhile
        kernels = started.children()
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert printed.splitlines()[-1] == "KeyboardInterrupt"
    assert int(note.read_text()) in [each.pid for each in kernels] and not any(each.is_running() for each in kernels)
    assert not (tmp_path / "next").exists()


def test_the_whole_course_is_not_published_from_runs_of_before():
    path = write("01_good", "print('shown')")
    before, record = path.read_bytes(), Path("course/0001-offline-transfer/run.json")
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    with pytest.raises(UserError, match="course holds runs that the notebooks would use again instead of training"):
        publish(output_dir="fresh", log=lambda line: None)
    assert path.read_bytes() == before, "the notebooks have a folder of their own, whatever that of their copies is"


@pytest.mark.slow
@pytest.mark.course
@pytest.mark.fault(28)
def test_publish_writes_outputs_back_except_for_a_notebook_that_fails_or_warns():
    others = [write("01_bad", "1 / 0"), write("02_warns", "import sys\nprint('beware', file=sys.stderr)")]
    before = [path.read_bytes() for path in others]
    path = write("03_good", "print('shown')", "import os\nprint(os.environ['TRANSFER_UTILS_FIGURES'][-7:])")
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    lines = []
    assert publish(log=lines.append) == 1
    assert [path.read_bytes() for path in others] == before
    assert any("ZeroDivisionError" in line for line in lines)
    assert any("02_warns is not published: it wrote to standard error: beware" in line for line in lines)
    assert [cell.source for cell in nbformat.read(path, as_version=4).cells] == sources
    assert texts(path) == ["shown\n", "figures\n", "03_good: finished.\n"]
    assert [cell.execution_count for cell in code(path)] == [1, 2, 3, 4]
    assert "papermill" not in path.read_text() and "start_time" not in path.read_text()
