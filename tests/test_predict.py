"""Predictions of a saved model for image files, and the names of its classes."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError
from transfer_utils.models.saving import class_names, name_classes, save_model
from transfer_utils.predict import predict_images
from transfer_utils.records import RunRecord


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Return the file of a model that distinguishes dark from light images."""
    pixels = keras.Input((32, 32, 3))
    light = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(pixels))
    network = keras.Model(pixels, keras.layers.Dense(3, activation="softmax", name="head")(light))
    network.get_layer("head").set_weights([np.array([[-4.0, 0, 4]] * 3), np.array([6.0, 0, -6])])
    return save_model(network, tmp_path_factory.mktemp("model") / "model.keras")


@pytest.fixture(autouse=True)
def _images():
    Image.new("RGB", (50, 40), "black").save("dark.png")
    Image.new("L", (20, 20), 255).save("light.png")
    Path("odd.png").write_text("not an image")
    Path("folder.png").mkdir()


def test_readable_images_get_predictions_and_the_others_an_error(model):
    names = ["dark.png", "odd.png", "missing.png", "folder.png", "light.png"]
    predictions = dict(predict_images(model, [Path(name) for name in names], top=2))
    assert [str(path) for path in predictions] == names
    classes = [[name for name, _ in predictions[Path(n)]] for n in ("dark.png", "light.png")]
    assert classes == [["class 0", "class 1"], ["class 2", "class 1"]]
    for name in names[1:4]:
        assert isinstance(predictions[Path(name)], UserError) and name in str(predictions[Path(name)])


def test_the_probabilities_are_those_of_the_model(model):
    (_, prediction), *_ = predict_images(model, [Path("dark.png")], top=1000)
    logits = decode_image("dark.png", 32).mean(axis=(0, 1)) / 255 @ np.array([[-4.0, 0, 4]] * 3) + [6, 0, -6]
    expected = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    assert np.allclose([probability for _, probability in prediction], expected, atol=1e-3)


def test_class_names_come_from_the_names_file_then_the_record_then_are_numbered(tmp_path):
    path = tmp_path / "model.keras"
    assert class_names(path, 3) == ["class 0", "class 1", "class 2"]
    RunRecord(dataset={"class_names": ["x", "y", "z"]}).save(tmp_path / "run.json")
    assert class_names(path, 3) == ["x", "y", "z"]
    name_classes(path, ["a", "b", "c"])
    assert class_names(path, 3) == ["a", "b", "c"]
    assert class_names(path, 2) == ["class 0", "class 1"], "the names of another model"
    for names in ({"0": "a"}, "ab", 7):
        (tmp_path / "model.keras.classes.json").write_text(json.dumps(names))
        assert class_names(path, 2) == ["class 0", "class 1"]
    for name in ("run.json", "model.keras.classes.json"):
        (tmp_path / "model.keras.classes.json").unlink(missing_ok=True)
        (tmp_path / name).write_text("{")
        with pytest.raises(UserError, match=r"The class names beside .*model\.keras cannot be read"):
            class_names(path, 2)


def test_numbered_classes_come_with_a_warning_that_says_where_the_names_belong(tmp_path, recwarn):
    path = tmp_path / "model.keras"
    with pytest.warns(
        UserWarning, match=r"There are no class names beside it: put its model\.keras\.classes\.json, or the"
    ):
        class_names(path, 3)
    name_classes(path, ["a", "b", "c"])
    with pytest.warns(UserWarning, match="The class names beside it are those of another model"):
        class_names(path, 2)
    recwarn.clear()
    assert class_names(path, 3) == ["a", "b", "c"] and not recwarn
    (tmp_path / "model.keras.classes.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read"):
        class_names(path, 3)


@pytest.mark.fault(37)
def test_a_model_of_far_too_large_images_is_refused(tmp_path):
    pixels = keras.Input((5000, 5000, 3))
    large = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(pixels)))
    path = save_model(large, tmp_path / "large.keras")
    with pytest.raises(UserError, match=r"large\.keras is refused: it takes images of 5000 pixels a side"):
        list(predict_images(path, [Path("dark.png")]))


def test_a_model_that_does_not_classify_images_is_rejected(tmp_path):
    path = save_model(keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]), tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"other\.keras must map square colour images to probabilities"):
        list(predict_images(path, [Path("dark.png")]))
