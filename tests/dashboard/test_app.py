import pytest

from tests.samples import write_run
from transfer_utils.dashboard import state

PAGES = [state.RUNS, state.COMPARE, state.ONE_RUN, state.STUDY, state.TRY_IT]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_stands_over_an_empty_folder_and_over_none(tmp_path, draw, page):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert not draw(folder, page).exception


def test_an_empty_folder_says_what_to_run_first(tmp_path, draw):
    assert [block.value for block in draw(tmp_path).code] == ["transfer-utils compare --preset offline"]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_lives_in_the_address(runs, draw, page):
    app = draw(runs, page)
    assert not app.exception
    assert app.segmented_control(key="page").value == page


def test_an_unknown_page_in_the_address_is_the_first_one(runs, draw):
    app = draw(runs, "../../etc")
    assert not app.exception and app.segmented_control(key="page").value == "Runs"


def test_the_header_says_how_many_runs_go_on(runs, draw):
    assert draw(runs).text[0].value == f"{runs.name} · 1 running"


def test_the_folder_comes_from_the_command_line_before_the_environment(runs, tmp_path, draw, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dashboard.py", "--runs", str(tmp_path / "other")])
    assert draw(runs).code  # the other folder is empty


def test_a_run_that_moves_is_drawn_anew(tmp_path, draw):
    write_run(tmp_path / "one", {}, "running", 0)
    app = draw(tmp_path)
    write_run(tmp_path / "two", {}, "running", 1)
    app.run()
    assert sorted(app.dataframe[0].value["Run"]) == ["one", "two"]


def test_what_draws_charts_is_loaded_before_it_is_asked_for(runs, draw):
    app = draw(runs)
    assert not app.get("plotly_chart")  # the table comes first
    assert len(app.run().get("plotly_chart")) == 1
    assert not draw(runs, "Try it").run().get("plotly_chart")
