import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.faults import play, survived
from tests.samples import OLD_LOG
from tests.utils.test_text import JSON
from tests.waiting import wait_for
from transfer_utils import records
from transfer_utils.records import (
    LEFT_OUT,
    MAX_RECORD_BYTES,
    RunRecord,
    UnreadableRecord,
    load_runs,
    pack_bits,
    read_record,
    save_results_as_json,
    unpack_bits,
)
from transfer_utils.salvage import MAX_NESTING

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


WRITE_AND_DELETE = """
import pathlib, shutil, sys
from transfer_utils.records import RunRecord
folder = pathlib.Path(sys.argv[1])
while True:
    RunRecord().save(folder / "run.json")
    shutil.rmtree(folder)
"""

HOSTILE = {
    "empty": (b"", "empty"),
    "blank": (b" \n", "empty"),
    "truncated": (json.dumps(OLD_LOG).encode()[:-9], "not JSON"),
    "Latin-1": ('{"command": "caf\xe9"}'.encode("latin-1"), "not JSON: 'utf-8' codec can't decode"),
    "a list": (b"[]", "JSON object, got list"),
    "5,000 digits": (b'{"config": {"seed": 1' + b"0" * 5000 + b"}}", "not JSON"),
    "100 brackets": (b'{"config": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}", "nested more than 32 levels deep"),
    "100,000 brackets": (b"[" * 100_000 + b"]" * 100_000, "not JSON: recursion limit"),
    "lone surrogate": (b'{"config": {"a": "\\ud800"}}', "not JSON: unexpected end of hex escape"),
    "lone surrogate in a key": (b'{"\\udcff": 1}', "not JSON: lone leading surrogate"),
    "unknown status": (b'{"status": "<script>"}', "status"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.fault(23)
def test_a_damaged_file_is_listed_with_the_reason_and_other_runs_are_still_loaded(name, small_record, tmp_path):
    content, reason = HOSTILE[name]
    (tmp_path / "bad.json").write_bytes(content)
    small_record.save(tmp_path / "good" / "run.json")
    listing = load_runs(tmp_path)
    assert [run.name for run in listing.runs] == ["good"]
    assert list(listing.unreadable) == [tmp_path / "bad.json"]
    assert reason in listing.unreadable[tmp_path / "bad.json"]


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


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES + 1, 1 << 30])
@pytest.mark.fault(23)
def test_a_file_above_the_size_limit_is_not_read(size, tmp_path):
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(size)
    assert f"{size} bytes" in load_runs(tmp_path).unreadable[tmp_path / "huge.json"]


@pytest.mark.timeout(20)
@pytest.mark.fault(25)
def test_a_pipe_is_listed_as_unreadable_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    assert load_runs(tmp_path).unreadable == {tmp_path / "pipe.json": "not a regular file"}


@pytest.mark.fault(25)
def test_links_that_lead_out_are_unreadable_and_links_to_folders_are_not_followed(small_record, tmp_path):
    runs = tmp_path / "runs"
    small_record.save(runs / "good" / "run.json")
    small_record.save(tmp_path / "outside" / "run.json")
    (runs / "up").mkdir()
    (runs / "up" / "run.json").symlink_to("../../outside/run.json")
    (runs / "away").symlink_to(tmp_path / "outside")
    (runs / "circle").symlink_to(runs)
    (runs / "itself.json").symlink_to("itself.json")
    (runs / "nowhere.json").symlink_to("missing.json")
    listing = load_runs(runs)
    assert [run.name for run in listing.runs] == ["good"]
    assert set(listing.unreadable) == {runs / "up" / "run.json", runs / "itself.json"}
    assert "leads out" in listing.unreadable[runs / "up" / "run.json"]
    assert "in a circle" in listing.unreadable[runs / "itself.json"]


def test_the_runs_folder_may_be_a_link_or_missing_but_not_a_file(small_record, tmp_path):
    small_record.save(tmp_path / "real" / "a" / "run.json")
    (tmp_path / "runs").symlink_to("real")
    assert [run.name for run in load_runs(tmp_path / "runs").runs] == ["a"]
    assert not load_runs(tmp_path / "missing").runs
    (tmp_path / "file").touch()
    assert load_runs(tmp_path / "file").unreadable == {tmp_path / "file": "Not a directory"}


def test_records_are_found_up_to_three_folders_down_and_hidden_folders_are_skipped(small_record, tmp_path):
    for place in ("a", "a/b", "a/b/c", "a/b/c/d", ".trash", "a/.b"):
        small_record.save(tmp_path / place / "run.json")
    (tmp_path / "a" / "other.json").write_text("{}")
    assert [str(run.folder.relative_to(tmp_path)) for run in load_runs(tmp_path).runs] == ["a/b/c", "a/b", "a"]


def test_a_log_that_copies_the_record_of_a_run_is_listed_once(small_record, tmp_path):
    small_record.save(tmp_path / "0001" / "run.json")
    small_record.save(tmp_path / "log.json")
    RunRecord(run_id="other").save(tmp_path / "other.json")
    RunRecord().save(tmp_path / "0002" / "run.json")
    RunRecord().save(tmp_path / "nameless.json")
    assert [run.name for run in load_runs(tmp_path).runs] == ["0001", "0002", "nameless", "other"]


@pytest.mark.fault(24)
def test_markup_and_control_characters_in_names_are_kept_as_text(tmp_path):
    name = "<script>alert(1)<|script> **bold** \x1b[31m"
    RunRecord(run_id=name, dataset={"class_names": [name]}).save(tmp_path / name / "run.json")
    RunRecord(run_id="b").save(tmp_path / os.fsdecode(b"caf\xe9") / "run.json")
    runs = {run.name: run for run in load_runs(tmp_path).runs}
    assert set(runs) == {name, "caf?"}
    assert runs[name].record.dataset == {"class_names": [name]}


@pytest.mark.fault(26)
def test_a_half_written_record_is_read_again_and_one_that_vanishes_is_skipped(small_record, tmp_path, monkeypatch):
    small_record.save(tmp_path / "log.json")
    whole = (tmp_path / "log.json").read_bytes()
    (tmp_path / "log.json").write_bytes(whole[:100])
    monkeypatch.setattr(records.time, "sleep", lambda seconds: (tmp_path / "log.json").write_bytes(whole))
    assert load_runs(tmp_path).runs[0].record == small_record
    (tmp_path / "log.json").write_bytes(b"{")
    monkeypatch.setattr(records.time, "sleep", lambda seconds: (tmp_path / "log.json").unlink())
    listing = load_runs(tmp_path)
    assert (listing.runs, listing.unreadable) == ([], {})


@pytest.mark.fault(26)
def test_runs_load_while_another_process_writes_and_deletes_records(small_record, tmp_path):
    small_record.save(tmp_path / "good" / "run.json")
    counts = set()

    def both_states_were_read() -> bool:  # with the second record and without it
        for _ in range(50):
            listing = load_runs(tmp_path)
            names = [run.name for run in listing.runs]
            assert names in (["good"], ["brief", "good"]) and not listing.unreadable
            counts.add(len(names))
        return len(counts) == 2

    writer = subprocess.Popen([sys.executable, "-c", WRITE_AND_DELETE, str(tmp_path / "brief")])
    try:
        wait_for(both_states_were_read, writer)
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.fault(27)
def test_runs_are_sorted_by_name_when_the_clock_runs_backwards(small_record, tmp_path, monkeypatch):
    years = iter((2027, 2026, 2025))
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((next(years), 3, 1, 12, 0, 0, 0, 60, 0)))
    stamps = []
    for number in range(3):
        small_record.save(tmp_path / f"{number:04d}-offline" / "run.json")
        stamps.append(small_record.updated)
    assert stamps == sorted(stamps, reverse=True)
    assert [run.name for run in load_runs(tmp_path).runs] == ["0000-offline", "0001-offline", "0002-offline"]


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


def test_a_model_of_any_name_has_the_threshold_of_its_run_and_an_export_its_own():
    files = {"model": "model.keras", "int8": "model-int8.tflite", "float32": "model-float32.tflite"}
    record = RunRecord(files=files, not_sure={"threshold": 0.4, "threshold_int8": 0.3})
    names = ["model.keras", "best.keras", "model-int8.tflite", "model-float32.tflite"]
    assert [record.threshold_of(name) for name in names] == [0.4, 0.4, 0.3, 0.0]
