import json

import pytest

from tests.dashboard.charts import figures, legend
from tests.samples import write_run
from transfer_utils.dashboard import option_charts, style
from transfer_utils.records.record import read_record


def test_only_the_options_that_differ_are_listed_and_the_runs_can_be_changed(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-10-0"])
    assert app.dataframe[0].value.to_dict("list") == {
        "Option": ["n_unfreeze", "augment"],
        "depth-30-0": ["30", "yes"],
        "depth-10-0": ["10", "no"],
    }
    app.multiselect(key="chosen").set_value(["depth-30-0", "baseline-0"]).run()
    assert app.query_params["chosen"] == ["depth-30-0", "baseline-0"]
    assert list(app.dataframe[0].value.columns) == ["Option", "depth-30-0", "baseline-0"]


def test_one_run_has_no_options_that_differ_and_no_verdict(runs, draw):
    app = draw(runs, "Compare", chosen="depth-30-0")
    assert not app.dataframe and any("the same options" in caption.value for caption in app.caption)
    assert "Is one better than the other?" not in [heading.value for heading in app.subheader]


def test_without_chosen_runs_the_page_explains_how_to_choose(runs, draw):
    app = draw(runs, "Compare", chosen=["no such run"])
    assert not app.exception and len(app.info) == 1


def test_seeds_are_grouped_with_a_band(runs, draw):
    names = ["depth-30-0", "depth-30-1", "depth-10-0"]
    app = draw(runs, "Compare", chosen=names, group="configuration (mean over seeds)")
    assert legend(app) == ["last 30 layers unfrozen (2 seeds)", "last 10 layers unfrozen"]
    assert any(trace.get("fill") == "tonexty" for trace in figures(app)[0]["data"])
    assert any("± one standard deviation over the runs" in caption.value for caption in app.caption)


def test_runs_are_grouped_by_an_option_only_if_it_differs(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-30-1", "depth-10-0"], group="augment", against="time")
    assert not app.exception
    assert app.multiselect(key="group").value == ["augment"]
    assert figures(app)[0]["layout"]["xaxis2"]["title"]["text"] == "seconds since the start of the run"
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-30-1"], group="n_unfreeze")
    assert not app.exception and app.multiselect(key="group").value == []


def test_at_most_twelve_lines_are_drawn(draw, study):
    names = [f"labels-{n}-s{seed}" for n in (5, 20, 100, 500) for seed in range(3)]
    app = draw(study, "Compare", chosen=[*names, "mixup-s0"])
    [info] = [info.value for info in app.info]
    assert "12 of 13 lines: those with the highest validation accuracy" in info and "Group the runs" in info
    drawn = set(legend(app))
    lowest = min(names, key=lambda name: read_record(study / name / "run.json").metrics["val_end2end"])
    assert len(drawn) == 12 and lowest not in drawn and "mixup-s0" in drawn
    assert list(app.dataframe[0].value.columns) == ["Option", *names, "mixup-s0"], "the table has all runs"


def test_old_logs_and_unfinished_runs_can_be_compared_and_a_run_that_is_named_twice_is_one(runs, draw):
    app = draw(runs, "Compare", chosen=["old-log", "depth-60-0", "depth-60-0", "depth-all-0"])
    assert not app.exception
    assert legend(app) == ["depth-60-0", "depth-all-0"]  # the old log has no curves


def test_against_time_a_line_names_the_runs_that_it_shows(tmp_path, draw):
    for seed in range(3):
        path = write_run(tmp_path / f"run-{seed}", {"seed": seed}, "completed", 3)
        record = read_record(path)
        record.machine["gpus"] = ["cuda:0"] if seed == 2 else []
        record.save(path)
    options = {"chosen": [f"run-{seed}" for seed in range(3)], "group": "configuration (mean over seeds)"}
    assert [legend(draw(tmp_path, "Compare", **options, against=axis))[0] for axis in ("epoch", "time")] == [
        "run-0 (3 seeds)", "run-0 (2 seeds)",
    ]  # fmt: skip


def test_the_caption_reports_options_without_an_axis(study, draw, monkeypatch):
    def caption(*chosen):
        app = draw(study, "Compare", chosen=chosen)
        return next(caption.value for caption in app.caption if "One line" in caption.value)

    many = caption("mixup-s0", "scratch-5-s0", "side-96-s0", "batch-norm-trained-s0", "depth-0-s0")
    assert "The chart shows the 7 most informative of " in many
    assert "The chart shows" not in caption("depth-10-s0", "depth-30-s0")
    monkeypatch.setattr(option_charts, "MAX_LINES_ACROSS", 2)
    few = caption("depth-10-s0", "depth-30-s0", "depth-60-s0")
    assert few.endswith(" Of 3 runs, the chart shows the best 2.")


def test_an_option_that_a_run_does_not_use_is_no_difference(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-10-0", "baseline-0", "head-only-0"])
    differences = app.dataframe[0].value.set_index("Option")
    assert list(differences.loc["n_unfreeze"]) == ["30", "10", "–", "0"]
    assert "learning_rate_stage2" not in differences.index, "of these runs, those that fine-tune have the same"


def test_below_the_curves_against_time_stands_what_the_time_went_into(runs, draw):
    chosen = ["depth-30-0", "baseline-0"]
    app = draw(runs, "Compare", chosen=chosen, against="time")
    curves, phases = figures(app)[:2]
    assert [trace["name"] for trace in phases["data"]] == ["features", "stage 1", "stage 2", "training from scratch"]
    assert curves["data"][0]["uid"] == style.trace_id("depth-30-0", "accuracy"), "it is sent to the browser"
    assert len(figures(draw(runs, "Compare", chosen=chosen))) == len(figures(app)) - 1


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("depth-30-0", "depth-30-1"), "These runs cannot tell depth-30-0 from depth-30-1: the difference is "),
        (("depth-30-0", "depth-60-0"), "These runs cannot tell: depth-60-0 has no recorded answers"),
    ],
)
def test_two_lines_have_a_verdict(runs, draw, pair, text):
    app = draw(runs, "Compare", chosen=["old-log", "depth-10-0", *pair], first=pair[0], second=pair[1])
    assert not app.exception
    [found] = [shown.value for shown in app.text if shown.value.startswith(text)]
    based = [shown.value for shown in app.text if "95 % interval from 10,000 test images" in shown.value]
    assert len(based) == ("no recorded answers" not in found)


def test_the_names_in_the_basis_of_a_verdict_are_no_markup(tmp_path, draw):
    markup = "![](http://example.org/x.png) **bold**"
    for seed, status in enumerate(("completed", "diverged")):
        path = write_run(tmp_path / f"odd-{seed}", {"seed": seed, "n_unfreeze": 10}, status, seed)
        record = json.loads(path.read_bytes())
        record["config"]["backbone"] = markup
        path.write_text(json.dumps(record))
    write_run(tmp_path / "plain-0", {"seed": 0, "n_unfreeze": 10}, "completed", 5)
    app = draw(tmp_path, "Compare", chosen=["odd-0", "odd-1", "plain-0"], group=["backbone"])
    assert any(f"1 seed of {markup} diverged" in element.value for element in app.text)
    assert not any("**bold" in element.value for element in (*app.caption, *app.markdown))
