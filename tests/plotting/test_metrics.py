import numpy as np
import pytest

from tests.plotting.figures import BASELINE, CALIBRATION, DRAW, EMPTY, NAMES, OLD, TRANSFER, drawn_texts, words
from transfer_utils import plotting


def test_accuracies_and_intervals_are_written_and_missing_ones_are_named():
    texts = words(plotting.plot_accuracy_comparison(TRANSFER, BASELINE))
    assert {"88.0 %", "87.0 to 89.0", "70.0 %", "69.0 to 71.0", "88.5 %", "87.5 to 89.5"} <= set(texts)
    assert "interval\nnot recorded" in texts  # for the test accuracy of the baseline
    assert "not recorded" in texts  # for the test-time augmentation of the baseline
    assert "TTA" not in " ".join(words(plotting.plot_accuracy_comparison(BASELINE, OLD)))
    assert words(plotting.plot_accuracy_comparison(EMPTY, EMPTY)).count("not recorded") == 4


class TestConfusionMatrix:
    def test_cells_show_the_percentage_of_their_row_or_the_count(self):
        assert {"83.3", "16.7", "25.0", "75.0"} <= set(words(DRAW["plot_confusion_matrix"]()))
        counts = plotting.plot_confusion_matrix([[5, 1], [2, 6]], NAMES, normalise=False)
        assert {"5", "1", "2", "6"} <= set(words(counts))
        texts = words(plotting.plot_confusion_matrix([[3, 0], [0, 0]], NAMES))
        assert "100.0" in texts and "nan" not in texts, "a class without images has an empty row"
        many = plotting.plot_confusion_matrix(np.full((21, 21), 7), [f"c{i}" for i in range(21)], normalise=False)
        assert "7" not in words(many), "many classes are drawn without numbers"
        many = words(plotting.plot_confusion_matrix(np.eye(150), [f"c{i}" for i in range(150)]))
        assert "c148" in many and "c149" not in many, "their names would overlap"

    def test_the_labels_stay_where_they_are_when_it_is_saved_and_then_displayed(self):
        figure = plotting.plot_confusion_matrix(np.eye(10), ["airplane", "automobile", *"cdefghij"])
        saved, displayed = (dict(drawn_texts(figure))["true class"].x0 for _ in range(2))
        assert displayed == pytest.approx(saved, abs=2)  # pixels


def test_reliability_shows_bins_with_images_and_the_calibration_error():
    figure = plotting.plot_reliability({"here": CALIBRATION, "there": {}})
    assert {f"here: ECE {100 * CALIBRATION['ece']:.1f} %", "there: not recorded"} <= set(words(figure))
    line = plotting.plot_reliability({"here": CALIBRATION}).axes[0].containers[0].lines[0]
    assert len(line.get_xdata()) == sum(count > 0 for count in CALIBRATION["count"])


def test_a_bin_with_less_than_one_percent_of_the_images_has_no_point():
    table = {"count": [1, 3, 200], "confidence": [0.2, 0.5, 0.9], "accuracy": [0.0, 0.6, 0.8]}
    figure = plotting.plot_reliability({"here": table | {"edges": [0, 0.4, 0.7, 1], "ece": 0.1}})
    assert figure.axes[0].containers[0].lines[0].get_xdata().tolist() == [0.5, 0.9]


def test_a_class_missing_from_a_split_counts_as_zero():
    widths = [[bar.get_width() for bar in axes.patches] for axes in DRAW["plot_class_balance"]().axes]
    assert widths == [[40, 3], [9, 0]]
