import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transfer_utils.errors import UserError
from transfer_utils.evaluation import (
    apply_temperature,
    calibration,
    confusion_matrix,
    difference_interval,
    evaluate,
    fit_temperature,
    mcnemar,
    summarise_seeds,
    wilson_interval,
)


@st.composite
def predictions(draw) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities of shape (n, classes), some of them exactly 0 or 1, and labels."""
    n, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    logits = draw(arrays(np.float64, (n, classes), elements=st.floats(-200, 200)))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True), labels


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200).map(lambda rows: np.array(rows).T)


def table(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers of two models, right or wrong, that a 2 × 2 table counts."""
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


class TestWilson:
    @pytest.mark.parametrize(
        ("correct", "n", "low", "high"),
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_it_gives_the_examples_of_newcombe_1998(self, correct, n, low, high):
        assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)

    @settings(max_examples=30)
    @given(st.integers(1, 60_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_it_holds_the_accuracy_and_stays_between_0_and_1(self, counts):
        low, high = wilson_interval(*counts)
        assert 0 <= low <= counts[0] / counts[1] <= high <= 1

    def test_more_confidence_makes_it_wider(self):
        low, high = wilson_interval(80, 100, 0.99)
        assert low < wilson_interval(80, 100)[0]
        assert high > wilson_interval(80, 100)[1]

    @pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
    def test_counts_that_give_no_accuracy_are_refused(self, correct, n):
        with pytest.raises(UserError, match=r"must be .*, got"):
            wilson_interval(correct, n)


class TestEvaluate:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.25, 0.7, 0.05]], np.float32)
    labels = np.array([0, 0, 1, 1])
    found = evaluate(probabilities, labels, ["cat", "dog", "emu"])

    def test_a_case_worked_out_by_hand(self):
        assert self.found["accuracy"] == 0.75
        assert (self.found["low"], self.found["high"]) == wilson_interval(3, 4)
        assert self.found["loss"] == pytest.approx(-np.log([0.7, 0.4, 0.8, 0.7]).mean(), rel=1e-6)
        assert self.found["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
        cat, dog, _ = self.found["per_class"]
        assert cat == {"name": "cat", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
        assert dog == {"name": "dog", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8, "support": 2}

    @pytest.mark.fault(18)
    def test_a_class_that_is_absent_from_the_labels_has_no_scores(self):
        nothing = {"name": "emu", "precision": None, "recall": None, "f1": None, "support": 0}
        assert self.found["per_class"][2] == nothing
        predicted_though = evaluate(np.eye(3)[[0, 2]], np.array([0, 0]), ["cat", "dog", "emu"])
        assert predicted_though["per_class"][2] == nothing

    def test_a_class_that_is_never_predicted_has_no_precision_but_a_recall_of_zero(self):
        _, dog = evaluate(np.eye(2)[[0, 0]], np.array([0, 1]), ["cat", "dog"])["per_class"]
        assert dog == {"name": "dog", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1}

    def test_it_is_strict_json(self):
        assert json.loads(json.dumps(self.found, allow_nan=False)) == self.found

    def test_a_sure_mistake_costs_a_finite_loss_the_same_as_in_keras(self):
        assert evaluate(np.eye(2), np.array([1, 0]), "ab")["loss"] == pytest.approx(-np.log(1e-7))

    def test_rows_that_miss_1_by_rounding_are_scaled_to_it(self):
        assert evaluate(np.array([[1.0004, 0.0]], np.float32), np.array([1]), "ab")["ece"] == 1.0

    @pytest.mark.fault(18)
    def test_one_image_is_enough(self):
        assert evaluate(np.array([[0.1, 0.9]]), np.array([1]), "ab")["accuracy"] == 1.0

    @settings(max_examples=30)
    @given(predictions())
    def test_whatever_comes_in_the_counts_agree(self, case):
        probabilities, labels = case
        found = evaluate(probabilities, labels, [str(i) for i in range(probabilities.shape[1])])
        matrix = np.array(found["confusion_matrix"])
        assert matrix.sum() == len(labels)
        assert np.trace(matrix) / len(labels) == found["accuracy"]
        assert matrix.sum(axis=1).tolist() == [row["support"] for row in found["per_class"]]
        assert found["low"] <= found["accuracy"] <= found["high"]
        json.dumps(found, allow_nan=False)


good = {"probabilities": np.full((3, 2), 0.5), "labels": np.array([0, 1, 1]), "class_names": "ab"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 1, 7])}, "labels must be between 0 and 1, got 7 at position 2"),
        ({"labels": np.array([0, -1, 1])}, "labels must be between 0 and 1, got -1 at position 1"),
        ({"labels": np.array([0, 1])}, "probabilities must be as many as labels, got 3 and 2"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "labels must be integers, got float64"),
        ({"labels": np.eye(2)[[0, 1, 1]]}, r"labels must have shape \(n,\), got \(3, 2\)"),
        ({"labels": np.array([], int), "probabilities": np.zeros((0, 2))}, "labels must hold at least one image"),
        ({"probabilities": np.array([[0.5, 0.5], [np.nan, 1], [1, 0]])}, "got NaN in row 1"),
        (
            {"probabilities": np.array([[0.5, 0.5], [0.9, 0.9], [1, 0]])},
            "got row 1 with smallest value 0.9 and sum 1.8",
        ),
        ({"probabilities": np.array([[0.5, 0.5], [1, 0], [-1, 2]])}, "got row 2 with smallest value -1 and sum 1"),
        ({"probabilities": np.array([[0.5, 0.5], [np.inf, 0], [1, 0]])}, "got row 1 with smallest value 0 and sum inf"),
        ({"probabilities": np.full(3, 0.5)}, r"probabilities must have shape \(n, classes\), got \(3,\)"),
        ({"class_names": "abc"}, "class_names must hold 2 names, one a class, got 3"),
    ],
)
@pytest.mark.fault(17)
def test_what_cannot_be_evaluated_is_refused_by_name_and_value(change, message):
    evaluate(**good)
    with pytest.raises(UserError, match=message):
        evaluate(**{**good, **change})


class TestConfusionMatrix:
    def test_rows_are_true_and_columns_predicted_and_absent_classes_keep_their_place(self):
        found = confusion_matrix(np.array([0, 0, 2]), np.array([0, 2, 2]), 4)
        assert found.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]

    @pytest.mark.parametrize(
        ("predicted", "message"),
        [
            ([0, 9], "predicted must be between 0 and 1, got 9"),
            ([0], "predicted must be as many as labels, got 1 and 2"),
        ],
    )
    def test_predictions_out_of_range_or_count_are_refused(self, predicted, message):
        with pytest.raises(UserError, match=message):
            confusion_matrix(np.array([0, 1]), np.array(predicted), 2)


class TestCalibration:
    def test_a_case_worked_out_by_hand(self):
        # Ten answers given with 0.95, nine of them right, and ten given with 0.65, three of them right.
        probabilities = np.repeat([[0.95, 0.05], [0.65, 0.35]], 10, axis=0)
        labels = np.array([0] * 9 + [1] + [0] * 3 + [1] * 7)
        found = calibration(probabilities, labels, bins=10)
        assert found["edges"] == pytest.approx(np.arange(11) / 10)
        assert found["count"] == [0] * 6 + [10, 0, 0, 10]
        assert found["confidence"] == [None] * 6 + [pytest.approx(0.65), None, None, pytest.approx(0.95)]
        assert found["accuracy"] == [None] * 6 + [pytest.approx(0.3), None, None, pytest.approx(0.9)]
        assert found["ece"] == pytest.approx((0.05 + 0.35) / 2)
        assert found["mce"] == pytest.approx(0.35)
        json.dumps(found, allow_nan=False)

    def test_a_confidence_on_an_edge_belongs_to_the_bin_below(self):
        assert calibration(np.array([[0.5, 0.5]]), np.array([0]), bins=2)["count"] == [1, 0]

    def test_always_sure_and_always_right_is_perfect(self):
        assert calibration(np.eye(3), np.arange(3))["ece"] == 0

    def test_always_sure_and_never_right_is_as_wrong_as_can_be(self):
        assert calibration(np.eye(2), np.array([1, 0]))["ece"] == 1

    def test_fewer_than_one_bin_is_refused(self):
        with pytest.raises(UserError, match="bins must be at least 1, got 0"):
            calibration(**{name: good[name] for name in ("probabilities", "labels")}, bins=0)

    @settings(max_examples=30)
    @given(predictions(), st.integers(1, 40))
    def test_errors_lie_between_0_and_1_and_no_image_is_lost(self, case, bins):
        found = calibration(*case, bins)
        assert sum(found["count"]) == len(case[1])
        assert 0 <= found["ece"] <= found["mce"] + 1e-12
        assert found["mce"] <= 1


class TestTemperature:
    @pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
    def test_it_finds_the_temperature_that_was_taken_out(self, true):
        rng = np.random.default_rng(0)
        honest = rng.dirichlet(np.full(5, 0.5), 4000)
        labels = (honest.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
        assert fit_temperature(apply_temperature(honest, 1 / true), labels) == pytest.approx(true, rel=0.05)

    @settings(max_examples=30)
    @given(predictions())
    def test_it_never_raises_the_loss_it_is_fitted_on_and_keeps_the_answers(self, case):
        probabilities, labels = case
        names = [""] * probabilities.shape[1]
        scaled = apply_temperature(probabilities, fit_temperature(probabilities, labels))
        assert evaluate(scaled, labels, names)["loss"] <= evaluate(probabilities, labels, names)["loss"] + 1e-9
        surest = scaled[np.arange(len(labels)), probabilities.argmax(axis=1)]
        assert surest == pytest.approx(scaled.max(axis=1))

    def test_where_nothing_lowers_the_loss_it_is_exactly_one(self):
        assert fit_temperature(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])) == 1.0

    def test_above_one_makes_the_model_less_sure(self):
        assert apply_temperature([[0.8, 0.2]], 2.0) == pytest.approx(np.array([[2 / 3, 1 / 3]]))

    def test_a_probability_that_underflowed_to_zero_is_a_very_small_one(self):
        with np.errstate(all="raise"):
            sure = apply_temperature(np.eye(2, dtype=np.float32), 2.0)
        assert 0 < sure[0, 1] < 1e-18

    @pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
    def test_a_temperature_that_is_none_is_refused(self, temperature):
        with pytest.raises(UserError, match="temperature must be positive and finite"):
            apply_temperature([[0.8, 0.2]], temperature)


class TestPairs:
    # Complete response before and after consolidation therapy (Cavo et al. 2012), the example in
    # Fagerland, Lydersen and Laake (2017), Statistical Analysis of Contingency Tables, chapter 8.
    cavo = table(both=59, only_a=6, only_b=16, neither=80)

    def test_mcnemars_exact_p_value_is_the_published_one(self):
        found = mcnemar(*self.cavo)
        assert found["p_value"] == pytest.approx(0.052479, abs=5e-7)
        assert [found[key] for key in ("both", "only_a", "only_b", "neither")] == [59, 6, 16, 80]
        json.dumps(found)

    def test_the_interval_of_bonett_and_price_is_the_published_one(self):
        found = difference_interval(*self.cavo)
        assert found == pytest.approx({"difference": -6.21, "low": -11.95, "high": -0.32}, abs=0.005)

    def test_models_that_never_differ_are_no_different(self):
        same = np.array([True, False, True])
        assert mcnemar(same, same)["p_value"] == 1.0
        assert difference_interval(same, same)["difference"] == 0.0

    @settings(max_examples=30)
    @given(pairs)
    def test_swapping_the_models_turns_the_sign_and_nothing_else(self, answers):
        a, b = answers
        here, there = difference_interval(a, b), difference_interval(b, a)
        assert (here["difference"], here["low"]) == pytest.approx((-there["difference"], -there["high"]))
        assert mcnemar(a, b)["p_value"] == pytest.approx(mcnemar(b, a)["p_value"])

    @settings(max_examples=30)
    @given(pairs)
    def test_the_interval_holds_the_difference_and_stays_in_range(self, answers):
        found = difference_interval(*answers)
        assert -100 <= found["low"] <= found["difference"] <= found["high"] <= 100
        assert 0 <= mcnemar(*answers)["p_value"] <= 1

    @pytest.mark.parametrize("compare", [mcnemar, difference_interval])
    def test_pairs_that_are_none_are_refused(self, compare):
        with pytest.raises(UserError, match="correct_a must be as many as correct_b, got 2 and 1"):
            compare(np.array([True, False]), np.array([True]))
        with pytest.raises(UserError, match="at least one image"):
            compare(np.array([], bool), np.array([], bool))


class TestSeeds:
    def test_three_runs_have_students_interval(self):
        found = summarise_seeds([0.90, 0.91, 0.92])
        reach = 4.302653 * 0.01 / np.sqrt(3)  # the 0.975 quantile of Student's t with two degrees of freedom
        expected = {"mean": 0.91, "std": 0.01, "low": 0.91 - reach, "high": 0.91 + reach, "n": 3}
        assert found == pytest.approx(expected, abs=1e-7)

    def test_one_run_has_no_spread(self):
        assert summarise_seeds([0.9]) == {"mean": 0.9, "std": None, "low": None, "high": None, "n": 1}

    def test_runs_that_agree_have_an_interval_of_no_width(self):
        assert summarise_seeds([0.5, 0.5]) == {"mean": 0.5, "std": 0.0, "low": 0.5, "high": 0.5, "n": 2}

    @pytest.mark.parametrize("values", [[], [0.5, np.nan]])
    def test_what_has_no_mean_is_refused(self, values):
        with pytest.raises(UserError, match="values must"):
            summarise_seeds(values)
