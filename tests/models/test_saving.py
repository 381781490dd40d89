"""Model files: predictions are the same after loading, failed saves lose nothing, and foreign code never runs."""

import io
import json
import logging
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tests import tiny
from tests.tiny import quiet
from transfer_utils.errors import UserError
from transfer_utils.models import saving
from transfer_utils.models.networks import build_baseline_cnn
from transfer_utils.models.saving import MAX_DESCRIPTION_BYTES, copy_model, load_model, names_and_threshold, save_model
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.keras_private import without_memory

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("float32")


def network(name: str = "MobileNetV2") -> keras.Model:
    """Return a full model with the small backbone and the preprocessing of backbone ``name``."""
    return tiny.model(tiny.config(backbone=name))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "baseline"])
def test_a_loaded_model_gives_the_same_predictions(tmp_path, name, suffix):
    model = build_baseline_cnn(2) if name == "baseline" else network(name)
    path = save_model(model, tmp_path / f"model{suffix}")
    assert np.array_equal(load_model(path)(PIXELS), model(PIXELS, training=False))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_normalization_inside_the_backbone_keeps_its_statistics(tmp_path, suffix):
    pixels, images = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    normalization = keras.layers.Normalization()
    normalization.adapt(PIXELS)
    backbone = keras.Model(images, normalization(images))
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(backbone(pixels)))
    path = save_model(model, tmp_path / f"model{suffix}")
    assert np.array_equal(load_model(path)(PIXELS), model(PIXELS))


def test_a_copy_that_is_not_finished_has_no_names_of_another_model(tmp_path, monkeypatch):
    model, path = build_baseline_cnn(2), tmp_path / "model.keras"
    first, second = (RunRecord(dataset={"class_names": names}) for names in (["cat", "dog"], ["cup", "fork"]))
    copy_model(model, first, path, quiet)
    assert names_and_threshold(path, 2)[0] == ["cat", "dog"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(saving, "save_model", tiny.raise_interrupt)
        copy_model(model, second, path, quiet)
    assert names_and_threshold(path, 2)[0] == ["cat", "dog"], "the first model is still there"
    monkeypatch.setattr(saving, "write_json", tiny.raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        copy_model(model, second, path, quiet)
    with pytest.warns(UserWarning, match="are numbered"):
        assert names_and_threshold(path, 2)[0] == ["class 0", "class 1"]


def test_saving_as_h5_prints_no_warning_and_leaves_the_log_level(tmp_path, capfd, caplog):
    level = logging.getLogger("absl").level
    save_model(network(), tmp_path / "model.h5")
    assert not capfd.readouterr().err and not caplog.records
    assert logging.getLogger("absl").level == level


def test_a_model_path_must_end_in_keras_or_h5_and_a_model_must_exist(tmp_path):
    for name in ("model", "model.pb", "model.weights"):
        with pytest.raises(UserError, match=r"^path must end in .keras or .h5, got '.*'"):
            save_model(network(), tmp_path / name)
    assert not os.listdir(tmp_path)
    for name, message in (("none.keras", "There is no model file"), ("", "is a folder: name the model")):
        with pytest.raises(UserError, match=message):
            load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "suffix", "hint"),
    [
        ("model.log", ".keras", "It has the content of a .keras file: rename it to model.keras."),
        ("model", ".h5", "It has the content of a .h5 file: rename it to model.h5."),
        ("model.h5", ".keras", "rename it to model.keras."),
        ("model.txt", "", r"\Z"),
    ],
)
def test_a_misnamed_model_is_told_its_name(tmp_path, name, suffix, hint):
    content = save_model(network(), tmp_path / f"whole{suffix}").read_bytes() if suffix else b"notes"
    (tmp_path / name).write_bytes(content)
    message = rf"{name} cannot be read as a model: its name must end in .keras or .h5.*{hint}"
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / name)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x05\x06" + bytes(18), b"no model", 0.3, 0.97])
@pytest.mark.fault(13)
def test_a_truncated_model_or_another_file_is_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"odd{suffix}"
    if isinstance(content, float):
        content = save_model(network(), path).read_bytes()[: int(content * path.stat().st_size)]
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"odd{suffix} (is not a Keras model|is damaged|cannot be read as a model)"):
        load_model(path)


# Hostile files. Each would create a file named "sentinel" if it were loaded without checks.


def lambda_model() -> keras.Model:
    """Return a model with a Lambda layer that creates the sentinel in the current folder whenever it is called."""
    harm = layers.Lambda(lambda x: (open("sentinel", "w").close(), x)[1])
    return keras.Sequential([keras.Input((2,)), harm, layers.Dense(1)])


def good_model() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), layers.Dense(1, name="dense")])


def saved(model: keras.Model, path: Path) -> bytes:
    model.save(path)
    Path("sentinel").unlink(missing_ok=True)
    return path.read_bytes()


def with_member(path: Path, name: str, change) -> bytes:
    """Return a valid ``.keras`` file in which ``change`` made another content of a member."""
    content, buffer = saved(good_model(), path), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.namelist():
            new.writestr(each, change(old.read(each)) if each == name else old.read(each))
    return buffer.getvalue()


def with_layer(layer: dict):
    """Return what makes a ``.keras`` file whose configuration has this instead of the Dense layer."""

    def change(inside: bytes) -> str:
        config = json.loads(inside)
        dense_of(config).update(layer)
        return json.dumps(config)

    return lambda path, sentinel: with_member(path, "config.json", change)


def dense_of(config: dict) -> dict:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def with_added(path: Path, name: str, content: bytes) -> bytes:
    """Return a ``.keras`` file with one member more."""
    saved(good_model(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    return path.read_bytes()


def changed_h5(path: Path, change) -> bytes:
    """Return a valid HDF5 file that was then opened and given to ``change``."""
    saved(good_model(), path)
    with h5py.File(path, "a") as file:
        change(file)
    return path.read_bytes()


def layer_config(module: str | None, name: str, /, **config) -> dict:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def lambda_layer(path, sentinel):
    return saved(lambda_model(), path)


def two_in_one(path, sentinel):
    """Return a file that is both an HDF5 file with a Lambda layer and a harmless .keras archive."""
    return saved(lambda_model(), path) + saved(good_model(), path.with_suffix(".keras"))


def foreign_optimizer(path, sentinel):
    optimizer = {"optimizer": layer_config("os", "system", command=f"touch {sentinel}")}
    return with_member(
        path, "config.json", lambda inside: json.dumps(json.loads(inside) | {"compile_config": optimizer})
    )


def pickled_member(path, sentinel):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(sentinel),)

    return with_added(path, "assets/tokens.pkl", pickle.dumps(Harm()))


def climbing_member(path, sentinel):
    return with_added(path, "../sentinel", b"")


def deep_config(path, sentinel):
    return with_member(path, "config.json", lambda inside: "[" * 20_000 + "]" * 20_000)


def huge_config(path, sentinel):
    return with_member(path, "config.json", lambda inside: inside + b" " * MAX_DESCRIPTION_BYTES)


def linked_keras(path, sentinel):
    """Return a .keras file that stores its weights in another file."""
    secret, inside = sentinel.with_name("secret"), path.with_suffix(".weights.h5")
    secret.write_bytes(np.full(2, 7, "float32").tobytes())
    good_model().save_weights(inside)
    with h5py.File(inside, "a") as file:
        numbers = file["layers/dense/vars"]
        del numbers["0"]
        numbers.create_dataset("0", (2, 1), "f4", external=[(str(secret), 0, 8)])
    return with_member(path, "model.weights.h5", lambda whole: inside.read_bytes())


def inflated_h5(path, sentinel):
    """Return a file of a few kilobytes that declares a dataset of 4 GB."""
    return changed_h5(path, lambda file: file["model_weights"].create_dataset("huge", (1 << 30,), "f4"))


def inflated_keras(path, sentinel):
    """Return a small .keras archive whose weights file grows by a factor of 1,000 when it is read."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["huge"] = np.zeros(1 << 22, "float32")
    return with_member(path, "model.weights.h5", lambda whole: weights.getvalue())


def described_h5(path, sentinel):
    def describe(file):
        config = json.loads(file.attrs["model_config"])
        dense_of(config)["config"] |= HUGE["config"]
        file.attrs["model_config"] = json.dumps(config)

    return changed_h5(path, describe)


def broken_stream(path, sentinel):
    """Return an archive whose configuration is not what its compression would have made."""
    content = with_layer({})(path, sentinel)
    at = content.find(b"config.json") + len("config.json")
    return content[:at] + b"\xff" * 20 + content[at + 20 :]


def pickled_config(path, sentinel):
    pickled = np.void(pickle.dumps({"class_name": "Sequential"}))
    return changed_h5(path, lambda file: file.attrs.create("model_config", pickled))


def function_of(module: str, name: str) -> dict:
    function = {"module": module, "class_name": "function", "config": name, "registered_name": "function"}
    return {"config": {"units": 1, "activation": function}}


FOREIGN = "code that is not part of Keras"
LAMBDA = layer_config("keras.layers", "Lambda", function="4wEAAAAAAAAAAAAAAAEAAAABAAAAQwAAAHMEAAAA")
HUGE = {"config": {"units": 5_000_000_000}}  # of 40 GB
HARM = layer_config("os", "system", command="touch sentinel")
LAYERS = {
    "wrapped Lambda": (layer_config("keras.layers", "TimeDistributed", layer=LAMBDA), f"'Lambda', {FOREIGN}"),
    "foreign class": (HARM, f"'system', {FOREIGN}"),
    "registered class": (HARM | {"module": None, "registered_name": "os>system"}, "cannot be loaded as a model"),
    "lookalike module": (layer_config("keras_layers.core", "Dense", units=1), f"'Dense', {FOREIGN}"),
    "saved graph": (layer_config("keras.layers", "TFSMLayer", filepath="sentinel"), f"'TFSMLayer', {FOREIGN}"),
    "torch module": (
        layer_config("keras.layers", "TorchModuleWrapper", module="g="),
        f"'TorchModuleWrapper', {FOREIGN}",
    ),
    # A function of Keras that is not a layer, and would download a file.
    "fetching function": (
        layer_config("keras.utils", "get_file", origin=f"file://{__file__}"),
        "not a modeling function",
    ),
    # It would take its vocabulary, and so what it prints, from another file.
    "reading layer": (layer_config("keras.layers", "StringLookup", vocabulary=__file__), "cannot be loaded as a model"),
    "foreign function": (function_of("subprocess", "run"), f"'function', {FOREIGN}"),
    "built-in function": (function_of("builtins", "eval"), "cannot be loaded as a model"),
    "marshalled function": (
        {"config": {"activation": {"class_name": "__lambda__", "config": {"value": "bm9uZQ=="}}}},
        f"'__lambda__', {FOREIGN}",
    ),
    "huge": (HUGE, r"but declares 60\.0 GB of content, more than 100 times as much"),
}
HOSTILE = [
    *((with_layer(layer), ".keras", message) for layer, message in LAYERS.values()),
    (lambda_layer, ".keras", f"'Lambda', {FOREIGN}"),
    (lambda_layer, ".h5", f"'Lambda', {FOREIGN}"),
    (two_in_one, ".h5", f"'Lambda', {FOREIGN}"),
    (foreign_optimizer, ".keras", f"'system', {FOREIGN}"),
    (pickled_member, ".keras", "'assets/tokens.pkl', which no model needs"),
    (climbing_member, ".keras", "'../sentinel', which no model needs"),
    (deep_config, ".keras", "is not a Keras model"),
    (huge_config, ".keras", "its configuration has"),
    (linked_keras, ".keras", "stores its values in another file"),
    (inflated_h5, ".h5", r"but declares 4\.3 GB of content, more than 100 times as much"),
    (inflated_keras, ".keras", r"but declares 16\.8 MB of content, more than 100 times as much"),
    (described_h5, ".h5", "cannot be loaded as a model: "),
    (broken_stream, ".keras", "is not a Keras model"),
    (pickled_config, ".h5", "is not a Keras model"),
]
NAMES = [*LAYERS, *(make.__name__ for make, *_ in HOSTILE[len(LAYERS) :])]


@pytest.mark.parametrize(("make", "suffix", "message"), HOSTILE, ids=NAMES)
@pytest.mark.fault(13)
def test_a_hostile_model_is_refused_without_side_effects(tmp_path, make, suffix, message):
    path, sentinel = tmp_path / f"hostile{suffix}", tmp_path / "sentinel"  # in the current folder
    path.write_bytes(make(path, sentinel))
    before = set(os.listdir(tmp_path))
    with pytest.raises(UserError, match=message) as error:
        load_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert set(os.listdir(tmp_path)) == before and not sentinel.exists()


MEASURE = """
import resource, sys
import tensorflow  # what it takes is not counted
from transfer_utils.errors import UserError
from transfer_utils.models.saving import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        load_model(path)
    except UserError:
        print("refused", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.fault(37)
def test_a_small_file_that_declares_gigabytes_takes_no_memory(tmp_path):
    paths = [tmp_path / name for name in ("described.keras", "described.h5", "inflated.h5", "inflated.keras")]
    for path, make in zip(paths, (with_layer(HUGE), described_h5, inflated_h5, inflated_keras), strict=True):
        path.write_bytes(make(path, tmp_path / "sentinel"))
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["refused"] * 4, done.stderr
    assert all(int(line[1]) < 300_000 for line in lines), lines  # in kB


@pytest.mark.fault(37)
def test_looking_at_a_model_leaves_nothing_to_allocate(tmp_path):
    save_model(network(), tmp_path / "model.keras")
    with without_memory():
        model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    with keras.StatelessScope():  # at whose end Keras allocates what is on its list
        pass
    assert all(variable._value is None for variable in model.variables) and model.count_params() > 0


@pytest.mark.parametrize(("make", "suffix"), [(lambda_layer, ".keras"), (lambda_layer, ".h5"), (two_in_one, ".h5")])
@pytest.mark.fault(13)
def test_loading_without_checks_would_run_the_code(tmp_path, make, suffix):
    path, sentinel = tmp_path / f"a{suffix}", tmp_path / "sentinel"
    path.write_bytes(make(path, sentinel))
    assert not sentinel.exists()
    keras.saving.load_model(path, safe_mode=False, compile=False)
    assert sentinel.exists()
