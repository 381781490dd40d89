"""The functions that notebooks call: begin, show and check."""

import base64
import io
import logging
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from transfer_utils.course.notebook import NotYet, begin, check, show
from transfer_utils.errors import UserError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("TRANSFER_UTILS_PRESET", "TRANSFER_UTILS_DATA_DIR", "TRANSFER_UTILS_FIGURES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def displayed(monkeypatch):
    """Return the list of displayed data."""
    data = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw=False: data.append(bundle))
    return data


def test_begin_returns_the_options_and_creates_the_folder(tmp_path, capsys):
    config = begin(preset="offline", seed=3, data_dir="", output_dir="here", labels_per_class=5)
    assert (config.preset, config.seed, config.labels_per_class) == ("offline", 3, 5)
    assert (tmp_path / "here").is_dir()
    assert capsys.readouterr().out == "Data photo-digits; preset offline; seed 3.\n"


def test_the_environment_overrides_the_preset_with_a_message_and_an_empty_data_dir_without(monkeypatch, capsys):
    monkeypatch.setenv("TRANSFER_UTILS_PRESET", "offline")
    assert begin(preset="cifar10").preset == "offline"
    assert "TRANSFER_UTILS_PRESET is set: preset offline instead of cifar10." in capsys.readouterr().out
    monkeypatch.delenv("TRANSFER_UTILS_PRESET")
    monkeypatch.setenv("TRANSFER_UTILS_DATA_DIR", "elsewhere")
    assert begin(preset="cifar10", data_dir="").data_dir == "elsewhere"
    assert "elsewhere" not in capsys.readouterr().out
    assert begin(preset="cifar10", data_dir="mine").data_dir == "mine"
    assert begin(preset="offline", data_dir="").data_dir == ""
    assert begin(preset="none", dataset="folder").data_dir == "elsewhere"


def test_a_published_notebook_names_data_preset_and_date(monkeypatch, capsys):
    monkeypatch.setenv("TRANSFER_UTILS_FIGURES", "figures")
    begin(preset="offline")
    assert re.fullmatch(r"photo-digits; preset offline; \d{4}-\d\d-\d\d\.\n", capsys.readouterr().out)


def test_begin_hides_log_warnings_of_absl_but_neither_errors_nor_those_of_tensorflow(caplog):
    """TensorFlow's say that a notebook makes it trace functions too often, which the tests of notebooks notice."""
    begin(preset="offline")
    for name in ("absl", "tensorflow"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.warning(f"{name} warns")
        logger.error(f"{name} fails")
    assert [entry.message for entry in caplog.records] == ["absl fails", "tensorflow warns", "tensorflow fails"]


def plot():
    figure = Figure()
    figure.subplots().plot([1, 2])
    return figure


def test_show_displays_a_png_whose_alternative_text_is_escaped(displayed):
    show(plot(), 'a "line" & <more>')
    tag = displayed[0]["text/html"]
    assert 'alt="a &quot;line&quot; &amp; &lt;more&gt;"' in tag
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", tag)[1])
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    assert displayed[0]["text/plain"] == 'a "line" & <more>'


def test_show_saves_named_figures_while_publishing(displayed, monkeypatch, tmp_path):
    show(plot(), "a line", name="00_line")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TRANSFER_UTILS_FIGURES", str(tmp_path / "figures"))
    show(plot(), "a line", name="00_line")
    show(plot(), "a line")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["00_line.png"]
    assert Image.open(tmp_path / "figures" / "00_line.png").text["Description"] == "a line"


def test_show_requires_an_alternative_text(displayed):
    with pytest.raises(UserError, match="alt must describe"):
        show(plot(), " ")
    assert displayed == []


@pytest.mark.parametrize(
    "answer",
    [False, 0, ..., lambda: ..., lambda: 1 < ..., lambda: missing, lambda: np.ones(2) == 1],  # noqa: F821
)
def test_check_raises_the_hint_for_a_wrong_answer(answer):
    with pytest.raises(NotYet, match="Count again"):
        check(answer, "Count again.")


def test_check_accepts_a_correct_answer_silently_and_the_hint_has_no_traceback(capsys):
    check(lambda: 1 + 1 == 2, "Count again.")
    check(True, "Count again.")
    assert capsys.readouterr().out == ""
    assert NotYet("Count again.")._render_traceback_() == ["Not yet: Count again."]
