"""Predictions of a saved model for image files, and the names of its classes."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError
from transfer_utils.models.saving import name_classes, names_and_threshold, save_model
from transfer_utils.predict import predict_images, top_classes
from transfer_utils.records.record import RunRecord


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
    names = ["dark.png", "odd.png", "missing.png", "folder.png", "x" * 300 + ".png", "light.png"]
    predictions = dict(predict_images(model, [Path(name) for name in names], top=2))
    assert [str(path) for path in predictions] == names
    classes = [[name for name, _ in predictions[Path(n)].best] for n in ("dark.png", "light.png")]
    assert classes == [["class 0", "class 1"], ["class 2", "class 1"]]
    for name in names[1:5]:
        assert isinstance(predictions[Path(name)], UserError) and name in str(predictions[Path(name)])


def test_the_probabilities_are_those_of_the_model(model):
    (_, prediction), *_ = predict_images(model, [Path("dark.png")], top=1000)
    assert not prediction.not_sure, "there is no threshold beside this model"
    logits = decode_image("dark.png", 32).mean(axis=(0, 1)) / 255 @ np.array([[-4.0, 0, 4]] * 3) + [6, 0, -6]
    expected = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    assert np.allclose([probability for _, probability in prediction.best], expected, atol=1e-3)


def test_class_names_come_from_the_names_file_then_the_record_then_are_numbered_with_a_warning(tmp_path, recwarn):
    path, notes, numbered = tmp_path / "model.keras", tmp_path / "model.keras.classes.json", ["class 0", "class 1"]
    with pytest.warns(
        UserWarning, match=r"There are no class names beside it: put its model\.keras\.classes\.json, or"
    ):
        assert names_and_threshold(path, 2) == (numbered, 0.0)
    recwarn.clear()
    RunRecord(dataset={"class_names": ["x", "y"]}).save(tmp_path / "run.json")
    assert names_and_threshold(path, 2)[0] == ["x", "y"]
    name_classes(path, RunRecord(dataset={"class_names": ["a", "b"]}))
    assert names_and_threshold(path, 2)[0] == ["a", "b"] and not recwarn
    for content, problem in (
        ({"class_names": ["a", "b", "c"]}, "those of another model"),
        ({"class_names": "ab"}, "those"),
        ({"0": "a"}, "no"),
        (["a", "b", "c"], "those of another model"),
        ("ab", "those"),
        (7, "those"),
    ):
        notes.write_text(json.dumps(content))
        with pytest.warns(UserWarning, match=f"The.* are {problem}"):
            assert names_and_threshold(path, 2) == (numbered, 0.0)
    for place in (notes, tmp_path / "run.json"):
        for content in ("{", "[" * 100_000):
            place.write_text(content)
            with pytest.raises(UserError, match=r"The class names beside .*model\.keras cannot be read"):
                names_and_threshold(path, 2)
        notes.unlink(missing_ok=True)


def test_of_equal_probabilities_the_first_class_is_named_as_in_the_evaluation():
    assert [name for name, _ in top_classes(np.array([0.2, 0.4, 0.4]), ["a", "b", "c"], 2)] == ["b", "c"]


def test_an_answer_below_the_threshold_beside_the_model_is_not_sure(model, tmp_path):
    path = Path(shutil.copy(model, tmp_path / "mine.keras"))
    ((_, dark), (_, light)) = predict_images(path, [Path("dark.png"), Path("light.png")])
    largest = dark.best[0][1]  # about 0.9975, as for the light image
    for threshold, expected in ((largest, False), (largest + 1e-4, True)):
        name_classes(path, RunRecord(dataset={"class_names": ["a", "b", "c"]}, not_sure={"threshold": threshold}))
        assert [answer.not_sure for _, answer in predict_images(path, [Path("dark.png")])] == [expected]
    assert light.best[0][0] == "class 2" and not light.not_sure


def test_beside_an_exported_file_stands_the_threshold_of_its_own(tmp_path):
    files = {"model": "model.keras", "int8": "model-int8.tflite", "float32": "model-float32.tflite"}
    record = RunRecord(dataset={"class_names": ["x", "y"]}, files=files)
    record.not_sure = {"threshold": 0.4, "threshold_int8": 0.3}
    thresholds = {"model.keras": 0.4, "elsewhere.h5": 0.4, "model-int8.tflite": 0.3, "model-float32.tflite": 0.0}
    for name, threshold in thresholds.items():
        name_classes(tmp_path / name, record)
        assert names_and_threshold(tmp_path / name, 2) == (["x", "y"], threshold)


def test_the_threshold_is_that_of_this_model_from_the_names_file_or_the_record(tmp_path):
    path, names = tmp_path / "model.keras", ["x", "y"]
    record = RunRecord(dataset={"class_names": names}, files={"model": "model.keras"}, not_sure={"threshold": 0.4})
    record.save(tmp_path / "run.json")
    assert names_and_threshold(path, 2) == (names, 0.4)
    assert names_and_threshold(tmp_path / "model-int8.tflite", 2)[1] == 0.0, "an exported model has one of its own"
    name_classes(path, record.model_copy(update={"not_sure": {"threshold": 0.7}}))
    assert names_and_threshold(path, 2) == (names, 0.7)
    with pytest.warns(UserWarning, match="those of another model"):
        assert names_and_threshold(path, 3)[1] == 0.0
    for old in (names, {"class_names": names}):
        (tmp_path / "model.keras.classes.json").write_text(json.dumps(old))
        assert names_and_threshold(path, 2) == (names, 0.0)
    for value in (-0.1, 1.5, "0.5", None, True):
        (tmp_path / "model.keras.classes.json").write_text(json.dumps({"class_names": names, "not_sure_below": value}))
        with pytest.raises(UserError, match=r"not_sure_below beside .*model\.keras must be from 0 to 1, got"):
            names_and_threshold(path, 2)


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
