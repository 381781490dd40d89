import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.dashboard.conftest import SCRIPT
from transfer_utils.dashboard import store
from transfer_utils.dashboard.pages.try_it import ask, model_file, overlay
from transfer_utils.errors import UserError


@pytest.fixture
def row(model_run):
    return store.read(model_run, store.stamp(model_run)).rows[0]


@pytest.mark.slow
def test_the_answer_shows_classes_and_where_the_model_looked(row, picture):
    answer = ask(row, model_file(row), picture)
    assert [name for name, _ in answer.best] == ["<b>red</b>", "blue", "green"]
    assert answer.sides == (8, 32)
    assert answer.seen.shape == (32, 32, 3)
    assert answer.given.shape == answer.looked.shape
    # The evidence for red lies on the right, where the map is at its strongest and yellow.
    changed = np.abs(answer.looked.astype(int) - answer.given).mean(axis=(0, 2))
    assert changed[-60:].mean() > changed[:60].mean()


@pytest.mark.slow
@pytest.mark.parametrize("size", [-5, 40_000, 1e300])
def test_a_size_that_no_network_has_is_not_believed(row, picture, size):
    row.config["image_size"] = size
    assert ask(row, model_file(row), picture).sides == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_said_in_words(row, content):
    with pytest.raises(UserError):
        ask(row, model_file(row), content)


@pytest.mark.slow
def test_the_page_shows_the_top_three_and_three_pictures(model_run, picture, draw):
    app = draw(model_run, "Try it")
    assert "<b>red</b>, green, blue" in [text.value for text in app.text]
    app.file_uploader(key="image").set_value(("red.png", picture, "image/png")).run()
    assert not app.exception and not app.warning
    [chart] = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    assert chart["layout"]["yaxis"]["ticktext"] == ["&lt;b&gt;red&lt;/b&gt;", "blue", "green"]
    assert len(app.image) == 3


@pytest.mark.slow
def test_a_bad_picture_is_no_crash(model_run, draw):
    app = draw(model_run, "Try it")
    app.file_uploader(key="image").set_value(("bad.png", b"no picture", "image/png")).run()
    assert not app.exception and len(app.warning) == 1


def test_the_overlay_is_clearest_where_nothing_counted():
    picture = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[:, 1] = 1
    laid = overlay(picture, heat).astype(int)
    assert laid.shape == (8, 8, 3)
    assert np.abs(laid[:, 0] - 100).mean() < np.abs(laid[:, -1] - 100).mean()


def test_no_page_but_this_one_loads_tensorflow(runs):
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
