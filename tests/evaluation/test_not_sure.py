"""The threshold of the answer "not sure", and the area under the ROC curve with its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.evaluation.not_sure import auroc, describe_not_sure, not_sure_threshold, sentence

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


@given(SCORES, st.floats(0.001, 0.999))
def test_at_most_the_stated_share_is_below_the_threshold_and_no_higher_threshold_would_do(scores, rate):
    values = np.array(scores, "float32")
    threshold = not_sure_threshold(values, rate)
    assert (values < threshold).mean() <= rate
    higher = values[values > threshold]
    assert not len(higher) or (values < higher.min()).mean() > rate - 1e-9


@pytest.mark.parametrize(
    ("n", "rate", "below"), [(100, 0.29, 29), (20, 0.05, 1), (19, 0.05, 0), (47, 0.05, 2), (9, 1 - 1e-13, 8)]
)
def test_the_share_is_met_exactly_where_scores_differ(n, rate, below):
    scores = np.random.default_rng(0).permutation(np.linspace(0.1, 0.9, n))
    assert (scores < not_sure_threshold(scores, rate)).sum() == below


def test_a_rate_of_0_always_answers_and_other_rates_and_no_scores_are_refused():
    assert not_sure_threshold(np.array([0.4, 0.9]), 0.0) == 0.0
    for rate in (-0.1, 1.0):
        with pytest.raises(UserError, match="rate must be at least 0 and less than 1"):
            not_sure_threshold(np.array([0.5]), rate)
    with pytest.raises(UserError, match="at least one number"):
        not_sure_threshold(np.array([]), 0.1)


def test_the_record_says_what_the_threshold_of_validation_does_on_test():
    def rows(*largest):
        return np.array([[p, 1 - p] for p in largest], "float32")

    probabilities = {"val": rows(0.6, 0.7, 0.8, 0.9), "test": rows(0.55, 0.65, 0.75, 0.95, 0.7)}
    found = describe_not_sure(probabilities, np.array([0, 0, 1, 0, 0]), 0.25)
    low, high = wilson_interval(2, 3)
    assert found == {
        "score": "largest probability",
        "rate": 0.25,
        "threshold": pytest.approx(0.7),
        "val_share": 0.25,
        "test_share": 0.4,
        "test_accuracy": 2 / 3,
        "test_low": low,
        "test_high": high,
    }
    expected = "Not sure of 40.0 % of the test images, whose largest probability is below 0.70; "
    assert sentence(found) == expected + "66.7 % of the others are right."
    none = describe_not_sure({"val": rows(0.9), "test": rows(0.6)}, np.array([0]), 0.5)
    assert (none["test_share"], none["test_accuracy"]) == (1.0, None)
    assert sentence(none).endswith("below 0.90.")


def test_the_area_is_scikit_learns_and_its_variance_that_of_the_pairs():
    rng = np.random.default_rng(0)
    known, foreign = rng.integers(2, 9, 40), rng.integers(0, 7, 30)  # with many ties
    found = auroc(known, foreign)
    assert found.mean == pytest.approx(roc_auc_score([1] * 40 + [0] * 30, [*known, *foreign]))
    # DeLong, DeLong and Clarke-Pearson, equations 3 to 5, pair by pair.
    wins = (known[:, None] > foreign).astype(float) + 0.5 * (known[:, None] == foreign)
    variance = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 30
    assert found.high - found.mean == pytest.approx(1.959964 * variance**0.5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_scores_that_separate_give_1_and_too_few_or_infinite_ones_are_refused():
    assert auroc([0.8, 0.9], [0.1, 0.2])[:3] == (1, 1, 1)
    assert auroc([0.1, 0.2], [0.8, 0.9])[:3] == (0, 0, 0)
    for known, foreign, message in (([1.0], [0, 1], "at least two scores each"), ([1, np.nan], [0, 1], "finite")):
        with pytest.raises(UserError, match=message):
            auroc(known, foreign)
