"""Weight files are loaded exactly, and damaged, foreign and hostile files are refused."""

import json
import math
import os
import random
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from tests import tiny
from transfer_utils.config.options import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models import weights
from transfer_utils.models.file_checks import check_h5
from transfer_utils.models.networks import build_backbone
from transfer_utils.models.weights import (
    imagenet_address,
    imagenet_path,
    load_weights,
    load_weights_file,
    load_weights_npz,
    save_weights_npz,
    sha256_of_weights,
)
from transfer_utils.utils.files import cache_folder

IMAGENET = RunConfig(image_size=32)


def network(value: float = 1.0) -> keras.Model:
    """Return the small backbone with weights that fit into float16, except for one variance that is too large."""
    base = tiny.backbone()
    rng = np.random.default_rng(0)
    base.set_weights([value * rng.uniform(0.5, 1, w.shape).astype("float16") for w in base.weights])
    base.get_layer("norm_1").moving_variance.assign(np.full(8, 1e5))
    return base


def test_saved_weights_are_loaded_exactly(tmp_path):
    saved = network()
    save_weights_npz(saved, tmp_path / "a.npz")
    saved.save_weights(tmp_path / "a.weights.h5")
    for name in ("a.npz", "a.weights.h5"):
        base = tiny.backbone()
        load_weights_file(base, tmp_path / name)
        assert sha256_of_weights(base) == sha256_of_weights(saved), name


def test_weights_are_saved_in_float16_where_it_is_precise_enough(tmp_path, recwarn):
    save_weights_npz(network(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        kinds = {key.split("/", 1)[1]: archive[key].dtype for key in archive.files}
    assert kinds.pop("norm_1/moving_variance") == np.float32
    assert set(kinds.values()) == {np.dtype("float16")}
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (max, lambda value: None, "expected 15 arrays, got 14"),
        (min, lambda value: value[:1], r"array 0 must have shape \(3, 3, 3, 8\), got \(1, 3, 3, 8\)"),
        (max, lambda value: value * np.nan, "is damaged: norm_3/moving_variance contains values that are not finite"),
        (max, lambda value: np.array([print]), "is not a weights file"),
    ],
)
@pytest.mark.fault(10)
def test_arrays_that_do_not_fit_are_refused_and_change_no_weight(tmp_path, which, change, message):
    path, base = tmp_path / "odd.npz", network(2.0)
    save_weights_npz(network(), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    name = which(arrays)
    arrays[name] = change(arrays[name])
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    before = tiny.weights_of(base)
    with pytest.raises(UserError, match=message) as error:
        load_weights_file(base, path)
    assert str(path) in str(error.value)
    assert tiny.moved(before, base) == set()


@pytest.mark.fault(10)
def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before_it_does(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(2_000_000, "float16"))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(UserError, match="more than 100 times as much"):
        load_weights_file(network(), tmp_path / "bomb.npz")


@pytest.mark.parametrize("share", [0, 0.3, 0.97])
@pytest.mark.parametrize("name", ["a.npz", "a.weights.h5", "a.h5"])
@pytest.mark.fault(10)
def test_a_truncated_file_is_refused_by_name(tmp_path, name, share):
    path, base = tmp_path / name, network()
    save = {"a.npz": save_weights_npz, "a.h5": keras.Model.save, "a.weights.h5": keras.Model.save_weights}
    save[name](base, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"is damaged|is not a weights file") as error:
        load_weights_file(tiny.backbone(), path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_whole_model_is_not_called_damaged(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"must be a \.npz or \.h5 file .* not a whole model: got .*model\.keras"):
        load_weights_file(tiny.backbone(), tmp_path / "model.keras")


@pytest.mark.fault(10)
def test_a_file_of_another_network_without_a_layer_or_with_nan_is_refused(tmp_path, recwarn):
    another_network().save_weights(tmp_path / "other.weights.h5")
    network().save_weights(tmp_path / "less.weights.h5")
    with h5py.File(tmp_path / "less.weights.h5", "a") as file:
        del file["layers/conv2d_2"]
    network(np.nan).save_weights(tmp_path / "nan.weights.h5")
    foreign = "does not hold the weights of this backbone"
    for name, message in (("other", foreign), ("less", foreign), ("nan", "conv_1/kernel contains values that are not")):
        with pytest.raises(UserError, match=message):
            load_weights_file(tiny.backbone(), tmp_path / f"{name}.weights.h5")
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def external_storage(group, secret):
    group.create_dataset("item", (8,), "u1", external=[(secret, 0, h5py.h5f.UNLIMITED)])


def virtual(group, secret):
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource(secret, "numbers", (8,))
    group.create_virtual_dataset("item", layout)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda group, secret: group.update(item=h5py.ExternalLink(secret, "/numbers")), "links to another file"),
        (lambda group, secret: group.update(item=h5py.SoftLink("/")), "is a soft link"),
        (external_storage, "stores its values in another file"),
        (virtual, "stores its values in another file"),
        (lambda group, secret: group.update(item=np.dtype("f8")), "is neither a group nor a dataset"),
        (lambda group, secret: group.update(item=group), "is linked twice"),
    ],
)
@pytest.mark.fault(13)
def test_a_file_with_links_is_refused(tmp_path, add, message):
    secret, path = tmp_path / "secret.h5", tmp_path / "hostile.weights.h5"
    with h5py.File(secret, "w") as file:
        file["numbers"] = np.ones(8, "float32")
    network().save_weights(path)
    check_h5(path)
    with h5py.File(path, "a") as file:
        add(file.create_group("deep"), str(secret))
    with pytest.raises(UserError, match=f"hostile.weights.h5 is refused: /deep/item {message}"):
        load_weights_file(network(), path)


def test_a_file_of_weights_is_recorded_by_name_and_hash(tmp_path):
    save_weights_npz(network(), tmp_path / "mine.npz")
    origin = load_weights(tiny.backbone(), RunConfig(weights=str(tmp_path / "mine.npz")))
    assert origin == {"source": "mine.npz", "sha256": sha256_of_weights(network())}


def test_random_weights_depend_on_the_seed_alone(small_backbone):
    state = random.getstate()
    hashes = [build_backbone(tiny.config(seed=seed))[1] for seed in (0, 0, 1)]
    assert random.getstate() != state, "all three builds would start from the same random state"
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[2]["source"] == "random, seed 1"


@pytest.fixture
def shelf(small_backbone):
    """Return the path at which Keras stores the weights of the backbone; there is no file before and after the test."""
    path = imagenet_path(IMAGENET)
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path
    for leftover in (*path.parent.glob(f"{path.name}*"), cache_folder() / "weights" / "seen.json"):
        leftover.unlink(missing_ok=True)


@pytest.mark.fault(11)
def test_without_a_network_the_error_explains_what_is_missing_and_where_to_put_it(shelf, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(UserError) as error:
        load_weights(network(), IMAGENET)
    message = str(error.value)
    assert "\n" not in message
    for part in (shelf.name, str(shelf.parent), "MobileNetV2", "could not be downloaded", "--preset offline"):
        assert part in message
    assert pauses == [1, 2], "the download was not tried three times"
    assert not shelf.exists()


def test_the_weights_are_downloaded_with_progress_and_resumed(shelf, monkeypatch, tmp_path, file_server):
    network().save(tmp_path / "network.h5")
    content, steps = (tmp_path / "network.h5").read_bytes(), []
    shelf.with_name(shelf.name + ".part").write_bytes(content[:5000])
    server = file_server(content)
    monkeypatch.setattr(weights, "IMAGENET_SERVER", server.url + "/")
    origin = load_weights(network(2.0), IMAGENET, lambda *step: steps.append(step))
    assert origin == {"source": "ImageNet, keras.applications", "sha256": sha256_of_weights(network())}
    assert server.requests == ["bytes=5000-"]
    assert steps[0][0].startswith("Downloading the ImageNet weights of MobileNetV2 from 127.0.0.1:")
    assert steps[-1][1:] == (len(content), len(content), "bytes")


@pytest.mark.parametrize("backbone", weights.IMAGENET_FILES)
def test_keras_asks_for_the_weights_at_the_same_address_and_stores_them_in_the_same_place(monkeypatch, backbone):
    asked = {}

    def get_file(fname, origin, cache_subdir, **checks):
        asked.update(path=Path(file_utils.config.keras_home(), cache_subdir, fname), origin=origin)
        raise LookupError

    monkeypatch.setattr(file_utils, "get_file", get_file)
    config = IMAGENET.model_copy(update={"backbone": backbone})
    width = {"alpha": config.alpha} if backbone == "MobileNetV2" else {}
    with pytest.raises(LookupError):
        getattr(keras.applications, backbone)(include_top=False, input_shape=(224, 224, 3), **width)
    assert asked == {"path": imagenet_path(config), "origin": imagenet_address(config)}


@pytest.mark.fault(10)
def test_a_file_of_ours_with_overwritten_bytes_is_named_or_loaded_exactly_wherever_they_are(tmp_path):
    path, base = tmp_path / "weights.npz", network()
    save_weights_npz(base, path)
    whole, digest = path.read_bytes(), sha256_of_weights(base)
    for place in range(0, len(whole) - 16, max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + b"\xff" * 16 + whole[place + 16 :])
        try:
            load_weights_npz(base, path)
        except UserError as error:
            assert str(path) in str(error)
        assert sha256_of_weights(base) == digest, "wrong weights were loaded"


def another_network() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


@pytest.mark.parametrize("wrong", [0, 0.3, 0.97, another_network, lambda: network(np.inf)])
@pytest.mark.fault(10)
def test_a_damaged_or_wrong_download_is_renamed_and_refused(shelf, wrong):
    (wrong if callable(wrong) else network)().save(shelf)
    if not callable(wrong):
        os.truncate(shelf, int(wrong * shelf.stat().st_size))
    with pytest.raises(UserError, match=r"is damaged .* It was renamed to .*\.damaged; run again to download it"):
        load_weights(network(2.0), IMAGENET)
    assert set(os.listdir(shelf.parent)) - {shelf.name + ".lock"} == {shelf.name + ".damaged"}


@pytest.mark.fault(10)
def test_a_download_that_changed_since_its_first_use_is_refused(shelf):
    network().save(shelf)
    origin = load_weights(network(2.0), IMAGENET)
    assert load_weights(network(2.0), IMAGENET) == origin
    network(3.0).save(shelf)
    memory = cache_folder() / "weights" / "seen.json"
    with pytest.raises(UserError, match="have changed since their first use") as error:
        load_weights(network(), IMAGENET)
    assert str(memory) in str(error.value) and origin["sha256"][:12] in str(error.value)
    assert json.loads(memory.read_text()) == {shelf.name: origin["sha256"]}
    memory.write_text("{}")
    assert load_weights(network(), IMAGENET)["sha256"] == sha256_of_weights(network(3.0))


@pytest.mark.parametrize("content", ["", "[]", "1", '{"a": ', '{"a": 1}', "[" * 100_000], ids=lambda text: text[:5])
@pytest.mark.fault(33)
def test_a_damaged_file_of_first_uses_is_named_and_written_again(shelf, content):
    network().save(shelf)
    memory = cache_folder() / "weights" / "seen.json"
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(content)
    with pytest.warns(UserWarning, match=r"seen\.json is damaged"):
        origin = load_weights(network(2.0), IMAGENET)
    assert json.loads(memory.read_text()) == {shelf.name: origin["sha256"]}


def test_pixels_are_normalised_by_the_loaded_weights(tmp_path):
    """A Normalization layer computes with copies of its weights, which ``set_weights`` does not update."""
    saved, loaded = (keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Normalization()]) for _ in range(2))
    saved.set_weights([np.full(3, 0.5), np.full(3, 0.25), np.array(0)])
    save_weights_npz(saved, tmp_path / "weights.npz")
    load_weights_file(loaded, tmp_path / "weights.npz")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    assert loaded(pixels).numpy() == pytest.approx((pixels - 0.5) / 0.5, rel=1e-5)


@pytest.mark.parametrize(("name", "scale"), [("efficientnetb0_notop.h5", weights.STDDEV), ("mine.h5", (1, 1, 1))])
def test_the_file_of_keras_is_known_by_its_name_wherever_it_lies(name, scale, tmp_path, monkeypatch):
    (tmp_path / name).touch()
    base = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Normalization()])
    base.set_weights([np.zeros(3), np.ones(3), np.array(0)])
    monkeypatch.setattr(weights, "load_weights_file", lambda base, path: None)
    load_weights(base, RunConfig(backbone="EfficientNetB0", weights=str(tmp_path / name)))
    assert base.layers[0].adapt_variance.numpy().ravel() == pytest.approx(scale)


def test_the_rescaling_of_efficientnetb0_is_folded_into_its_normalization():
    stddev = sys.modules[keras.applications.EfficientNetB0.__module__].IMAGENET_STDDEV_RGB
    scaling = keras.layers.Rescaling([1 / math.sqrt(value) for value in stddev])
    donor = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Normalization(), scaling])
    donor.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    donor.layers[0].finalize_state()
    ours = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Normalization()])
    ours.set_weights(donor.get_weights())
    weights._fold_in_rescaling(ours)
    pixels = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 3)).astype("float32")
    assert ours(pixels).numpy() == pytest.approx(donor(pixels).numpy(), rel=1e-5)
    assert ours(pixels).numpy() == pytest.approx((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], rel=1e-4)
