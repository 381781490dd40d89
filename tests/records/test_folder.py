import json
import os
import subprocess
import sys
import time

import pytest

from tests.memory import memory_below
from tests.samples import OLD_LOG
from tests.waiting import wait_for
from transfer_utils.records import folder
from transfer_utils.records.folder import load_runs
from transfer_utils.records.record import MAX_RECORD_BYTES, RunRecord

WRITE_AND_DELETE = """
import pathlib, shutil, sys
from transfer_utils.records.record import RunRecord
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
    os.utime(tmp_path / "bad.json", (0, 0))  # a recent file would be read again, as it may be incomplete
    small_record.save(tmp_path / "good" / "run.json")
    listing = load_runs(tmp_path)
    assert [run.name for run in listing.runs] == ["good"]
    assert list(listing.unreadable) == [tmp_path / "bad.json"]
    assert reason in listing.unreadable[tmp_path / "bad.json"]


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES + 1, 1 << 30])
@pytest.mark.fault(23)
def test_a_file_above_the_size_limit_is_not_read(size, tmp_path):
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(size)
    with memory_below(1e6):
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
    assert "symbolic links" in listing.unreadable[runs / "itself.json"]


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
    RunRecord(run_id=small_record.run_id, created="of another folder").save(tmp_path / "same.json")
    RunRecord().save(tmp_path / "0002" / "run.json")
    RunRecord().save(tmp_path / "nameless.json")
    assert [run.name for run in load_runs(tmp_path).runs] == ["0001", "0002", "nameless", "other", "same"]


def test_a_copy_that_is_called_run_json_is_not_taken_for_the_run_itself(small_record, tmp_path):
    """As with --json_output_path runs/run.json; a second process would resume in it what the first one computes."""
    small_record.save(tmp_path / "0001" / "run.json")
    small_record.save(tmp_path / "run.json")
    assert [run.name for run in load_runs(tmp_path).runs] == ["0001"]
    small_record.save(tmp_path / "0001" / "log.json")
    assert [run.name for run in load_runs(tmp_path / "0001").runs] == ["0001"]


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
    monkeypatch.setattr(folder.time, "sleep", lambda seconds: (tmp_path / "log.json").write_bytes(whole))
    assert load_runs(tmp_path).runs[0].record == small_record
    (tmp_path / "log.json").write_bytes(b"{")
    monkeypatch.setattr(folder.time, "sleep", lambda seconds: (tmp_path / "log.json").unlink())
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
