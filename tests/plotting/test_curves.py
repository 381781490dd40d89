import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.plotting.figures import BASELINE, EMPTY, GAPS, OLD, TRANSFER, lines_by_label, words
from transfer_utils import plotting
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.palette import MODEL_COLOURS


def curves_in(figure: Figure, panel: int) -> dict[tuple[str, str], np.ndarray]:
    """Return the values of a panel's curves by colour and line style."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() != "None"]
    return {(line.get_color(), line.get_linestyle()): np.array(line.get_ydata(), float) for line in lines}


def boundaries(figure: Figure, panel: int = 0) -> list[float]:
    return [line.get_xdata()[0] for line in figure.axes[panel].lines if line.get_linestyle() == ":"]


def test_both_models_and_both_splits_are_drawn_with_joined_stages():
    curves = curves_in(plotting.plot_model_comparison(TRANSFER, BASELINE), 0)
    blue, red = MODEL_COLOURS["transfer"], MODEL_COLOURS["baseline"]
    assert set(curves) == {(blue, "--"), (blue, "-"), (red, "--"), (red, "-")}
    assert curves[blue, "--"].tolist() == [0.6, 0.7, 0.75, 0.7, 0.8]
    assert curves[red, "-"].tolist() == [0.4, 0.45]
    assert np.array_equal(curves[blue, "-"], [0.7, math.nan, 0.8, 0.81, 0.83], equal_nan=True)


def test_one_epoch_is_a_whole_number():
    axes = plotting.plot_curves(run([0.5], [1.0])).axes[0]
    assert [tick for tick in axes.get_xticks() if tick % 1] == []


def test_a_dotted_line_marks_where_a_later_stage_begins():
    assert [boundaries(plotting.plot_curves(TRANSFER), panel) for panel in (0, 1)] == [[3.5], [3.5]]
    assert boundaries(plotting.plot_curves(BASELINE)) == []
    assert boundaries(plotting.plot_curves(GAPS)) == [2.5]  # the stage without epochs has no line


@pytest.mark.parametrize(("record", "times"), [(EMPTY, 2), (OLD, 1), (GAPS, 2)], ids=["empty", "old log", "gaps"])
def test_missing_curves_are_reported(record, times):
    assert sum(text.count("not recorded") for text in words(plotting.plot_curves(record))) == times
    assert "not recorded" in " ".join(words(plotting.plot_model_comparison(TRANSFER, record)))


def test_the_title_names_model_and_dataset():
    assert plotting.plot_curves(BASELINE).get_suptitle().startswith("Tutorial CNN")
    title = plotting.plot_curves(TRANSFER).get_suptitle()
    assert title.startswith("Transfer learning") and title.endswith("CIFAR-10, JPEG copy")


def run(accuracies: list[float], seconds: list[float]) -> RunRecord:
    return RunRecord(curves={"stage1": {"val_accuracy": accuracies, "seconds": seconds}})


def test_accuracy_over_time_has_a_point_at_the_end_of_each_epoch():
    records = run([0.5, 0.6], [1.0, 2.0]), run([0.1], [4.0])
    figure = plotting.plot_accuracy_over_time(*records, models=["transfer", "compact"])
    lines = lines_by_label(figure)
    assert lines["transfer learning"].get_xydata().tolist() == [[1.0, 0.5], [3.0, 0.6]]
    assert lines["compact CNN"].get_xydata().tolist() == [[4.0, 0.1]]
    assert all(axis.get_text() for axis in (figure.axes[0].xaxis.label, figure.axes[0].yaxis.label))


def test_a_run_without_curves_is_named_in_the_legend_as_not_recorded():
    lines = lines_by_label(plotting.plot_accuracy_over_time(RunRecord(), run([0.1], [4.0])))
    assert list(lines) == ["transfer learning: not recorded", "tutorial CNN"]
    assert list(lines_by_label(plotting.plot_accuracy_over_time(RunRecord(), models=["transfer"])))


def test_an_opponent_that_takes_far_longer_does_not_crowd_the_others_together():
    figure = plotting.plot_accuracy_over_time(run([0.5, 0.6], [1.0, 2.0]), run([0.1], [31.0]))
    assert figure.axes[0].get_xscale() == "log"
    seconds = figure.axes[0].xaxis.get_major_formatter()
    assert [seconds(value) for value in (0.1, 1, 1000)] == ["0.1", "1", "1,000"], "no 0 on a logarithmic axis"
    assert list(lines_by_label(figure)) == ["transfer learning", "tutorial CNN"]


def test_fine_tunings_begin_at_epoch_0_and_differ_without_colour():
    lines = lines_by_label(plotting.plot_fine_tunings({"right": [0.8, 0.85], "$too high$": [0.8, 0.1]}))
    first, second = (lines[label] for label in ("right", r"\$too high\$"))
    assert first.get_xydata().tolist() == [[0, 0.8], [1, 0.85]]
    assert first.get_linestyle() != second.get_linestyle()
    assert lines["before fine-tuning"].get_ydata()[0] == 0.8
