import numpy as np
import pytest

from transfer_utils.records import RunRecord
from transfer_utils.results.curves import MAX_POINTS, mean_history


def record(**curves):
    return RunRecord(curves=curves)


def test_stages_follow_each_other():
    one = record(
        stage2={"loss": [0.5], "seconds": [10.0]}, stage1={"loss": [1.0, 0.8], "accuracy": [0.4], "seconds": [1.0, 2.0]}
    )
    known = mean_history([one])
    assert known.epochs.tolist() == [1, 2, 3]
    assert known.starts == {"stage1": 1, "stage2": 3}
    assert known.values["loss"].tolist() == [1.0, 0.8, 0.5]
    np.testing.assert_equal(known.values["accuracy"], [0.4, np.nan, np.nan])
    assert known.seconds.tolist() == [1.0, 3.0, 13.0]
    assert known.has("loss") and not known.has("learning_rate")
    assert known.deviations == {}


def test_the_mean_is_over_the_runs_that_got_that_far():
    known = mean_history([record(stage1={"accuracy": [0.4, 0.6]}), record(stage1={"accuracy": [0.6]})])
    assert known.values["accuracy"].tolist() == [0.5, 0.6]
    np.testing.assert_allclose(known.deviations["accuracy"], [np.std([0.4, 0.6], ddof=1), np.nan])


def test_the_mean_clock_never_goes_back_where_a_run_had_fewer_epochs_of_a_stage():
    slow = record(stage1={"loss": [1.0], "seconds": [9.0]}, stage2={"loss": [0.5, 0.4], "seconds": [10.0, 10.0]})
    long = record(stage1={"loss": [1.0, 0.9], "seconds": [1.0, 1.0]}, stage2={"loss": [0.5], "seconds": [10.0]})
    assert mean_history([slow, long]).seconds.tolist() == [5.0, 5.5, 15.5, 20.5]


def test_gaps_and_flat_lists_of_old_logs():
    known = mean_history([record(accuracy=[0.1, None, 0.3])])
    assert known.starts == {"training": 1}
    np.testing.assert_equal(known.values["accuracy"], [0.1, np.nan, 0.3])


@pytest.mark.parametrize("curves", [{}, {"stage1": {}}, {"stage1": {"loss": []}}])
def test_no_curves(curves):
    known = mean_history([RunRecord(curves=curves)])
    assert len(known.epochs) == 0 and known.starts == {} and len(known.kept()) == 0


def test_long_curves_are_thinned_evenly_to_the_last_epoch():
    kept = mean_history([record(stage1={"loss": [1.0] * 9999})]).kept()
    assert len(kept) == MAX_POINTS
    assert kept[0] == 0 and kept[-1] == 9998
