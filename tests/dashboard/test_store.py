import json
import os
from pathlib import Path

import pytest

from tests.samples import write_run
from transfer_utils.dashboard import store
from transfer_utils.records.record import read_record
from transfer_utils.utils.files import is_locked, lock


def test_only_changed_records_are_read_again_and_results_of_finished_runs_are_kept(tmp_path, monkeypatch):
    write_run(tmp_path / "done", {}, "completed", 0)
    path = write_run(tmp_path / "moving", {}, "running", 1)
    read = []
    monkeypatch.setattr(store, "read_stable", lambda path: read.append(path.parent.name) or read_record(path))
    with lock(path):
        first = store.read(tmp_path)
        assert store.read(tmp_path) is first
        assert sorted(read) == ["done", "moving"]
        assert first.cached("answer", lambda: 1) == 1
        record = read_record(path)
        record.curves["stage2"]["val_accuracy"].append(0.9)
        record.save(path)
        second = store.read(tmp_path)
        assert sorted(read) == ["done", "moving", "moving"]
        assert second.named(["done"])[0] is first.named(["done"])[0]
        assert second.named(["moving"])[0].record.curves["stage2"]["val_accuracy"][-1] == 0.9
        assert second.cached("answer", lambda: 2) == 1
    record.status = "completed"
    record.save(path)
    assert store.read(tmp_path).cached("answer", lambda: 2) == 2
    (tmp_path / "done" / "run.json").write_text("{")
    assert list(store.read(tmp_path).unreadable) == [tmp_path / "done" / "run.json"]
    n = len(read)
    write_run(tmp_path / "new", {}, "completed", 2)
    assert len(store.read(tmp_path).rows) == 2
    assert read[n:] == ["new"], "a record that could not be read is not read again either"


@pytest.mark.fault(35)
def test_a_run_whose_lock_is_free_has_stopped_until_its_record_changes(tmp_path, monkeypatch):
    path = write_run(tmp_path / "run", {}, "running", 0)
    write_run(tmp_path / "other", {}, "completed", 0)
    (tmp_path / "log.json").write_text(json.dumps({"status": "running"}))  # a log has no lock beside it
    tested = []
    monkeypatch.setattr(store, "is_locked", lambda path: tested.append(path) or is_locked(path))

    def statuses():
        view = store.read(tmp_path)
        return {row.name: row.status for row in view.rows}, store.is_outdated(view)

    with lock(path):
        assert statuses() == ({"log": "running", "other": "completed", "run": "running"}, False)
        view = store.read(tmp_path)
    assert store.is_outdated(view)
    assert statuses() == ({"log": "running", "other": "completed", "run": "stopped"}, False)
    n = len(tested)
    os.utime(tmp_path / "other" / "run.json", (1, 1))  # so that all rows are looked at again
    assert statuses()[0]["run"] == "stopped" and len(tested) == n, "the lock of a stopped run is tested again"
    with lock(path):  # the run is resumed
        os.utime(path, (1, 1))
        assert statuses()[0]["run"] == "running"
    assert statuses()[0]["run"] == "stopped"


def test_every_change_of_a_record_changes_the_stamp(tmp_path):
    path = write_run(tmp_path / "one", {}, "running", 0)
    stamps = [store.stamp(tmp_path)]
    path.write_text("{}")
    stamps.append(store.stamp(tmp_path))
    os.utime(path, ns=(0, 12345))
    stamps.append(store.stamp(tmp_path))
    write_run(tmp_path / "study" / "two", {}, "running", 1)
    stamps.append(store.stamp(tmp_path))
    path.unlink()
    stamps.append(store.stamp(tmp_path))
    assert len(set(stamps)) == 5


def test_the_stamp_follows_no_links_and_is_limited_in_depth(tmp_path):
    outside = tmp_path / "outside"
    write_run(outside / "one", {}, "running", 0)
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    write_run(folder / "a" / "b" / "c" / "d", {}, "running", 0)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "run.json").write_text("{}")
    assert store.stamp(folder) == ()


def test_a_record_that_is_deleted_after_listing_is_left_out(tmp_path, monkeypatch):
    write_run(tmp_path / "one", {}, "running", 0)
    gone = write_run(tmp_path / "two", {}, "running", 1)
    lstat = os.lstat

    def fail_for_deleted(path, **options):
        if Path(path) == gone:
            raise FileNotFoundError(path)
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", fail_for_deleted)
    assert [Path(path).parent.name for path, *_ in store.stamp(tmp_path)] == ["one"]


def test_names_are_relative_paths_and_unique(tmp_path):
    write_run(tmp_path / "one", {}, "completed", 0)
    write_run(tmp_path / "study" / "one", {}, "completed", 1)
    (tmp_path / "one.json").write_text(json.dumps({"config": {"n_unfreeze": 1}}))
    view = store.read(tmp_path)
    assert sorted(row.name for row in view.rows) == ["one", "one (2)", "study/one"]
    assert [row.name for row in view.named(["study/one", "nowhere", "one"])] == ["study/one", "one"]
    [row] = store.read(tmp_path / "one").rows
    assert row.name == "one", "a record in the folder itself has the name of the folder"
