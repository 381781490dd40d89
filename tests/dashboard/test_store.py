import json
import os
from pathlib import Path

from tests.samples import write_run
from transfer_utils.dashboard import store


def test_an_unchanged_folder_is_not_read_again(tmp_path, monkeypatch):
    write_run(tmp_path / "one", {}, "running", 0)
    first = store.read(tmp_path, store.stamp(tmp_path))
    monkeypatch.setattr(store, "load_runs", None)  # calling it would fail
    assert store.read(tmp_path, store.stamp(tmp_path)) is first


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
    view = store.read(tmp_path, store.stamp(tmp_path))
    assert sorted(row.name for row in view.rows) == ["one", "one (2)", "study/one"]
    assert [row.name for row in view.named(["study/one", "nowhere", "one"])] == ["study/one", "one"]
    [row] = store.read(tmp_path / "one", store.stamp(tmp_path / "one")).rows
    assert row.name == "one", "a record in the folder itself has the name of the folder"
