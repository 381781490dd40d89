import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import difference_interval, mcnemar, summarise_seeds, wilson_interval

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200).map(lambda rows: np.array(rows).T)


def table(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two boolean arrays, correct or not, with the counts of a 2 × 2 table."""
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


class TestWilson:
    @pytest.mark.parametrize(
        ("correct", "n", "low", "high"),
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_it_reproduces_the_examples_of_newcombe_1998(self, correct, n, low, high):
        assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


DIFFERENT = "correct_a and correct_b must have the same length, got 2 and 1"
REFUSED = [
    (lambda: wilson_interval(0, 0), "must be .*, got 0"),
    (lambda: wilson_interval(-1, 5), "must be .*, got -1"),
    (lambda: wilson_interval(6, 5), "must be .*, got 6"),
    *((lambda test=test: test([True, False], [True]), DIFFERENT) for test in (mcnemar, difference_interval)),
    *((lambda test=test: test([], []), "at least one image") for test in (mcnemar, difference_interval)),
    (lambda: summarise_seeds([]), "values must"),
    (lambda: summarise_seeds([0.5, np.nan]), "values must"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
@pytest.mark.fault(17)
def test_wrong_arguments_are_rejected_with_name_and_value(call, message):
    with pytest.raises(UserError, match=message):
        call()


class TestPairs:
    # Complete response before and after consolidation therapy (Cavo et al. 2012), the example in
    # Fagerland, Lydersen and Laake (2017), Statistical Analysis of Contingency Tables, chapter 8.
    cavo = table(both=59, only_a=6, only_b=16, neither=80)

    def test_the_p_value_of_mcnemar_and_the_interval_of_bonett_and_price_are_as_published(self):
        result = mcnemar(*self.cavo)
        assert result["p_value"] == pytest.approx(0.052479, abs=5e-7)
        assert [result[key] for key in ("both", "only_a", "only_b", "neither")] == [59, 6, 16, 80]
        interval = difference_interval(*self.cavo)
        assert interval == pytest.approx((-6.21, -11.95, -0.32, 1), abs=0.005)
        assert mcnemar(self.cavo[0], self.cavo[0])["p_value"] == 1.0
        assert difference_interval(self.cavo[0], self.cavo[0]).mean == 0.0

    @settings(max_examples=30)
    @given(pairs)
    def test_the_interval_contains_the_difference_and_swapping_the_models_flips_its_sign_only(self, answers):
        a, b = answers
        here, there = difference_interval(a, b), difference_interval(b, a)
        assert -100 <= here.low <= here.mean <= here.high <= 100
        assert (here.mean, here.low) == pytest.approx((-there.mean, -there.high))
        assert mcnemar(a, b)["p_value"] == pytest.approx(mcnemar(b, a)["p_value"])


class TestSeeds:
    def test_three_runs_have_a_student_t_interval(self):
        summary = summarise_seeds([0.90, 0.91, 0.92])
        reach = 4.302653 * 0.01 / np.sqrt(3)  # the 0.975 quantile of Student's t with two degrees of freedom
        expected = {"mean": 0.91, "std": 0.01, "low": 0.91 - reach, "high": 0.91 + reach, "n": 3}
        assert summary == pytest.approx(expected, abs=1e-7)

    def test_one_run_has_no_interval_and_equal_runs_have_one_of_width_0(self):
        assert summarise_seeds([0.9]) == {"mean": 0.9, "std": None, "low": None, "high": None, "n": 1}
        assert summarise_seeds([0.5, 0.5]) == {"mean": 0.5, "std": 0.0, "low": 0.5, "high": 0.5, "n": 2}
