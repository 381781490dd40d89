import json
import os

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.faults import play, survived
from tests.samples import OLD_LOG
from tests.utils.test_text import JSON
from transfer_utils.records.folder import load_runs
from transfer_utils.records.record import LEFT_OUT, RunRecord, pack_bits, read_record, save_results_as_json, unpack_bits
from transfer_utils.records.salvage import MAX_NESTING, UnreadableRecord

KEYS = st.sampled_from([*RunRecord.model_fields, "model_config", "model_fields_set", "save", "__class__", "__dict__"])


def test_a_saved_record_reads_back_equal(small_record, tmp_path):
    path = save_results_as_json(small_record, tmp_path / "0001-offline" / "run.json")
    assert read_record(path) == small_record
    assert load_runs(tmp_path).runs[0].name == "0001-offline"


@pytest.mark.fault(16)
def test_results_in_a_dictionary_are_saved_with_null_for_numbers_that_are_not_finite(tmp_path):
    results = {
        "metrics": {"test_end2end": np.float32("nan"), "val_end2end": np.float64(0.5)},
        "curves": {"stage1": {"loss": np.array([1.0, np.inf])}},
        "confusion_matrix": np.array([[1, 2], [3, 4]]),
        "config": {"learning_rate": float("-inf"), "notes": ("a", "b")},
    }
    text = save_results_as_json(results, tmp_path / "run.json").read_text("utf-8")
    value = json.loads(text, parse_constant=pytest.fail)
    assert {name: value[name] for name in results} == {
        "metrics": {"test_end2end": None, "val_end2end": 0.5},
        "curves": {"stage1": {"loss": [1.0, None]}},
        "confusion_matrix": [[1, 2], [3, 4]],
        "config": {"learning_rate": None, "notes": ["a", "b"]},
    }


def test_results_of_the_wrong_type_are_rejected_and_not_written(tmp_path):
    with pytest.raises(UnreadableRecord, match="confusion_matrix"):
        save_results_as_json({"confusion_matrix": "big"}, tmp_path / "run.json")
    assert not os.listdir(tmp_path)


def test_a_record_can_contain_a_file_name_that_is_not_utf8(tmp_path):
    record = RunRecord(notes=[os.fsdecode(b"skipped caf\xe9.jpg")], config={os.fsdecode(b"\xff"): 1})
    record.save(tmp_path / "run.json")
    assert read_record(tmp_path / "run.json").notes == ["skipped caf?.jpg"]


@pytest.mark.fault(23)
def test_a_log_of_the_original_script_can_be_read(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(OLD_LOG))
    record = read_record(tmp_path / "old.json")
    assert record.status == "completed"
    assert {name: value for name, value in record.model_dump().items() if name in OLD_LOG} == OLD_LOG
    flat = {"curves": {"accuracy": [0.5, 0.6]}, "metrics": {"best": "stage 2", "test_end2end": 0.9}, "comment": "mine"}
    (tmp_path / "old.json").write_text(json.dumps(flat))
    record = read_record(tmp_path / "old.json")
    assert record.curves == {"training": {"accuracy": [0.5, 0.6]}}
    assert (record.metrics, record.comment) == ({"best": None, "test_end2end": 0.9}, "mine")


@pytest.mark.fault(36)
def test_a_record_that_is_damaged_in_part_keeps_the_rest_and_notes_what_it_lost(small_record, tmp_path):
    small_record.notes = ["2 images were skipped"]
    value = small_record.model_dump()
    value["curves"]["stage1"]["loss"] = None
    (tmp_path / "run.json").write_text(json.dumps(value), "utf-16")
    record = read_record(tmp_path / "run.json")
    assert "loss" not in record.curves["stage1"] and record.metrics == small_record.metrics
    assert record.notes[0] == "2 images were skipped" and record.notes[1].startswith(f"{LEFT_OUT}curves.stage1.loss: ")
    assert record.left_out == [record.notes[1].removeprefix(LEFT_OUT)]


@pytest.mark.fault(23)
def test_a_record_may_be_nested_up_to_the_limit(tmp_path):
    for brackets in (MAX_NESTING - 2, MAX_NESTING - 1):
        (tmp_path / f"{brackets}.json").write_text('{"config": {"a": ' + "[" * brackets + "1" + "]" * brackets + "}}")
    read_record(tmp_path / f"{MAX_NESTING - 2}.json").save(tmp_path / "again.json")
    with pytest.raises(UnreadableRecord, match="nested more than"):
        read_record(tmp_path / f"{MAX_NESTING - 1}.json")


@st.composite
def corrupted(draw) -> bytes:
    content = bytearray(json.dumps(OLD_LOG | {"curves": {"stage1": {"loss": [0.5, 0.25]}}}).encode())
    start = draw(st.integers(0, len(content) - 1))
    content[start : start + draw(st.integers(0, 5))] = draw(st.binary(max_size=5))
    return bytes(content)


@given(st.binary(max_size=200) | corrupted() | st.dictionaries(KEYS, JSON, max_size=4).map(json.dumps).map(str.encode))
@example(b'{"curves": {"loss": [1], "stage1": 3}}')
@example(b'{"curves": {"stage1": {"loss": [NaN, "x"]}}, "notes": [1], "source": {"commit": {}}}')
@example(b'{"curves": {"stage1": {"loss": [true, "0.5", null]}}}')
@pytest.mark.fault(23)
def test_any_bytes_are_unreadable_or_a_record_that_can_be_saved_again(content):
    with open("fuzzed.json", "wb") as file:
        file.write(content)
    try:
        record = read_record("fuzzed.json")
    except UnreadableRecord as error:
        str(error).encode("utf-8")
    else:
        record.save("again.json")
        again = read_record("again.json")
        assert again.model_dump(exclude={"updated"}) == record.model_dump(exclude={"updated"})


@pytest.mark.fault(1)
def test_a_killed_writer_leaves_the_old_record_or_the_new_one(tmp_path, tally):
    counts = play(tmp_path, "kill:record:300", "kill:naive:20")
    assert survived(counts, tally), counts
    assert counts["kill:record"]["replaced"] > 0
    assert counts["kill:naive"]["broken"] > 0, "the negative control must break a record"


@pytest.mark.fault(5)
def test_a_full_disk_raises_and_leaves_the_old_record(tmp_path, tally):
    counts = play(tmp_path, "fill:record:20", "fill:naive:20")
    assert survived(counts, tally), counts
    assert counts["fill:naive"]["lost"] > 0, "the negative control must lose a record"


@given(st.lists(st.booleans(), max_size=70))
def test_unpack_bits_inverts_pack_bits(bits):
    assert unpack_bits(pack_bits(np.array(bits, bool)), len(bits)).tolist() == bits


@pytest.mark.parametrize(("text", "reason"), [("!", "base64"), ("AA==", "at least 9 bits, got 8"), ("ü", "base64")])
def test_invalid_or_missing_bits_are_rejected(text, reason):
    with pytest.raises(UnreadableRecord, match=reason):
        unpack_bits(text, 9)
