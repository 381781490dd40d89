import json

import pytest


def charts(app):
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def test_only_the_options_that_differ_are_listed(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-10-0"])
    assert app.dataframe[0].value.to_dict("list") == {
        "Option": ["n_unfreeze", "augment"],
        "depth-30-0": ["30", "yes"],
        "depth-10-0": ["10", "no"],
    }


def test_runs_of_one_configuration_differ_in_nothing(runs, draw):
    app = draw(runs, "Compare", chosen="depth-30-0")
    assert not app.dataframe and any("differ in nothing" in caption.value for caption in app.caption)


def test_nothing_chosen_says_how_to_choose(runs, draw):
    app = draw(runs, "Compare", chosen=["no such run"])
    assert not app.exception and len(app.info) == 1


def test_the_list_of_runs_can_be_changed_here(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-10-0"])
    app.multiselect(key="picked").set_value(["depth-30-0", "baseline-0"]).run()
    assert app.query_params["chosen"] == ["depth-30-0", "baseline-0"]
    assert list(app.dataframe[0].value.columns) == ["Option", "depth-30-0", "baseline-0"]


def test_seeds_are_gathered_with_a_band(runs, draw):
    names = ["depth-30-0", "depth-30-1", "depth-10-0"]
    app = draw(runs, "Compare", chosen=names, group="configuration (mean over seeds)")
    curves = charts(app)[0]
    legend = [trace["name"] for trace in curves["data"] if trace.get("showlegend") and trace.get("name")]
    assert legend == ["last 30 layers unfrozen (2 seeds)", "last 10 layers unfrozen"]
    assert any(trace.get("fill") == "tonexty" for trace in curves["data"])
    assert any("± one standard deviation over the runs" in caption.value for caption in app.caption)


@pytest.mark.parametrize("group", ["n_unfreeze", "augment"])
def test_any_option_that_differs_groups_the_runs(runs, draw, group):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-30-1", "depth-10-0"], group=group, against="time")
    assert not app.exception
    assert app.selectbox(key="group").value == group
    assert charts(app)[0]["layout"]["xaxis"]["title"]["text"] == "seconds of training"


def test_a_group_that_no_longer_differs_falls_back_to_each_run(runs, draw):
    app = draw(runs, "Compare", chosen=["depth-30-0", "depth-30-1"], group="n_unfreeze")
    assert not app.exception and app.selectbox(key="group").value == "each run"


def test_more_runs_than_lines_can_be_told_apart_are_not_all_drawn(draw, study):
    app = draw(
        study, "Compare", chosen=[f"labels-{n}-s{seed}" for n in (5, 20, 100, 500) for seed in range(3)] + ["mixup-s0"]
    )
    assert any("The first 12 of 13" in info.value for info in app.info)


def test_old_logs_and_unfinished_runs_compare_too(runs, draw):
    app = draw(runs, "Compare", chosen=["old-log", "depth-60-0", "depth-all-0"])
    assert not app.exception
    legend = [trace["name"] for trace in charts(app)[0]["data"] if trace.get("showlegend")]
    assert legend == ["depth-60-0", "depth-all-0"]  # the old log kept no curves


def test_charts_are_saved_in_the_chosen_format(runs, draw):
    for form in ("PNG", "SVG"):
        app = draw(runs, "Compare", chosen=["depth-30-0"], format=form)
        [config, *_] = [json.loads(chart.proto.config) for chart in app.get("plotly_chart")]
        assert config["toImageButtonOptions"]["format"] == form.lower()


def test_options_that_no_axis_is_left_for_are_told(study, draw):
    def told(*chosen):
        return [one.value for one in draw(study, "Compare", chosen=chosen).caption if "One line" in one.value]

    [many] = told("mixup-s0", "scratch-5-s0", "side-96-s0", "batch-norm-trained-s0", "depth-0-s0")
    assert "Drawn are the 7 most telling of " in many
    [few] = told("depth-10-s0", "depth-30-s0")
    assert "Drawn" not in few
