"""The format of numbers and tables in the terminal, the README and the article."""

import pytest

from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.evaluation.percent import percent, points, with_deviation, with_interval
from transfer_utils.results.formatting import duration, markdown_table, p_value
from transfer_utils.utils.text import enumerated


def test_fractions_and_durations():
    assert percent(0.8437) == "84.4 %"
    assert percent(92.28) == "92.28"  # an old log that counts in hundreds is not made 9228 %
    assert with_interval(0.8437, 0.837, 0.8514) == "84.4 % (83.7–85.1)"
    assert with_interval(0.8437, None, 0.8514) == "84.4 %"
    assert with_deviation(0.8437, 0.0031) == "84.4 % ± 0.3"
    assert [duration(s) for s in (8.26, 45, 185, 3599.4, 3599.5, 3659, 7622, None, -1)] == [
        "8.3 s", "45 s", "3 min 05 s", "59 min 59 s", "1 h 00 min", "1 h 01 min", "2 h 07 min", "–", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(Estimate(0.842, 0.835, 0.849, 3)), "84.2 % (83.5–84.9)"),
        (points(Estimate(1.1, 0.2, 2.0, 3)), "+1.1 points (+0.2 to +2.0)"),
        (points(-3.5), "−3.5 points"),
        (points(-0.04), "0.0 points"),
        (p_value(0.03126), "= 0.031"),
        (p_value(1e-5), "< 0.0001"),
        (enumerated(["a"]), "a"),
        (enumerated(["a", "b", "c"], "or"), "a, b or c"),
    ],
)
def test_estimates_differences_and_lists(text, expected):
    assert text == expected


def test_a_markdown_table_has_a_rule_below_its_header():
    assert markdown_table(["a", "b"], [["1", ""]]) == "| a | b |\n|---|---|\n| 1 |  |"
