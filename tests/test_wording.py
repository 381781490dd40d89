"""How numbers are written: one way for the terminal, the tables and the article."""

import pytest

from transfer_utils.evidence import Estimate
from transfer_utils.wording import apart, change, duration, listing, percent, points


def test_durations_are_told_as_people_say_them():
    told = [duration(seconds) for seconds in (0.4, 99, 100, 5399, 5400)]
    assert told == ["0 s", "99 s", "2 minutes", "90 minutes", "1.5 hours"]


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
