import numpy as np
import pytest

from transfer_utils.records import RunRecord
from transfer_utils.results.timing import seconds_before_stages, time_spent

TIMING = {"total": 400.0, "data": 28.0, "features": 35.0, "stage1": 23.0, "boundary": 108.0, "stage2": 190.0}


def test_what_stands_before_a_stage_counts_before_its_first_epoch():
    durations = {"stage1": np.full(3, 2.5), "stage2": np.full(7, 27.0)}
    waits = seconds_before_stages(RunRecord(timing_sec=TIMING), durations)
    assert waits == pytest.approx({"stage1": 28 + 35 + 23 - 7.5, "stage2": 108 + 190 - 189})
    without_epochs = seconds_before_stages(RunRecord(timing_sec=TIMING), {"stage1": np.empty(0), "stage2": np.ones(2)})
    assert without_epochs == pytest.approx({"stage2": 28 + 35 + 23 + 108 + 188})
    unknown = seconds_before_stages(RunRecord(timing_sec=TIMING), {"stage1": np.array([1.0, np.nan])})
    assert unknown == pytest.approx({"stage1": 28 + 35})


def test_time_is_averaged_by_phase_and_the_rest_of_the_total_is_other():
    spent = time_spent([RunRecord(timing_sec=TIMING), RunRecord(timing_sec={**TIMING, "data": 0.0}), RunRecord()])
    assert list(spent) == ["data", "features", "stage1", "boundary", "stage2", "other"]
    assert spent["data"] == 14 and spent["other"] == pytest.approx((16 + 44) / 2)
    assert time_spent([RunRecord()]) == time_spent([RunRecord(timing_sec={"total": None})]) == {}
