import os
import subprocess
import sys

import numpy as np
import pytest

from tests.dashboard.charts import figures
from tests.dashboard.conftest import SCRIPT
from transfer_utils.dashboard import store
from transfer_utils.dashboard.pages.try_it import model_file, overlay, predict
from transfer_utils.errors import UserError


@pytest.fixture
def row(model_run):
    return store.read(model_run, store.stamp(model_run)).rows[0]


@pytest.mark.slow
def test_the_prediction_has_classes_and_a_heatmap(row, picture):
    prediction = predict(row, model_file(row), picture)
    assert [name for name, _ in prediction.best] == ["<b>red</b>", "blue", "green"]
    assert prediction.sides == (8, 32)
    assert prediction.network_input.shape == (32, 32, 3)
    assert prediction.image.shape == prediction.grad_cam.shape
    # The image is red on the right, so the heatmap is strongest there.
    changed = np.abs(prediction.grad_cam.astype(int) - prediction.image).mean(axis=(0, 2))
    assert changed[-60:].mean() > changed[:60].mean()


@pytest.mark.slow
@pytest.mark.parametrize("size", [-5, 1e300])
def test_an_impossible_image_size_in_the_record_is_ignored(row, picture, size):
    row.config["image_size"] = size
    assert predict(row, model_file(row), picture).sides == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_refused(row, content):
    with pytest.raises(UserError):
        predict(row, model_file(row), content)


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


def test_the_overlay_is_transparent_where_the_heatmap_is_weak():
    picture = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[:, 1] = 1
    result = overlay(picture, heat).astype(int)
    assert result.shape == (8, 8, 3)
    assert np.abs(result[:, 0] - 100).mean() < np.abs(result[:, -1] - 100).mean()


def test_no_page_loads_tensorflow_before_an_image_is_uploaded(runs):
    script = """
import os, sys
from streamlit.testing.v1 import AppTest
for page in ("Runs", "Compare", "One run", "Study", "Try it"):
    app = AppTest.from_file(sys.argv[1], default_timeout=60)
    app.query_params["page"] = page
    app.run()
    assert not app.exception, app.exception
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules, page
"""
    environment = {**os.environ, "TRANSFER_UTILS_RUNS": str(runs)}
    command = [sys.executable, "-c", script, str(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
