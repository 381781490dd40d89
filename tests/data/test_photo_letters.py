"""The source task and the weights that are shipped with the package."""

from __future__ import annotations

import inspect
import json
from importlib import resources

import keras
import numpy as np
import pytest

from transfer_utils.data import photo_digits, photo_letters
from transfer_utils.models.weights import load_weights_npz
from transfer_utils.training.pretrain import pretrain_backbone
from transfer_utils.utils.files import sha256_of

SHIPPED = resources.files("transfer_utils") / "letters" / "letters_mobilenetv2_0.35.npz"


@pytest.fixture(scope="module")
def base():
    return keras.applications.MobileNetV2((64, 64, 3), 0.35, include_top=False, weights=None)


def test_there_are_77_classes_without_digits_or_letters_that_look_like_digits():
    assert len(photo_letters.CLASSES) == 77
    every = "".join(photo_letters.CLASSES)
    assert len(set(every)) == len(every)
    assert every.isalpha()
    assert not set(every) & set("0123456789OoIlοιΟΙ")


def test_every_letter_has_its_own_shape_in_every_font():
    for font in photo_letters.FONTS:
        letters = "".join(photo_letters.CLASSES)
        shapes = {photo_letters._distance_map(letter, font)[0].tobytes() for letter in letters}
        assert len(shapes) == len(letters), "missing glyphs are drawn as the same box"


def test_the_seed_determines_the_letters_and_a_smaller_set_begins_a_larger_one():
    images, labels, names = photo_letters.render_letters(300, seed=0)
    assert images.shape == (300, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (300,) and labels.dtype == np.int64 and set(labels) <= set(range(77))
    assert len(names) == len(set(names)) == 77
    fewer, their_labels, _ = photo_letters.render_letters(40, seed=0)
    np.testing.assert_array_equal(fewer, images[:40])
    np.testing.assert_array_equal(their_labels, labels[:40])
    assert (photo_letters.render_letters(40, seed=1)[0] != fewer).mean() > 0.5


def test_photo_letters_use_only_the_left_halves(monkeypatch):
    halves = []
    photo_halves = photo_digits.photo_halves
    monkeypatch.setattr(photo_digits, "photo_halves", lambda half: halves.append(half) or photo_halves(half))
    photo_letters.render_letters(50, seed=2)
    assert set(halves) == {"left"}
    assert 20 <= len(halves) <= 40, "four backgrounds in ten are noise"


def test_letters_have_strokes_like_the_digits():
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    counts = np.stack([photo_letters._draw_letter(letters, rng) for letters in photo_letters.CLASSES * 4])
    digits = load_digits().images
    assert counts.shape == (308, 8, 8) and counts.dtype == np.uint8 and counts.max() == 16
    assert abs(counts.mean() - digits.mean()) < 1
    assert abs((counts == 0).mean() - (digits == 0).mean()) < 0.1


@pytest.mark.slow
def test_pretraining_writes_weights_and_a_record(tmp_path, base, monkeypatch):
    # One eager step: tracing the graph of 150 layers would take longer.
    compiled = keras.Model.compile
    monkeypatch.setattr(keras.Model, "compile", lambda *args, **k: compiled(*args, **k | {"run_eagerly": True}))
    calls = []
    sizes = {"n_letters": 40, "epochs": 1, "image_size": 32}
    record = pretrain_backbone(tmp_path / "new", **sizes, progress=lambda *call: calls.append(call))
    weights = tmp_path / "new" / "letters_mobilenetv2_0.35.npz"
    assert sorted(path.name for path in weights.parent.iterdir()) == [weights.with_suffix(".json").name, weights.name]
    assert json.loads(weights.with_suffix(".json").read_text()) == record
    assert record["weights"] == {"file": weights.name, "sha256": sha256_of(weights)}
    assert record["letters"] == {"train": 38, "validation": 2, "classes": 77}
    assert len(record["curves"]["val_accuracy"]) == 1
    assert calls[0] == ("letters", 40, 40) and calls[-1] == ("steps", 1, 1)
    load_weights_npz(base, weights)


def test_the_shipped_weights_fit_and_are_trained(base):
    with resources.as_file(SHIPPED) as path:
        assert path.stat().st_size < 2_000_000
        load_weights_npz(base, path)
    means = [np.asarray(weight) for weight in base.weights if weight.path.endswith("moving_mean")]
    assert all(np.abs(values).max() > 0 for values in means)  # initially zero


def test_the_shipped_record_belongs_to_the_shipped_weights_and_the_default_options():
    with resources.as_file(SHIPPED) as path:
        record = json.loads(path.with_suffix(".json").read_text())
        assert record["weights"] == {"file": path.name, "sha256": sha256_of(path)}
    parameters = inspect.signature(pretrain_backbone).parameters
    defaults = {name: parameters[name].default for name in parameters if name not in ("output_dir", "progress")}
    assert record["options"] == defaults
    assert record["letters"]["classes"] == 77
    assert len(record["curves"]["val_accuracy"]) == defaults["epochs"]
