"""LiteRT files give the predictions of the model, quantised files are smaller, and invalid files are refused."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tests.conftest import ROOT
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment import phases, saving
from transfer_utils.experiment.run import run_experiment
from transfer_utils.models import litert
from transfer_utils.models.litert import LiteRT, convert, load_exported
from transfer_utils.models.saving import name_classes, names_and_threshold
from transfer_utils.predict import predict_images
from transfer_utils.records.record import RunRecord

pytestmark = pytest.mark.usefixtures("small_backbone")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return tiny.model(tiny.config(), classes=3)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_file_of_each_precision_gives_the_probabilities_of_the_model(model, precision):
    outputs = LiteRT(convert(model, 1, precision, IMAGES))(IMAGES)
    expected = np.asarray(model(IMAGES.astype("float32")))
    assert outputs.dtype == np.float32 and outputs.shape == (20, 3)
    assert np.abs(outputs - expected).max() < (0.05 if precision == "int8" else 2e-3)
    assert np.ptp(expected, axis=0).max() > 0.05, "all images give the same output"


def test_lower_precision_makes_smaller_files():
    pixels = keras.Input((32, 32, 3))
    network = keras.Model(pixels, keras.layers.Dense(10)(keras.layers.Flatten()(pixels)))  # 30,720 weights
    sizes = [len(convert(network, 1, precision, IMAGES)) for precision in ("float32", "float16", "int8")]
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.6 * sizes[1]


def test_predict_returns_class_names_for_a_file(model, tmp_path):
    path = tmp_path / "model-float32.tflite"
    path.write_bytes(convert(model, 1))
    name_classes(path, RunRecord(dataset={"class_names": ["a", "b", "c"]}))
    Image.fromarray(IMAGES[0]).save("picture.png")
    ((_, answer),) = predict_images(path, [Path("picture.png")])
    expected = np.asarray(model(IMAGES[:1].astype("float32")))[0]
    assert [name for name, _ in answer.best] == ["abc"[i] for i in np.argsort(expected)[::-1]]
    assert np.allclose([share for _, share in answer.best], np.sort(expected)[::-1], atol=1e-3)


@pytest.mark.slow
def test_a_run_exports_and_evaluates_each_precision():
    options = {"n_unfreeze": 0, "epochs_stage1": 1, "export": "all", "not_sure_rate": 0.39}
    run = run_experiment(tiny.config(**options), log=lambda line: None)
    dataset = load_dataset(tiny.config())
    for precision in ("float32", "float16", "int8"):
        exported = load_exported(run.folder / run.record.files[precision])
        right = (exported(dataset.test.take()).argmax(axis=1) == dataset.test.labels).mean()
        assert run.record.metrics[f"test_{precision}"] == right
        largest = exported(dataset.validation.take()).max(axis=1)
        threshold = names_and_threshold(run.folder / run.record.files[precision], 2)[1]
        assert threshold == run.record.not_sure[f"threshold_{precision}"] and threshold == np.sort(largest)[3]
    assert run.record.metrics["test_float32"] == run.record.metrics["test_end2end"]
    assert run.record.timing_sec["export"] > 0, "the export has its own entry"


def test_an_unavailable_export_is_reported_before_training(monkeypatch):
    monkeypatch.setattr(saving, "litert_missing", lambda: "it has no wheel")
    monkeypatch.setattr(phases, "load_dataset", lambda *ignored: pytest.fail("data was loaded"))
    with pytest.raises(UserError, match=r"export must be 'none' here, got 'int8': it has no wheel"):
        run_experiment(tiny.config(export="int8"), log=lambda line: None)


def test_an_invalid_file_or_one_that_fails_when_it_runs_is_refused_by_name(model, tmp_path, monkeypatch):
    def fail(self, images):
        raise RuntimeError("Input tensor 4 lacks data")

    path, good = tmp_path / "odd.tflite", convert(model, 1)
    for content in (b"", b"no model", good[:5000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"odd\.tflite cannot be loaded as a model"):
            load_exported(path)
    path.write_bytes(good)
    monkeypatch.setattr(LiteRT, "__call__", fail)
    with pytest.raises(UserError, match=r"odd\.tflite cannot be loaded as a model: Input tensor 4 lacks data"):
        load_exported(path)
    with pytest.raises(UserError, match="There is no model file"):
        load_exported(tmp_path / "missing.tflite")


@pytest.mark.fault(37)
def test_a_file_that_declares_a_tensor_of_gigabytes_is_refused_before_it_is_allocated(tmp_path):
    pixels = keras.Input((8, 8, 3))
    huge = keras.layers.UpSampling2D(2000)(pixels)  # 16,000 x 16,000 x 3 float32
    (tmp_path / "huge.tflite").write_bytes(
        convert(keras.Model(pixels, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(huge))), 1)
    )
    with pytest.raises(UserError, match=r"huge\.tflite cannot be loaded as a model: it declares a tensor of 3\.1 GB"):
        load_exported(tmp_path / "huge.tflite")


# Each file in a process of its own, because native code could crash it.
MUTATE = """
import os, random, sys
from pathlib import Path
from transfer_utils.errors import UserError
from transfer_utils.models.litert import load_exported

good, draw = Path(sys.argv[1]).read_bytes(), random.Random(0)
load_exported(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    content = bytearray(good)
    for _ in range(draw.choice((1, 8, 64))):
        content[draw.randrange(len(content))] = draw.randrange(256)
    if draw.random() < 0.25:
        del content[draw.randrange(len(content)) :]
    path = Path(f"mutated-{number}.tflite")
    path.write_bytes(content)
    child = os.fork()
    if child == 0:
        try:
            load_exported(path)
        except UserError as error:
            os._exit(2 if str(path) in str(error) else 3)
        except BaseException:
            os._exit(3)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.torture)])
@pytest.mark.fault(13)
def test_a_mutated_file_is_run_or_refused_by_name(model, tmp_path, tally, times):
    (tmp_path / "good.tflite").write_bytes(convert(model, 1))
    command = [sys.executable, "-c", MUTATE, str(tmp_path / "good.tflite"), str(times)]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    statuses = [int(line) for line in done.stdout.split()]
    lost = sum(status not in (0, 2) for status in statuses)
    tally(times, lost)
    assert (len(statuses), lost) == (times, 0), (statuses, done.stderr[-2000:])
    assert times < 60 or 2 in statuses, "nothing was damaged"


def test_a_model_with_other_inputs_or_outputs_is_refused(tmp_path):
    flat, pixels = keras.Input((4,)), keras.Input((32, 32, 3))
    models = {
        r"must be square uint8 colour images": keras.Model(flat, keras.layers.Dense(2)(flat)),
        r"got the shape \(30, 30, 2\)": keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels)),
        r"and float32 outputs, got uint8 .*uint8 \(1, 3\)": keras.Model(
            pixels, keras.ops.cast(keras.layers.Flatten()(pixels)[:, :3], "uint8")
        ),
    }
    for message, model in models.items():
        (tmp_path / "other.tflite").write_bytes(convert(model, 1))
        with pytest.raises(UserError, match=rf"other\.tflite .*{message}"):
            load_exported(tmp_path / "other.tflite")


def test_native_messages_are_shown_only_after_a_failure(capfd):
    def chatter() -> None:
        os.write(2, b"from native code")

    with litert._native_log_unless_error():
        chatter()
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), litert._native_log_unless_error():
        chatter()
        raise RuntimeError
    assert capfd.readouterr().err == "from native code"
    chatter()
    assert capfd.readouterr().err == "from native code", "standard error was not restored"


def test_of_two_threads_the_second_waits_so_that_standard_error_is_restored(capfd):
    inside = threading.Event()

    def capture() -> None:
        with litert._native_log_unless_error():
            inside.set()

    second = threading.Thread(target=capture)
    with litert._native_log_unless_error():
        second.start()
        assert not inside.wait(0.2)
    second.join(60)
    os.write(2, b"afterwards")
    assert inside.is_set() and capfd.readouterr().err == "afterwards"
