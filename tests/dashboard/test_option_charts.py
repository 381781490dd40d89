from pathlib import Path

import pytest

from transfer_utils.dashboard import option_charts, style
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.groups import RunGroup, group_by_configuration
from transfer_utils.results.table import Row
from transfer_utils.results.timing import PHASE_NAMES


def test_one_run_shows_its_interval_and_several_their_standard_deviation(view):
    [one] = view.named(["depth-30-0"])
    group = RunGroup("three", view.named(["depth-30-0", "depth-30-1", "depth-30-2"]))
    figure = option_charts.results([RunGroup("one", [one]), group])
    alone, several = figure.data[0], figure.data[1]
    assert alone.x[0] == one.metric("val_end2end")
    assert alone.x[0] - alone.error_x.arrayminus[0] == pytest.approx(one.metric("val_low"))
    assert several.error_x.array[0] == several.error_x.arrayminus[0] == group.deviation("val_end2end")
    assert {trace.marker.symbol for trace in figure.data} == {"circle", "diamond"}


def test_the_error_bar_of_a_repeated_seed_is_that_of_its_newest_run():
    interval = {"val_end2end": 0.8, "val_low": 0.7, "val_high": 0.9}
    metrics = {"0002": interval, "0001": {"val_end2end": 0.3, "val_low": 0.2, "val_high": 0.4}}
    records = [RunRecord(run_id=number, config={"seed": 0}, metrics=values) for number, values in metrics.items()]
    group = RunGroup("both", [Row(record.run_id, Run(record, Path())) for record in records])
    bar = option_charts.results([group], ("val",)).data[0]
    assert (bar.x[0], bar.error_x.arrayminus[0], bar.error_x.array[0]) == pytest.approx((0.8, 0.1, 0.1))


def test_accuracy_against_total_time(view):
    [one] = view.named(["depth-30-0"])
    figure = option_charts.against_time([RunGroup("one", [one]), RunGroup("running", view.named(["depth-60-0"]))])
    assert [(list(trace.x), list(trace.y)) for trace in figure.data] == [([one.seconds], [one.metric("val_end2end")])]
    assert option_charts.against_time([RunGroup("running", view.named(["depth-60-0"]))]) is None
    assert figure.data[0].customdata[0][-1] == ""
    on_gpu = Row("gpu", Run(one.record.model_copy(update={"machine": {"gpus": ["cuda:0"]}}), Path()))
    assert option_charts.against_time([RunGroup("one", [on_gpu])]).data[0].customdata[0][-1] == " on a GPU"


def test_every_run_has_a_mark_of_its_own(view):
    [one] = view.named(["depth-30-0"])
    figure = option_charts.against_time([RunGroup(str(place), [one]) for place in range(style.MAX_LINES)])
    marks = {(trace.marker.color, trace.marker.symbol) for trace in figure.data}
    assert len(marks) == style.MAX_LINES


def test_parallel_coordinates_show_the_options_that_differ_and_the_accuracy(view):
    few = view.named(["depth-30-0", "depth-10-0", "depth-10-1", "depth-60-0"])
    figure = option_charts.parallel(few)
    titles = [note.text for note in figure.layout.annotations if note.text.startswith("<b>")]
    assert titles == ["<b>n_unfreeze</b>", "<b>augment</b>", "<b>validation</b>"]
    assert len(figure.data) == 3  # the run in progress has no accuracy yet
    lines = {trace.name: trace for trace in figure.data}
    assert lines["depth-30-0"].text[:2] == ("30", "yes")
    assert lines["depth-30-0"].y[-1] == max(trace.y[-1] for trace in figure.data) == 1
    assert lines["depth-10-0"].y[0] != lines["depth-10-1"].y[0]  # apart, so that both are visible
    assert option_charts.parallel(view.named(["depth-30-0", "depth-30-1"])) is None
    assert option_charts.parallel(view.named(["depth-30-0"])) is None
    figure = option_charts.parallel(view.named(["depth-30-0", "depth-10-0", "baseline-0"]))
    values = [note.text for note in figure.layout.annotations]
    assert values[values.index("<b>n_unfreeze</b>") + 1 :][:3] == ["10", "30", "–"], "unused comes last"


def test_the_time_of_a_group_is_that_of_its_phases_and_the_rest():
    table = {"total": 100.0, "features": 20.0, "stage1": 10.0, "stage2": 60.0}
    tables = [table, {**table, "features": 40.0, "total": 120.0, "reading": 0.0}, {"total": 50.0, "baseline": 50.0}]
    tables.insert(0, {"total": None})
    rows = [Row(str(n), Run(RunRecord(timing_sec=timing), Path())) for n, timing in enumerate(tables)]
    figure = option_charts.phases([RunGroup("transfer", rows[:3]), RunGroup("scratch", rows[3:])])
    assert {trace.name: trace.x for trace in figure.data} == {
        "features": (30, 0), "stage 1": (10, 0), "stage 2": (60, 0), "training from scratch": (0, 50), "other": (10, 0),
    }  # fmt: skip
    assert option_charts.phases([RunGroup("none", rows[:1])]) is None


def test_every_phase_has_a_colour_of_its_own():
    timing = dict.fromkeys(PHASE_NAMES, 1.0) | {"total": 20.0}
    figure = option_charts.phases([RunGroup("one", [Row("", Run(RunRecord(timing_sec=timing), Path()))])])
    assert len(figure.data) == len({trace.marker.color for trace in figure.data}) == len(PHASE_NAMES) + 1


def test_an_error_bar_ends_at_what_is_possible():
    low, high = (Row(str(value), Run(RunRecord(metrics={"val_end2end": value}), Path())) for value in (0.2, 1.0))
    bar = option_charts.results([RunGroup("both", [low, high])], ("val",)).data[0]
    assert bar.x[0] == pytest.approx(0.6) and bar.error_x.array[0] == pytest.approx(0.4)


def test_groups_are_named_on_the_axis(view):
    groups = group_by_configuration(view.named(["depth-30-0", "depth-10-0"]))
    assert option_charts.results(groups).layout.yaxis.ticktext == ("last 30 layers unfrozen", "last 10 layers unfrozen")
