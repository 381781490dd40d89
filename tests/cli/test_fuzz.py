"""Random arguments and random file contents: every command ends with a message and leaves no stray files."""

import contextlib
import copy
import functools
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pictures import picture
from tests.studies import test_spec
from tests.utils.test_text import JSON
from transfer_utils import cli
from transfer_utils.config.options import MODEL_SUFFIXES, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.litert import convert
from transfer_utils.models.saving import save_model


@contextlib.contextmanager
def inner_folder() -> Iterator[Path]:
    """Change to an empty folder inside two others, so that files written outside of it are noticed."""
    with tempfile.TemporaryDirectory() as outer, pytest.MonkeyPatch.context() as patch:
        here = Path(outer, "a", "b")
        here.mkdir(parents=True)
        patch.chdir(here)
        yield here


def run_command(words: list[str]) -> tuple[int, str]:
    """Run a command and return its exit status and output; check that it creates files below ``out`` only."""
    before, printed = files_around(), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = cli.main(words)
    assert files_around() == before
    printed.flush()
    text = printed.buffer.getvalue().decode()
    assert "Traceback" not in text, text
    assert "Error: " in text or status == 0, (status, text)
    return status, text


def files_around() -> list[str]:
    """Return all paths below the folder two levels up, except those in ``out``."""
    around = Path.cwd().parents[1]
    return sorted(str(path) for path in around.rglob("*") if not path.is_relative_to(Path.cwd() / "out"))


def started(*args, **options):
    raise UserError("the command would have started")


# Random arguments.

FLAGS = [
    f"--{spelling}" for name in RunConfig.model_fields for spelling in (name, name.replace("_", "-"), f"no-{name}")
]
WORDS = st.sampled_from(
    [*FLAGS, "--top", "--port", "--epochs", "--quiet", "--debug", "--", "-p", "0", "1", "-1", "0.5"]
)
TEXT = st.text(max_size=8).filter(lambda text: "\0" not in text)
COMMANDS = ["train", "compare", "sweep", "report", "course", "predict", "inspect", "doctor", "pretrain", "dashboard"]
COMMANDS += ["notebooks", "card", "collect", "teach", "demo"]
# What the commands call to do their work.
WORK = ["cli.compare.run_comparison", "cli.doctor.examine", "cli.inspection.write_inspection", "course.run.publish"]
WORK += ["course.run.run_course", "dashboard.launch.launch", "demo.write_demo", "experiment.run.run_experiment"]
WORK += ["experiment.teach.teach", "predict.predict_images", "report.article.write_report", "report.cards.write_cards"]
WORK += ["studies.sweep.run_sweep", "training.pretrain.pretrain_backbone"]


@given(command=st.sampled_from(COMMANDS), arguments=st.lists(WORDS | TEXT, max_size=6))
@pytest.mark.fault(29)
def test_any_arguments_end_with_status_0_or_2(command, arguments):
    with inner_folder(), pytest.MonkeyPatch.context() as patch:
        for name in WORK:
            patch.setattr(f"transfer_utils.{name}", started)
        patch.setattr("transfer_utils.course.copy_course", lambda folder: (1, 0))
        assert cli.main([command, *arguments]) in (0, 2)
    assert set(cli.cli.commands) == set(COMMANDS), "a command is missing from this test"


NAMES = TEXT | st.sampled_from(["01", "4", "07_", "../01", "notebooks", "9" * 5000, "offline", "seed", "options", "{}"])


@settings(max_examples=settings().max_examples // 5)  # each example reads all notebooks
@given(
    preset=NAMES,
    notebooks=st.lists(NAMES, max_size=2),
    parameters=st.lists(st.tuples(NAMES, NAMES | st.sampled_from(["3", "[", "(" * 300, "{'seed': 1}"])), max_size=2),
)
@example("offline", ["01"], [("seed", "3")])
@pytest.mark.fault(29)
def test_a_course_with_wrong_names_is_rejected_before_anything_runs(preset, notebooks, parameters):
    words = ["course", "--output_dir", "out", f"--preset={preset}", *(f"--notebook={name}" for name in notebooks)]
    words += [word for pair in parameters for word in ("-p", *pair)]
    with inner_folder(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer_utils.course.run.run_notebook", started)
        assert run_command(words)[0] == 2


# Random file contents.

STUDY = yaml.safe_load(test_spec.STUDY)
STUDY["options"]["output_dir"] = "runs"


@st.composite
def spoiled(draw: Callable, whole: object) -> object:
    """Draw a copy of ``whole`` with one to three values replaced, removed or renamed."""
    spoiled = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        inner, key = draw(st.sampled_from(list(places(spoiled))))
        change = draw(st.sampled_from(["replace", "remove", "rename"]))
        value = inner.pop(key) if change != "replace" else None
        if change == "replace":
            inner[key] = draw(JSON)
        elif change == "rename" and isinstance(inner, dict):
            inner[draw(st.text(max_size=8))] = value
        if not any(True for _ in places(spoiled)):
            break
    return spoiled


def places(value: object) -> Iterator[tuple]:
    """Yield every list and dictionary inside ``value``, paired with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def as_yaml(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode()


STUDIES = st.binary(max_size=30) | st.text(max_size=30).map(str.encode) | (JSON | spoiled(STUDY)).map(as_yaml)
GOOD, GOOD_IMAGE = as_yaml(STUDY), picture()


@given(content=STUDIES, preset=st.sampled_from(["", "offline", "x"]), seeds=st.sampled_from(["", "7"]) | TEXT)
@example(GOOD, "", "")
@example(GOOD, "", "9" * 5000)
@pytest.mark.fault(29)
def test_any_study_file_is_planned_or_rejected(content, preset, seeds):
    with inner_folder() as here:
        (here / "study.yaml").write_bytes(content)
        status, text = run_command(["sweep", "study.yaml", "--dry-run", f"--preset={preset}", f"--seeds={seeds}"])
    assert status == 2 or (status == 0 and "to do: about " in text), text
    assert status == 0 or (content, seeds) != (GOOD, ""), text


@functools.cache
def good_models() -> dict[str, bytes]:
    """Return the file of a two-class model in each readable format, by suffix."""
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    with tempfile.TemporaryDirectory() as folder:
        saved = {suffix: save_model(network, Path(folder, f"m{suffix}")).read_bytes() for suffix in MODEL_SUFFIXES}
    return saved | {".tflite": convert(network, 1)}


@st.composite
def damaged(draw: Callable, whole: bytes) -> bytes:
    """Draw a copy of ``whole`` that is truncated or has some bytes replaced."""
    at, other = draw(st.integers(0, len(whole) - 1)), draw(st.binary(max_size=20))
    return whole[:at] + (other + whole[at + len(other) :] if other else b"")


@settings(max_examples=settings().max_examples // 5)
@given(st.data())
@pytest.mark.fault(13, 20)
def test_any_model_and_image_file_give_a_prediction_or_a_message(data):
    suffix = data.draw(st.sampled_from([*good_models(), ".txt"]))
    whole = good_models().get(suffix, b"text")
    model = data.draw(st.just(whole) | damaged(whole) | st.binary(max_size=30))
    image = data.draw(st.just(GOOD_IMAGE) | damaged(GOOD_IMAGE) | st.binary(max_size=30))
    with inner_folder() as here:
        (here / f"model{suffix}").write_bytes(model)
        (here / "a.png").write_bytes(image)
        status, text = run_command(["predict", f"model{suffix}", "a.png"])
    assert status == 2 or (status == 0 and "\na.png: class " in f"\n{text}"), text
    assert status == 0 or suffix == ".txt" or (model, image) != (whole, GOOD_IMAGE), text
