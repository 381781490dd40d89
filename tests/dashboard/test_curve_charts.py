import numpy as np

from transfer_utils.dashboard.curve_charts import Line, curves, learning_rate
from transfer_utils.records.record import RunRecord
from transfer_utils.records.salvage import MAX_NUMBER
from transfer_utils.results.curves import mean_history

STAGE1 = {"loss": [1.0, 0.8], "accuracy": [0.5, 0.6], "val_loss": [1.1, 0.9], "val_accuracy": [0.4, 0.5]}
STAGE1 |= {"seconds": [2.0, 2.0], "learning_rate": [1e-3, 0.0]}
STAGE2 = {"val_accuracy": [0.7], "accuracy": [0.8], "seconds": [10.0]}


def line(*curves, name="a <b>run</b>", place=0):
    """Return the mean line of runs with these curves."""
    return Line(name, mean_history([RunRecord(curves=each) for each in curves]), place)


def drawn(figure, name):
    """Return the lines of this name that have points."""
    return [trace for trace in figure.data if trace.name == name and trace.x[0] is not None]


def test_training_is_dashed_and_validation_solid_in_the_colour_of_the_run():
    figure = curves([line({"stage1": STAGE1}), line({"stage1": STAGE1}, place=1)])
    [first, second] = [{trace.line.color for trace in figure.data if trace.legendgroup == str(i)} for i in (0, 1)]
    assert len(first) == len(second) == 1 and first != second
    assert [trace.line.dash for trace in drawn(figure, "a &lt;b&gt;run&lt;/b&gt;")][:2] == ["dash", "solid"]
    legend = {trace.name: trace.line.dash for trace in figure.data if trace.x[0] is None}
    assert legend == {"validation": "solid", "training": "dash"}


def test_both_stages_share_an_axis_with_the_boundary_marked():
    both = [line({"stage1": STAGE1, "stage2": STAGE2})]
    figure = curves(both)
    assert [shape.x0 for shape in figure.layout.shapes] == [2.5, 2.5]  # accuracy and loss
    assert [note.text for note in figure.layout.annotations][2:] == ["stage 2"]
    validation = next(trace for trace in figure.data if trace.yaxis == "y" and trace.line.dash == "solid")
    assert list(validation.x) == [1, 2, 3] and list(validation.y) == [0.4, 0.5, 0.7]
    figure = curves(both, against="time")
    assert figure.layout.shapes[0].x0 == 4.0 and list(figure.data[0].x) == [2.0, 4.0, 14.0]


def test_several_runs_have_a_band_of_one_standard_deviation():
    figure = curves([line(*({"stage1": {"val_accuracy": [value]}} for value in (0.4, 0.6)))])
    low, high = figure.data[1].y[0], figure.data[2].y[0]
    np.testing.assert_allclose([low, high], [0.5 - np.std([0.4, 0.6], ddof=1), 0.5 + np.std([0.4, 0.6], ddof=1)])
    assert figure.data[2].fill == "tonexty"


def test_a_band_does_not_cross_a_gap():
    stages = [{"stage1": {"val_accuracy": [0.4] * n}, "stage2": {"val_accuracy": [0.6]}} for n in (2, 4)]
    figure = curves([line(*stages)])
    bands = [trace for trace in figure.data if trace.fill == "tonexty"]
    assert [list(band.x) for band in bands] == [[1, 2], [5]]


def test_bands_and_values_stay_within_what_is_possible():
    wild = {"val_accuracy": [0.99, MAX_NUMBER], "val_loss": [0.01, MAX_NUMBER]}
    figure = curves([line({"stage1": wild}, {"stage1": {"val_accuracy": [0.6, 0.5], "val_loss": [2.0, 1.0]}})])
    for axis, most in (("y", 1), ("y2", 1e6)):
        drawn = np.concatenate([trace.y for trace in figure.data if trace.yaxis == axis and trace.x[0] is not None])
        assert np.nanmin(drawn) >= 0 and np.nanmax(drawn) == most


def test_the_pointer_shows_whole_epochs_and_seconds():
    lines = [line({"stage1": STAGE1})]
    assert "epoch %{x:,.0f}" in curves(lines).data[0].hovertemplate
    assert "%{x:,.0f} s" in curves(lines, "time").data[0].hovertemplate


def test_every_line_has_an_identity_by_which_it_stays_hidden():
    drawn = curves([line({"stage1": STAGE1}, name=name, place=place) for place, name in enumerate("ab")]).data
    assert len({trace.uid for trace in drawn}) == len(drawn) == 10
    assert all(trace.uid.isalnum() for trace in drawn), "Plotly selects elements by it"


def test_boundaries_with_the_same_name_are_labelled_once_at_the_last_and_many_are_not_drawn():
    def lines(*lengths):
        stages = [{"stage1": {"loss": [1.0] * n}, "stage2": STAGE2} for n in lengths]
        return [line(curve, place=place) for place, curve in enumerate(stages)]

    figure = curves(lines(4, 3))
    assert sorted({shape.x0 for shape in figure.layout.shapes}) == [3.5, 4.5]
    notes = list(figure.layout.annotations[2:])
    assert [(note.text, note.x) for note in notes] == [("stage 2", 4.5)], "and no placeholder at the other line"
    assert len(curves(lines(1, 2, 3, 4, 5)).layout.shapes) == 0


def test_the_axis_of_the_learning_rate_is_logarithmic_without_tiny_values_and_with_a_gap_at_zero():
    rates = {"learning_rate": [1e-3, 1e-4, 1e-12]}
    low, high = learning_rate(line({"stage1": {**rates, "loss": [1.0] * 3}})).layout.yaxis.range
    assert low < -4 and high > -3 and high - low < 5
    figure = learning_rate(line({"stage1": STAGE1}))
    np.testing.assert_equal(figure.data[0].y, [1e-3, np.nan])
    assert figure.layout.yaxis.type == "log"
