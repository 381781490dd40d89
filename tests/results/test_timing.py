import pytest

from transfer_utils.records import RunRecord
from transfer_utils.results.timing import time_spent

TIMING = {"total": 400.0, "data": 28.0, "features": 35.0, "stage1": 23.0, "boundary": 108.0, "stage2": 190.0}


def test_time_is_averaged_by_phase_and_the_rest_of_the_total_is_other():
    spent = time_spent([RunRecord(timing_sec=TIMING), RunRecord(timing_sec={**TIMING, "data": 0.0}), RunRecord()])
    assert list(spent) == ["data", "features", "stage1", "boundary", "stage2", "other"]
    assert spent["data"] == 14 and spent["other"] == pytest.approx((16 + 44) / 2)
    assert time_spent([RunRecord()]) == time_spent([RunRecord(timing_sec={"total": None})]) == {}
