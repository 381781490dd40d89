"""Model files: the same predictions after a reload, nothing lost by a failed save, and nobody else's code is run."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tests import tiny
from transfer_utils.errors import UserError
from transfer_utils.models.networks import build_baseline_cnn, build_full_model, build_top_classifier
from transfer_utils.models.saving import MAX_DESCRIPTION_BYTES, load_model, save_model
from transfer_utils.utils import files

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("float32")


def network(name: str = "MobileNetV2") -> keras.Model:
    """Return a whole model around the small backbone, with the preprocessing of backbone ``name``."""
    config = tiny.config(backbone=name)
    return build_full_model(tiny.backbone(), build_top_classifier(16, 2, config), config)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "baseline"])
def test_a_reloaded_model_gives_the_same_predictions(tmp_path, name, suffix):
    model = build_baseline_cnn(2) if name == "baseline" else network(name)
    path = save_model(model, tmp_path / f"model{suffix}")
    assert np.array_equal(load_model(path)(PIXELS), model(PIXELS, training=False))


def test_saving_as_h5_is_what_was_asked_for_and_not_advised_against(tmp_path, capfd, caplog):
    save_model(network(), tmp_path / "model.h5")
    assert not capfd.readouterr().err and not caplog.records


@pytest.mark.parametrize("name", ["model", "model.pb", "model.weights"])
def test_a_model_path_has_one_of_two_suffixes(tmp_path, name):
    with pytest.raises(UserError, match=r"model_path must end in .keras or .h5, got '.*'"):
        save_model(network(), tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.fault(5)
def test_a_save_that_fails_half_way_leaves_the_model_that_was_there(tmp_path, monkeypatch, suffix):
    path = save_model(network(), tmp_path / f"model{suffix}")
    before = path.read_bytes()

    def half(written):
        os.truncate(written, os.path.getsize(written) // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync", half)
    with pytest.raises(OSError, match="No space left"):
        save_model(network(), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    load_model(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x05\x06" + bytes(18), b"no model"])
@pytest.mark.fault(13)
def test_what_is_no_model_is_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"odd{suffix} (is no Keras model|is damaged)|odd{suffix} is damaged"):
        load_model(path)


@pytest.mark.parametrize("share", [0.3, 0.97])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.fault(13)
def test_a_truncated_model_is_refused_by_name(tmp_path, suffix, share):
    path = save_model(network(), tmp_path / f"cut{suffix}")
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(UserError, match=f"cut{suffix}"):
        load_model(path)


def test_a_model_that_is_not_there_is_said_to_be_missing(tmp_path):
    for path in (tmp_path / "none.keras", tmp_path):
        with pytest.raises(UserError, match="There is no model file"):
            load_model(path)


# Hostile files. Each one would do its harm, leave a file called "sentinel", if it were trusted.


def lambda_model() -> keras.Model:
    """Return a model with a Lambda layer that leaves the sentinel in the current folder whenever it is called."""
    harm = layers.Lambda(lambda x: (open("sentinel", "w").close(), x)[1])
    return keras.Sequential([keras.Input((2,)), harm, layers.Dense(1)])


def good_model() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), layers.Dense(1, name="dense")])


def saved(model: keras.Model, path: Path) -> bytes:
    model.save(path)
    Path("sentinel").unlink(missing_ok=True)
    return path.read_bytes()


def changed(path: Path, sentinel: Path, change) -> bytes:
    """Return a good ``.keras`` file whose description went through ``change``."""
    content = saved(good_model(), path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            inside = old.read(name)
            new.writestr(name, change(json.loads(inside)) if name == "config.json" else inside)
    return buffer.getvalue()


def dense_of(config: dict) -> dict:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def lambda_layer(path, sentinel):
    return saved(lambda_model(), path)


def two_in_one(path, sentinel):
    """A file that is HDF5 with a Lambda to who reads its beginning, and a harmless .keras to who reads its end."""
    return saved(lambda_model(), path) + saved(good_model(), path.with_suffix(".keras"))


def foreign_class(path, sentinel):
    def change(config):
        dense_of(config).update(module="os", class_name="system", config={"command": f"touch {sentinel}"})
        return json.dumps(config)

    return changed(path, sentinel, change)


def foreign_function(path, sentinel):
    def change(config):
        function = {"module": "subprocess", "class_name": "function", "config": "run", "registered_name": "function"}
        dense_of(config)["config"]["activation"] = function
        return json.dumps(config)

    return changed(path, sentinel, change)


def marshalled_function(path, sentinel):
    def change(config):
        dense_of(config)["config"]["activation"] = {"class_name": "__lambda__", "config": {"value": "bm9uZQ=="}}
        return json.dumps(config)

    return changed(path, sentinel, change)


def fetching_function(path, sentinel):
    """Keras's own, but no part of a network: it would fetch a file from anywhere."""

    def change(config):
        dense_of(config).update(module="keras.utils", class_name="get_file", config={"origin": f"file://{path}"})
        return json.dumps(config)

    return changed(path, sentinel, change)


def pickled_member(path, sentinel):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(sentinel),)

    saved(good_model(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/tokens.pkl", pickle.dumps(Harm()))
    return path.read_bytes()


def climbing_member(path, sentinel):
    saved(good_model(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../sentinel", "")
    return path.read_bytes()


def deep_description(path, sentinel):
    return changed(path, sentinel, lambda config: "[" * 200_000 + "]" * 200_000)


def huge_description(path, sentinel):
    return changed(path, sentinel, lambda config: json.dumps(config) + " " * MAX_DESCRIPTION_BYTES)


def linked_h5(path, sentinel):
    saved(good_model(), path)
    with h5py.File(path, "a") as file:
        del file["model_weights/dense"]
        file["model_weights/dense"] = h5py.ExternalLink(str(sentinel), "/")
    return path.read_bytes()


def linked_keras(path, sentinel):
    """A .keras file whose weights are in another file."""
    secret = sentinel.with_name("secret")
    secret.write_bytes(np.full(2, 7, "float32").tobytes())
    inside = path.with_suffix(".weights.h5")
    good_model().save_weights(inside)
    with h5py.File(inside, "a") as file:
        numbers = file["layers/dense/vars"]
        del numbers["0"]
        numbers.create_dataset("0", (2, 1), "f4", external=[(str(secret), 0, 8)])
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(good_model(), path))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, inside.read_bytes() if name.endswith("h5") else old.read(name))
    return buffer.getvalue()


HOSTILE = [
    (lambda_layer, ".keras", "'Lambda', code that is not Keras's own"),
    (lambda_layer, ".h5", "'Lambda', code that is not Keras's own"),
    (two_in_one, ".h5", "'Lambda', code that is not Keras's own"),
    (foreign_class, ".keras", "'system', code that is not Keras's own"),
    (foreign_function, ".keras", "'function', code that is not Keras's own"),
    (marshalled_function, ".keras", "'__lambda__', code that is not Keras's own"),
    (fetching_function, ".keras", "not a modeling function"),
    (pickled_member, ".keras", "'assets/tokens.pkl', which no model needs"),
    (climbing_member, ".keras", "'../sentinel', which no model needs"),
    (deep_description, ".keras", "is no Keras model"),
    (huge_description, ".keras", "a description of"),
    (linked_h5, ".h5", "links to another file"),
    (linked_keras, ".keras", "keeps its numbers in another file"),
]


@pytest.mark.parametrize(("make", "suffix", "said"), HOSTILE, ids=[make.__name__ for make, *_ in HOSTILE])
@pytest.mark.fault(13)
def test_a_hostile_model_is_refused_and_does_no_harm(tmp_path, make, suffix, said):
    path, sentinel = tmp_path / f"hostile{suffix}", tmp_path / "sentinel"  # in the current folder
    path.write_bytes(make(path, sentinel))
    before = set(os.listdir(tmp_path))
    with pytest.raises(UserError, match=said) as error:
        load_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert set(os.listdir(tmp_path)) == before and not sentinel.exists()


@pytest.mark.parametrize(("make", "suffix"), [(lambda_layer, ".keras"), (lambda_layer, ".h5"), (two_in_one, ".h5")])
@pytest.mark.fault(13)
def test_the_harm_is_real(tmp_path, make, suffix):
    path, sentinel = tmp_path / f"a{suffix}", tmp_path / "sentinel"
    path.write_bytes(make(path, sentinel))
    assert not sentinel.exists()
    keras.saving.load_model(path, safe_mode=False, compile=False)
    assert sentinel.exists()
