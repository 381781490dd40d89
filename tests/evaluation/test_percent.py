"""The format of fractions and differences with their intervals."""

from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.evaluation.percent import percent, points, with_deviation, with_interval


def test_fractions_are_percentages():
    assert percent(0.8437) == "84.4 %"
    assert percent(92.28) == "92.28"  # an old log that counts in hundreds is not made 9228 %
    assert percent(Estimate(0.842, 0.835, 0.849, 3)) == "84.2 % (83.5–84.9)"
    assert with_interval(0.8437, 0.837, 0.8514) == "84.4 % (83.7–85.1)"
    assert with_interval(0.8437, None, 0.8514) == "84.4 %"
    assert with_deviation(0.8437, 0.0031) == "84.4 % ± 0.3"


def test_differences_are_points_with_their_sign():
    assert points(Estimate(1.1, 0.2, 2.0, 3)) == "+1.1 points (+0.2 to +2.0)"
    assert [points(-3.5), points(-0.04)] == ["−3.5 points", "0.0 points"]
