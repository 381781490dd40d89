import pytest

from tests.dashboard.charts import figures
from tests.samples import write_run
from transfer_utils.dashboard import state

PAGES = [state.RUNS, state.COMPARE, state.ONE_RUN, state.STUDY, state.TRY_IT]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_opened_for_an_empty_folder(tmp_path, draw, page):
    app = draw(tmp_path, page)
    assert not app.exception and app.segmented_control(key="page").value == page
    if page == state.RUNS:
        for first in (app, draw(tmp_path / "missing")):
            assert [block.value for block in first.code] == ["transfer-utils compare --preset offline"]


def test_an_unknown_page_in_the_address_opens_the_first_page_with_the_number_of_runs_in_progress(runs, draw):
    app = draw(runs, "../../etc")
    assert not app.exception and app.segmented_control(key="page").value == "Runs"
    assert app.text[0].value == f"{runs.name} · 1 running"


def test_the_command_line_takes_precedence_over_the_environment(runs, tmp_path, draw, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dashboard.py", "--runs", str(tmp_path / "other")])
    assert draw(runs).code  # the other folder is empty


def test_a_new_run_appears(tmp_path, draw):
    write_run(tmp_path / "one", {}, "running", 0)
    app = draw(tmp_path)
    write_run(tmp_path / "two", {}, "running", 1)
    app.run()
    assert sorted(app.dataframe[0].value["Run"]) == ["one", "two"]


def test_the_browser_loads_plotly_after_the_table_is_drawn(runs, draw):
    app = draw(runs)
    assert not figures(app)
    assert len(figures(app.run())) == 1
    assert not figures(draw(runs, "Try it").run())
