import numpy as np
import pytest

from transfer_utils.dashboard import result_charts
from transfer_utils.records.record import RunRecord

COUNTS = [[8, 2], [1, 9]]


def test_confusion_shows_counts_and_shares_of_the_row():
    counts = result_charts.confusion_counts(RunRecord(confusion_matrix=COUNTS))
    figure = result_charts.confusion(counts, ["cat", "dog"], normalised=False)
    wrong, right, cells = figure.data
    np.testing.assert_equal(wrong.z, [[np.nan, 2], [1, np.nan]])
    np.testing.assert_equal(right.z, [[8, np.nan], [np.nan, 9]])
    assert list(cells.text) == ["8", "2", "1", "9"]
    assert (cells.x[1], cells.y[1]) == ("dog", "cat")  # predicted, true
    figure = result_charts.confusion(counts, ["cat", "dog"], normalised=True)
    assert list(figure.data[2].text) == ["80%", "20%", "10%", "90%"]
    figure = result_charts.confusion(np.array([[0.0, 0.0], [1.0, 9.0]]), ["cat", "dog"], normalised=True)
    assert list(figure.data[2].text) == ["0%", "0%", "10%", "90%"], "a class without images has no shares"
    figure = result_charts.confusion(counts, ["<b>cat</b>", "dog"], normalised=False)
    assert figure.data[0].x[0] == figure.data[2].y[0] == "&lt;b&gt;cat&lt;/b&gt;"


@pytest.mark.parametrize("matrix", [[], [[1, 2]], [[1] * 201] * 201])
def test_a_matrix_that_is_empty_or_not_square_or_too_large_is_not_drawn(matrix):
    assert result_charts.confusion_counts(RunRecord(confusion_matrix=matrix)) is None


def test_class_names_are_printable_and_unique():
    names = result_charts.class_labels
    assert names(RunRecord(dataset={"class_names": ["<b>", "\x1b"]}), 2) == ["<b>", "\\x1b"]
    assert names(RunRecord(dataset={"class_names": ["x", "x"]}), 2) == ["0 x", "1 x"]
    assert names(RunRecord(dataset={"class_names": ["one"]}), 2) == ["0", "1"]
    assert names(RunRecord(per_class=[{"name": "cat"}, {"name": "dog"}]), 2) == ["cat", "dog"]


def test_precision_and_recall_have_different_markers():
    scores = [{"name": "cat", "precision": 0.5, "recall": None}, {"name": "dog", "precision": "?", "recall": 0.75}]
    figure = result_charts.by_class(RunRecord(per_class=scores))
    precision, recall = figure.data[-2:]
    assert list(precision.x) == [0.5, None] and list(recall.x) == [None, 0.75]
    assert precision.marker.symbol != recall.marker.symbol
    assert result_charts.by_class(RunRecord(per_class=[{"name": "cat"}])) is None


def test_reliability():
    bins = {"edges": [0.0, 0.5, 1.0], "confidence": [None, 0.8], "accuracy": [None, 0.7], "count": [0, 10]}
    figure = result_charts.reliability(bins)
    np.testing.assert_equal(figure.data[0].y, [np.nan, 0.7])
    np.testing.assert_allclose(figure.data[1].y[1], 0.1)  # the gap bar starts at the accuracy
    assert result_charts.reliability({**bins, "edges": [0.0, 1.0]}) is None
    assert result_charts.reliability({**bins, "count": "ten"}) is None
    assert result_charts.reliability({}) is None
