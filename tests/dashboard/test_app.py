import pytest
from streamlit.testing.v1 import AppTest

from tests.dashboard.charts import figures
from tests.dashboard.conftest import SCRIPT
from tests.samples import write_run
from transfer_utils.dashboard import app as dashboard


@pytest.mark.parametrize("page", dashboard.PAGES)
def test_every_page_can_be_opened_for_an_empty_folder(tmp_path, draw, page):
    app = draw(tmp_path, page)
    assert not app.exception and app.segmented_control(key="page").value == page


def test_an_unknown_page_in_the_address_opens_the_first_page_with_the_number_of_runs_in_progress(runs, draw):
    app = draw(runs, "../../etc")
    assert not app.exception and app.segmented_control(key="page").value == "Runs"
    assert app.text[0].value == f"{runs.name} · 1 running"


def test_without_an_option_the_runs_are_those_below_the_current_folder(tmp_path, monkeypatch):
    write_run(tmp_path / "runs" / "one", {}, "completed", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(SCRIPT)])
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not app.exception and list(app.dataframe[0].value["Run"]) == ["one"]


def test_the_browser_loads_plotly_after_the_table_is_drawn(runs, draw):
    app = draw(runs)
    assert not figures(app)
    assert len(figures(app.run())) == 1
    assert not figures(draw(runs, "Try it").run())


@pytest.mark.fault(36)
def test_a_page_that_fails_shows_one_plain_box_and_the_terminal_shows_the_reason(runs, draw, monkeypatch, caplog):
    def fail(view):
        raise ValueError("the secret of /srv/data")

    draw(runs)  # loads the module and replaces the box by the exception
    monkeypatch.undo()
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--runs", str(runs)])
    monkeypatch.setitem(dashboard.PAGES, "Study", fail)
    app = AppTest.from_file(str(SCRIPT), default_timeout=60)
    app.query_params["page"] = "Study"
    app.run()
    assert not app.exception and len(app.error) == 1 and "could not be drawn" in app.error[0].value
    assert "secret" not in app.error[0].value and "the secret of /srv/data" in caplog.text
    assert app.segmented_control(key="page").value == "Study"


def test_the_page_of_one_run_opens_the_first_chosen_run_and_writes_it_into_the_address(runs, draw):
    app = draw(runs, chosen=["depth-30-2", "baseline-0"])
    app.segmented_control(key="page").set_value("One run").run()
    assert app.query_params["run"] == "depth-30-2" and app.selectbox(key="run").value == "depth-30-2"
    app.segmented_control(key="page").set_value("Runs").run()
    assert "page" not in app.query_params and app.query_params["chosen"] == ["depth-30-2", "baseline-0"]


def test_filters_stay_in_the_address_while_another_page_is_open(runs, draw):
    app = draw(runs, search="depth", status=["completed"], sort="name")
    app.segmented_control(key="page").set_value("Study").run()
    assert {"search": "depth", "status": "completed", "sort": "name"}.items() <= app.query_params.items()
    app.segmented_control(key="page").set_value("Runs").run()
    assert app.text_input(key="search").value == "depth" and app.selectbox(key="sort").value == "name"
    assert app.dataframe[0].value["Run"].iloc[0] == "depth-10-0"


def test_a_folder_without_runs_gets_the_first_command_and_its_name_if_it_is_none(tmp_path, draw):
    (tmp_path / "file").touch()
    for name, problem in (("typo", "does not exist"), ("file", "is a file"), ("", "")):
        app = draw(tmp_path / name)
        assert [block.value for block in app.code] == ["transfer-utils compare --preset offline"]
        assert [problem in warning.value for warning in app.warning] == [True] * bool(problem)
        assert not problem or name in [text.value for text in app.text]
