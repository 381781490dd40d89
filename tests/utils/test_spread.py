import numpy as np
import pytest

from transfer_utils.utils.spread import spread_evenly


@pytest.mark.parametrize(("n", "limit"), [(0, 5), (1, 5), (5, 5), (7, 9), (2_000, 3_000)])
def test_up_to_the_limit_all_are_taken(n, limit):
    assert spread_evenly(n, limit).tolist() == list(range(n))


def test_of_more_some_are_taken_at_equal_steps_from_the_first_to_the_last():
    places = spread_evenly(12_345, 100)
    assert len(places) == 100 and (places[0], places[-1]) == (0, 12_344)
    assert set(np.diff(places)) == {124, 125}
