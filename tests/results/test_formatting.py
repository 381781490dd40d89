"""How numbers are written: one way for the terminal, the tables and the article."""

import pytest

from transfer_utils.evaluation import Estimate
from transfer_utils.results.formatting import (
    apart,
    change,
    duration,
    listing,
    percent,
    points,
    with_deviation,
    with_interval,
)


def test_numbers_in_words():
    assert percent(0.8437) == "84.4 %"
    assert percent(92.28) == "92.28"  # an old log that counts in hundreds is not made 9228 %
    assert with_interval(0.8437, 0.837, 0.8514) == "84.4 % (83.7–85.1)"
    assert with_interval(0.8437, None, 0.8514) == "84.4 %"
    assert with_deviation(0.8437, 0.0031) == "84.4 % ± 0.3"
    assert [duration(s) for s in (8.26, 45, 185, 7622, None, -1)] == [
        "8.3 s", "45 s", "3 min 05 s", "2 h 07 min", "–", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (percent(Estimate(0.842, 0.835, 0.849, 3)), "84.2 % (83.5–84.9)"),
        (percent(0.842), "84.2 %"),
        (points(Estimate(1.1, 0.2, 2.0, 3)), "+1.1 points (+0.2 to +2.0)"),
        (points(-3.5), "−3.5 points"),
        (points(-0.04), "0.0 points"),
        (apart(Estimate(-2.4, 1.9, 2.9, 3)), "2.4 points (1.9 to 2.9)"),
        (apart(Estimate(1.1, -0.1, 2.3, 1)), "1.1 points (−0.1 to 2.3)"),
        (listing(["a"]), "a"),
        (listing(["a", "b", "c"], "or"), "a, b or c"),
    ],
)
def test_numbers_and_lists_are_written_in_one_way(found, told):
    assert found == told


def test_only_an_interval_that_leaves_out_zero_is_a_change():
    words, intervals = ("gains", "loses", "neither"), [(0.1, 1), (-1, -0.1), (-1, 1), (0, 1), (-1, 0)]
    found = [change(Estimate(0, low, high, 3), *words) for low, high in intervals]
    assert found == ["gains", "loses", "neither", "neither", "neither"]
