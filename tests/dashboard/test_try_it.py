import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.dashboard.charts import figures
from tests.dashboard.conftest import SCRIPT
from transfer_utils.dashboard import answers, store
from transfer_utils.dashboard.answers import _enlarged, explained_prediction, model_file, overlay
from transfer_utils.errors import UserError
from transfer_utils.records.record import RunRecord, read_record


@pytest.fixture
def row(model_run):
    return store.read(model_run).rows[0]


@pytest.mark.slow
def test_the_prediction_has_classes_and_a_heatmap(row, picture):
    prediction = explained_prediction(row, model_file(row), picture)
    assert [name for name, _ in prediction.best] == ["<b>red</b>", "blue", "green"]
    assert prediction.sides == (8, 32)
    assert prediction.network_input.shape == (32, 32, 3)
    assert prediction.image.shape == prediction.grad_cam.shape
    # The image is red on the right, so the heatmap is strongest there.
    changed = np.abs(prediction.grad_cam.astype(int) - prediction.image).mean(axis=(0, 2))
    assert changed[-60:].mean() > changed[:60].mean()


@pytest.mark.slow
def test_a_picture_is_classified_once_while_records_change_and_the_page_is_drawn_again(row, picture, monkeypatch):
    first = explained_prediction(row, model_file(row), picture)
    monkeypatch.setattr(answers, "_load", lambda *_: pytest.fail("it was classified again"))
    assert explained_prediction(row, model_file(row), picture) is first


@pytest.mark.slow
@pytest.mark.parametrize("size, side", [(-5, 8), (1025, 8), (500, 500)])
def test_only_an_impossible_image_size_in_the_record_is_ignored(row, picture, size, side):
    row.config["image_size"] = size
    assert explained_prediction(row, model_file(row), picture).sides == (8, side)


def odd_models():
    """Return models that are not classifiers of square colour images, each with a phrase of the refusal."""
    import keras
    from keras import layers

    def ending(x):
        return layers.Dense(3, activation="softmax")(x)

    picture, other, vector, number = (keras.Input(shape) for shape in ((8, 8, 3), (8, 8, 3), (5,), ()))
    grey, wide, free = keras.Input((8, 8, 1)), keras.Input((8, 16, 3)), keras.Input((None, None, 3))
    huge = keras.Input((100_000, 100_000, 3))
    pool, both = layers.GlobalAveragePooling2D(), layers.Concatenate()
    return {
        "number": (keras.Model(number, ending(layers.Reshape((1,))(number))), "square colour images"),
        "vector": (keras.Model(vector, ending(vector)), "square colour images"),
        "grey": (keras.Model(grey, ending(pool(grey))), "square colour images"),
        "wide": (keras.Model(wide, ending(pool(wide))), "square colour images"),
        "free": (keras.Model(free, ending(pool(free))), "square colour images"),
        "two inputs": (keras.Model([picture, other], ending(pool(both([picture, other])))), "(None, 8, 8, 3), (None"),
        "maps": (keras.Model(picture, layers.Conv2D(3, 1)(picture)), "to probabilities"),
        "huge": (keras.Model(huge, ending(pool(huge))), "100000 pixels a side, and the limit is 1024"),
        "no convolution": (keras.Model(picture, ending(layers.Flatten()(picture))), "such as a convolution"),
    }


@pytest.mark.slow
def test_a_model_that_does_not_classify_square_colour_images_is_refused_with_a_sentence(tmp_path, picture):
    from transfer_utils.models.saving import save_model

    models = odd_models()
    for name, (model, _) in models.items():
        save_model(model, tmp_path / name / "model.keras")
        RunRecord(files={"model": "model.keras"}).save(tmp_path / name / "run.json")
    for row in store.read(tmp_path).rows:
        with pytest.raises(UserError) as refusal:
            explained_prediction(row, model_file(row), picture)
        assert models[row.name][1] in str(refusal.value), row.name


def test_a_small_image_is_enlarged_with_its_pixels_visible():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    enlarged = _enlarged(pixels)
    assert enlarged.shape == (480, 480, 3)
    assert (enlarged[:240, :240] == pixels[0, 0]).all() and (enlarged[240:, 240:] == pixels[1, 1]).all()
    assert _enlarged(np.zeros((700, 700, 3), np.uint8)).shape == (700, 700, 3)


def test_finished_runs_without_their_model_are_counted(runs, draw):
    texts = [markdown.value for markdown in draw(runs, "Try it").markdown]
    assert any("None of the 10 finished runs has a saved model" in text for text in texts)


@pytest.mark.slow
def test_the_page_shows_the_three_best_classes_and_three_images(model_run, picture, draw):
    app = draw(model_run, "Try it")
    assert "<b>red</b>, green, blue" in [text.value for text in app.text]
    app.file_uploader(key="image").set_value(("red.png", picture, "image/png")).run()
    assert not app.exception and not app.warning
    [chart] = figures(app)
    assert chart["layout"]["yaxis"]["ticktext"] == ["&lt;b&gt;red&lt;/b&gt;", "blue", "green"]
    assert len(app.image) == 3
    app.file_uploader(key="image").set_value(("bad.png", b"no picture", "image/png")).run()
    assert not app.exception and len(app.warning) == 1
    assert not any(str(model_run) in text.value for text in app.text)


@pytest.mark.slow
def test_the_page_says_not_sure_below_the_threshold_of_the_record(model_run, picture, draw, tmp_path):
    shutil.copytree(model_run, tmp_path / "runs")
    path = next(tmp_path.glob("runs/*/run.json"))
    record = read_record(path)
    for threshold, expected in ((0.5, 0), (0.9999, 1)):
        record.not_sure = {"threshold": threshold}
        record.save(path)
        app = draw(tmp_path / "runs", "Try it")
        app.file_uploader(key="image").set_value(("red.png", picture, "image/png")).run()
        assert not app.exception and len(app.image) == 3
        assert ["Not sure" in warning.value for warning in app.warning] == [True] * expected


def test_the_overlay_is_transparent_where_the_heatmap_is_weak():
    picture = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[:, 1] = 1
    result = overlay(picture, heat).astype(int)
    assert result.shape == (8, 8, 3)
    assert np.abs(result[:, 0] - 100).mean() < 20 < np.abs(result[:, -1] - 100).mean()


def test_no_page_loads_tensorflow_before_an_image_is_uploaded(runs):
    script = """
import sys
from streamlit.testing.v1 import AppTest
sys.argv.pop(0)  # which is "-c"
for page in ("Runs", "Compare", "One run", "Mistakes", "Study", "Try it", "Teach"):
    app = AppTest.from_file(sys.argv[0], default_timeout=60)
    app.query_params["page"] = page
    app.run()
    assert not app.exception, app.exception
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules, page
"""
    command = [sys.executable, "-c", script, str(SCRIPT), "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
