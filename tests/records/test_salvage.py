"""What is intact of a damaged record is read; what is not is named."""

import json

import pytest

from transfer_utils.records.record import RunRecord
from transfer_utils.records.salvage import salvage

NAN, INFINITY = float("nan"), float("inf")
INTACT = {
    "run_id": "0001",
    "command": "train",
    "config": {"seed": 1},
    "curves": {"stage1": {"loss": [0.5], "accuracy": [0.7], "val_accuracy": [0.6]}, "stage2": {"loss": [0.4]}},
    "metrics": {"val_end2end": 0.8, "val_tta": 0.8, "val_low": 0.7, "val_high": 0.9, "val_loss": 3.0},
    "timing_sec": {"total": 7.0},
    "versions": {"keras": "3"},
    "confusion_matrix": [[1, 2], [3, 4]],
    "files": {"model": "model.keras"},
    "notes": ["slow"],
}
# The path of the damaged part, what stands there, what remains of it, and what is said about it.
DAMAGED = [
    (("curves",), None, {}, "curves: Input should be a valid dictionary"),
    (("curves", "stage1"), None, None, "curves.stage1: "),
    (("curves", "stage1", "loss"), None, None, "curves.stage1.loss: "),
    (("curves", "stage1", "loss"), [0.5, "x"], None, "curves.stage1.loss: "),
    (("curves", "stage1", "loss"), [0.5, NAN, INFINITY], [0.5, None, None], "2 numbers in curves.stage1.loss,"),
    (("curves", "stage1", "val_accuracy"), [0.5, 60.0], [0.5, None], "a number in curves.stage1.val_accuracy, "),
    (("curves", "stage1", "accuracy"), [60.0, 70.0], [None, None], "2 numbers in curves.stage1.accuracy, "),
    (("metrics", "val_end2end"), NAN, None, "a number in metrics.val_end2end, not finite"),
    (("metrics", "val_end2end"), 92.28, None, "a number in metrics.val_end2end, not a fraction"),
    (("metrics", "val_tta"), 92.28, None, "a number in metrics.val_tta, not a fraction"),
    (("metrics", "val_low"), -0.1, None, "a number in metrics.val_low, not a fraction"),
    (("metrics", "val_high"), 1.1, None, "a number in metrics.val_high, not a fraction"),
    (("metrics", "val_end2end"), -1e308, None, "a number in metrics.val_end2end, not finite or beyond 1e+30"),
    (("metrics", "val_loss"), 10**400, None, "a number in metrics.val_loss, not finite or beyond 1e+30"),
    (("metrics",), "good", {}, "metrics: "),
    (("config",), [1], {}, "config: "),
    (("config", "seed"), INFINITY, None, "a number in config.seed"),
    (("versions", "keras"), 3, None, "versions.keras: "),
    (("confusion_matrix",), [[1, 2], [3]], [], "confusion_matrix: Value error, rows must be of equal length"),
    (("confusion_matrix",), [[-1]], [], "confusion_matrix: Input should be greater"),
    (("confusion_matrix",), [[1, 10**25]], [], "confusion_matrix: Input should be less"),
    (("files", "model"), 1, None, "files.model: "),
    (("notes",), [1], [], "notes: "),
    (("run_id",), 7, "", "run_id: "),
]


def changed(path, value):
    record = json.loads(json.dumps(INTACT))
    container = record
    for key in path[:-1]:
        container = container[key]
    container[path[-1]] = value
    return record


def read(value, encoding="utf-8"):
    record, lost = salvage(json.dumps(value).encode(encoding), RunRecord.model_validate)
    return record.model_dump(), lost


@pytest.mark.fault(36)
@pytest.mark.parametrize(("path", "value", "rest", "phrase"), DAMAGED)
def test_only_the_damaged_part_is_left_out(path, value, rest, phrase):
    found, [lost] = read(changed(path, value))
    assert lost.startswith(phrase)
    expected = read(INTACT)[0]
    *parents, last = path
    for key in parents:
        found_part, expected = found.get(key, {}), expected[key]
        found = found_part
    assert found.get(last) == rest
    found.pop(last, None)
    expected.pop(last)
    assert found == expected


@pytest.mark.fault(36)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_byte_order_mark_and_other_encodings_lose_nothing(encoding):
    assert read(INTACT, encoding) == (RunRecord(**INTACT).model_dump(), [])


def test_several_damaged_parts_are_all_named():
    record, lost = read({"versions": {"a": 1, "b": 2}, "curves": {"x": None, "loss": [1.0], "accuracy": ["?"]}})
    assert record["versions"] == {} and record["curves"] == {"training": {"loss": [1.0]}}
    parts = {"versions.a", "versions.b", "curves.x", "curves.training.accuracy"}
    assert {phrase.split(":")[0] for phrase in lost} == parts


@pytest.mark.fault(36)
def test_a_million_bad_values_give_one_reason():
    assert len(read({"curves": {"s": {"loss": ["x"] * 1_000_000}}, "notes": [1] * 1_000_000})[1]) == 2
