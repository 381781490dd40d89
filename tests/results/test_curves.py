"""Tests of what a run reached by when."""

import pytest

from transfer_utils.records import RunRecord
from transfer_utils.results.curves import first_reaching, timeline


def record(**changes):
    """Return a record of two stages of two epochs, with work before each."""
    stages = {
        "stage1": {"val_accuracy": [0.5, 0.6], "seconds": [1.0, 2.0]},
        "stage2": {"val_accuracy": [0.65, 0.7], "seconds": [4.0, 4.0]},
    }
    timing = {"features": 10.0, "stage1": 5.0, "boundary": 20.0, "stage2": 8.5, "evaluation": 99.0}
    return RunRecord(**{"curves": stages, "timing_sec": timing, **changes})


def test_the_seconds_hold_what_came_before_each_stage():
    moments = timeline(record())
    assert [moment.epoch for moment in moments] == [1, 2, 3, 4]
    # 10 of features and 2 beside the epochs of stage 1, then its epochs; 20 of boundary, then those of stage 2.
    assert [moment.seconds for moment in moments] == pytest.approx([13.0, 15.0, 39.0, 43.0])
    assert [moment.val_accuracy for moment in moments] == [0.5, 0.6, 0.65, 0.7]


def test_a_stage_that_sums_to_more_than_its_clock_takes_no_time_off():
    moments = timeline(record(timing_sec={"stage1": 1.0}))
    assert [moment.seconds for moment in moments] == pytest.approx([1.0, 3.0, 7.0, 11.0])


def test_an_old_log_without_seconds_has_no_times():
    assert timeline(record(curves={"training": {"val_accuracy": [0.1, 0.2]}})) == []


@pytest.mark.parametrize(("goal", "epoch"), [(0.1, 1), (0.6, 2), (0.61, 3), (0.7, 4)])
def test_the_first_epoch_that_reaches_a_goal(goal, epoch):
    assert first_reaching(record(), goal).epoch == epoch


def test_a_goal_out_of_reach():
    assert first_reaching(record(), 0.71) is None
