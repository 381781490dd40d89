"""Tests of the figures of the fine-tuning and the comparison notebooks."""

import numpy as np
import pytest

from transfer_utils.errors import UserError
from transfer_utils.plotting.by_option import plot_label_efficiency
from transfer_utils.plotting.curves import plot_accuracy_over_time, plot_fine_tunings
from transfer_utils.plotting.galleries import plot_blends
from transfer_utils.records import RunRecord

SUMMARY = {
    "transfer": {5: (0.7, 0.6, 0.8), 20: (0.8, 0.75, 0.85)},
    "baseline": {20: (0.5, 0.4, 0.6), 5: (0.2, 0.1, 0.3)},
}


def run(accuracies, seconds):
    return RunRecord(curves={"stage1": {"val_accuracy": accuracies, "seconds": seconds}})


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_label_efficiency_draws_means_in_order_and_bands_from_worst_to_best():
    figure = plot_label_efficiency(SUMMARY)
    lines = lines_of(figure)
    assert lines["CNN from scratch"].get_xydata().tolist() == [[5, 0.2], [20, 0.5]]
    assert lines["transfer learning"].get_linestyle() != lines["CNN from scratch"].get_linestyle()
    band = figure.axes[0].collections[1].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.1, 0.6)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["5", "20"]


def test_label_efficiency_of_a_probe_is_not_called_fine_tuning():
    assert "linear probe" in lines_of(plot_label_efficiency(SUMMARY, transfer="linear probe"))


def test_accuracy_over_time_draws_the_ends_of_the_epochs():
    figure = plot_accuracy_over_time(run([0.5, 0.6], [1.0, 2.0]), run([0.1], [4.0]))
    lines = lines_of(figure)
    assert lines["transfer learning"].get_xydata().tolist() == [[1.0, 0.5], [3.0, 0.6]]
    assert lines["CNN from scratch"].get_xydata().tolist() == [[4.0, 0.1]]
    assert all(axis.get_text() for axis in (figure.axes[0].xaxis.label, figure.axes[0].yaxis.label))


def test_fine_tunings_begin_at_epoch_0_and_differ_without_colour():
    figure = plot_fine_tunings({"right": [0.8, 0.85], "$too high$": [0.8, 0.1]})
    first, second = [lines_of(figure)[label] for label in ("right", r"\$too high\$")]
    assert first.get_xydata().tolist() == [[0, 0.8], [1, 0.85]]
    assert first.get_linestyle() != second.get_linestyle()
    assert lines_of(figure)["before fine-tuning"].get_ydata()[0] == 0.8


def test_blends_show_three_pictures_a_pair_and_the_larger_parts_of_the_label():
    pictures = np.zeros((2, 3, 4, 4, 3), "uint8")
    figure = plot_blends(pictures, np.array([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0]]), ["cat", "dog", "ship"])
    assert len(figure.axes) == 6
    assert {axes.get_xlabel() for axes in figure.axes} == {"", "70% cat\n30% ship", "100% dog"}


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot_label_efficiency({}), "summary"),
        (lambda: plot_fine_tunings({}), "curves"),
        (lambda: plot_blends(np.zeros((1, 3, 4, 4, 3)), np.zeros((2, 2)), ["a", "b"]), "labels .* got 2 and 1"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, words):
    with pytest.raises(UserError, match=words):
        draw()
