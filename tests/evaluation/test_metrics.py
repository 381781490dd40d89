import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.evaluation.metrics import (
    apply_temperature,
    calibration,
    confusion_matrix,
    evaluate,
    fit_temperature,
)


@st.composite
def predictions(draw) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities (n, classes), some of them exactly 0 or 1, and labels (n,)."""
    n, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    logits = draw(arrays(np.float64, (n, classes), elements=st.floats(-200, 200)))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True), labels


class TestEvaluate:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.25, 0.7, 0.05]], np.float32)
    labels = np.array([0, 0, 1, 1])
    result = evaluate(probabilities, labels, ["cat", "dog", "emu"])

    def test_an_example_computed_by_hand(self):
        assert self.result["accuracy"] == 0.75
        assert (self.result["low"], self.result["high"]) == wilson_interval(3, 4)
        assert self.result["loss"] == pytest.approx(-np.log([0.7, 0.4, 0.8, 0.7]).mean(), rel=1e-6)
        assert self.result["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
        cat, dog, _ = self.result["per_class"]
        assert cat == {"name": "cat", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
        assert dog == {"name": "dog", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8, "support": 2}

    @pytest.mark.fault(18)
    def test_a_class_without_labels_has_no_scores(self):
        no_scores = {"name": "emu", "precision": None, "recall": None, "f1": None, "support": 0}
        assert self.result["per_class"][2] == no_scores
        predicted_anyway = evaluate(np.eye(3)[[0, 2]], np.array([0, 0]), ["cat", "dog", "emu"])
        assert predicted_anyway["per_class"][2] == no_scores

    def test_a_class_without_predictions_has_no_precision_and_a_recall_of_0(self):
        _, dog = evaluate(np.eye(2)[[0, 0]], np.array([0, 1]), ["cat", "dog"])["per_class"]
        assert dog == {"name": "dog", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1}

    @pytest.mark.fault(18)
    def test_extreme_predictions_have_finite_values(self):
        assert evaluate(np.eye(2), np.array([1, 0]), "ab")["loss"] == pytest.approx(-np.log(1e-7)), "as in Keras"
        assert evaluate(np.array([[1.0004, 0.0]], np.float32), np.array([1]), "ab")["ece"] == 1.0
        assert evaluate(np.array([[0.1, 0.9]]), np.array([1]), "ab")["accuracy"] == 1.0

    @settings(max_examples=30)
    @given(predictions())
    def test_the_counts_agree_for_all_predictions(self, case):
        probabilities, labels = case
        result = evaluate(probabilities, labels, [str(i) for i in range(probabilities.shape[1])])
        matrix = np.array(result["confusion_matrix"])
        assert matrix.sum() == len(labels)
        assert np.trace(matrix) / len(labels) == result["accuracy"]
        assert matrix.sum(axis=1).tolist() == [row["support"] for row in result["per_class"]]
        assert 0 <= result["low"] <= result["accuracy"] <= result["high"] <= 1
        json.dumps(result, allow_nan=False)


def test_a_confusion_matrix_takes_unsigned_classes():
    assert confusion_matrix(np.array([0, 1]), np.array([1, 1], "uint64"), 2).tolist() == [[0, 1], [0, 1]]


VALID = {"probabilities": np.full((3, 2), 0.5), "labels": np.array([0, 1, 1]), "class_names": "ab"}


def evaluated(**change):
    return lambda: evaluate(**VALID | change)


REFUSED = [
    (evaluated(labels=np.array([0, 1, 7])), "labels must be between 0 and 1, got 7 at position 2"),
    (evaluated(labels=np.array([0, -1, 1])), "labels must be between 0 and 1, got -1 at position 1"),
    (evaluated(labels=np.array([0, 1])), "probabilities and labels must have the same length, got 3 and 2"),
    (evaluated(labels=np.array([0.0, 1.0, 1.0])), "labels must be integers, got float64"),
    (evaluated(labels=np.eye(2)[[0, 1, 1]]), r"labels must have shape \(n,\), got \(3, 2\)"),
    (evaluated(labels=np.array([], int), probabilities=np.zeros((0, 2))), "labels must have at least one image"),
    (evaluated(probabilities=np.array([[0.5, 0.5], [np.nan, 1], [1, 0]])), "got NaN in row 1"),
    (evaluated(probabilities=np.array([[0.5, 0.5], [0.9, 0.9], [1, 0]])), "row 1 with smallest value 0.9 and sum 1.8"),
    (evaluated(probabilities=np.array([[0.5, 0.5], [1, 0], [-1, 2]])), "got row 2 with smallest value -1 and sum 1"),
    (evaluated(probabilities=np.array([[0.5, 0.5], [np.inf, 0], [1, 0]])), "row 1 with smallest value 0 and sum inf"),
    (evaluated(probabilities=np.full(3, 0.5)), r"probabilities must have shape \(n, classes\), got \(3,\)"),
    (evaluated(class_names="abc"), "class_names must have 2 names, one per class, got 3"),
    (lambda: confusion_matrix([0, 1], [0, 9], 2), "predicted must be between 0 and 1, got 9"),
    (lambda: confusion_matrix([0, 1], [0], 2), "predicted and labels must have the same length, got 1 and 2"),
    (lambda: calibration(VALID["probabilities"], VALID["labels"], bins=0), "bins must be at least 1, got 0"),
    *((lambda t=t: apply_temperature([[1, 0]], t), "must be positive and finite") for t in (0, -1, np.nan, np.inf)),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
@pytest.mark.fault(17)
def test_wrong_arguments_are_rejected_with_name_and_value(call, message):
    with pytest.raises(UserError, match=message):
        call()


class TestCalibration:
    def test_an_example_computed_by_hand(self):
        # Ten predictions with confidence 0.95, nine of them correct, and ten with 0.65, three of them correct.
        probabilities = np.repeat([[0.95, 0.05], [0.65, 0.35]], 10, axis=0)
        labels = np.array([0] * 9 + [1] + [0] * 3 + [1] * 7)
        result = calibration(probabilities, labels, bins=10)
        assert result["edges"] == pytest.approx(np.arange(11) / 10)
        assert result["count"] == [0] * 6 + [10, 0, 0, 10]
        assert result["confidence"] == [None] * 6 + [pytest.approx(0.65), None, None, pytest.approx(0.95)]
        assert result["accuracy"] == [None] * 6 + [pytest.approx(0.3), None, None, pytest.approx(0.9)]
        assert result["ece"] == pytest.approx((0.05 + 0.35) / 2)
        assert result["mce"] == pytest.approx(0.35)
        json.dumps(result, allow_nan=False)

    def test_limits(self):
        assert calibration(np.array([[0.5, 0.5]]), np.array([0]), bins=2)["count"] == [1, 0], "the lower bin"
        assert calibration(np.eye(3), np.arange(3))["ece"] == 0
        assert calibration(np.eye(2), np.array([1, 0]))["ece"] == 1

    @settings(max_examples=30)
    @given(predictions(), st.integers(1, 40))
    def test_errors_are_in_0_to_1_and_every_image_is_counted(self, case, bins):
        result = calibration(*case, bins)
        assert sum(result["count"]) == len(case[1])
        assert 0 <= result["ece"] <= result["mce"] + 1e-12
        assert result["mce"] <= 1


class TestTemperature:
    @pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
    def test_fitting_recovers_the_temperature_that_was_applied(self, true):
        rng = np.random.default_rng(0)
        calibrated = rng.dirichlet(np.full(5, 0.5), 4000)
        labels = (calibrated.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
        assert fit_temperature(apply_temperature(calibrated, 1 / true), labels) == pytest.approx(true, rel=0.05)

    @settings(max_examples=30)
    @given(predictions())
    def test_fitting_never_increases_the_loss_or_changes_the_predicted_class(self, case):
        probabilities, labels = case
        names = [""] * probabilities.shape[1]
        scaled = apply_temperature(probabilities, fit_temperature(probabilities, labels))
        assert evaluate(scaled, labels, names)["loss"] <= evaluate(probabilities, labels, names)["loss"] + 1e-9
        of_predicted_class = scaled[np.arange(len(labels)), probabilities.argmax(axis=1)]
        assert of_predicted_class == pytest.approx(scaled.max(axis=1))

    def test_a_temperature_above_1_lowers_the_confidence_and_1_is_the_default(self):
        assert apply_temperature([[0.8, 0.2]], 2.0) == pytest.approx(np.array([[2 / 3, 1 / 3]]))
        assert fit_temperature(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])) == 1.0
        with np.errstate(all="raise"):
            assert 0 < apply_temperature(np.eye(2, dtype=np.float32), 2.0)[0, 1] < 1e-18
