"""Files are replaced atomically, locks are released when their owner dies, and the cache folder is writable."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import filelock
import platformdirs
import pytest

from tests.faults import play, survived
from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.files import cache_folder, lock, replacing, write_bytes, write_json

HOLD = """
import sys
from transfer_utils.utils.files import lock
with lock(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


def test_a_file_is_replaced_atomically_by_strict_json_and_its_folder_is_created(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, {"a": "ü"})
    with replacing(path) as temporary:
        temporary.write_text("[]")
        assert temporary.parent == path.parent and temporary.suffix == ".json"
        assert json.loads(path.read_text("utf-8")) == {"a": "ü"}
    with pytest.raises(ValueError):
        write_json(path, [float("nan")])
    assert path.read_text() == "[]"
    assert os.listdir(path.parent) == ["a.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.fault(5)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_bytes(b"ne")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_is_flushed_through_a_descriptor_for_writing_as_windows_demands(tmp_path, monkeypatch):
    opened, open_ = {}, os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *rest: opened.update({path: flags}) or open_(path, flags, *rest)
    )
    write_bytes(tmp_path / "a.txt", b"a")
    assert {path.suffix: flags for path, flags in opened.items()} == {".txt": os.O_RDWR, "": os.O_RDONLY}


@pytest.mark.parametrize(("system", "refusals", "written"), [("nt", 2, True), ("nt", 9, False), ("posix", 1, False)])
def test_windows_is_asked_again_while_another_process_reads_the_old_file(
    tmp_path, monkeypatch, system, refusals, written
):
    temporary, path, refused = tmp_path / "new", tmp_path / "old", [PermissionError(13, "in use")] * refusals
    temporary.write_text("new")
    replace = os.replace

    def in_use(source, target):
        if refused:
            raise refused.pop()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", in_use)
        patch.setattr(files.os, "name", system)
        patch.setattr(files.time, "sleep", lambda seconds: None)
        with nullcontext() if written else pytest.raises(PermissionError):
            files.move_into_place(temporary, path)
    assert path.exists() == written


@pytest.mark.fault(5)
def test_a_write_that_fails_on_a_full_disk_names_the_file_and_its_size(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'") as error:
        write_bytes(tmp_path / "a.txt", b"four")
    assert (error.value.filename, error.value.needed) == (str(tmp_path / "a.txt"), 4)


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_folder_that_its_file_system_cannot_flush_is_written_to(tmp_path, monkeypatch, number, raised):
    flush = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError) if raised else nullcontext():
        write_bytes(tmp_path / "a.txt", b"a")
    assert (tmp_path / "a.txt").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["a.json", "odd [1]*?.k[x]", "no suffix"])
@pytest.mark.fault(1)
def test_temporary_files_of_killed_writers_are_removed_and_those_of_others_are_kept(tmp_path, name):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    suffix = Path(name).suffix
    dead, alive, other = (f".{name}.{writer}-1.tmp{suffix}" for writer in (child.pid, os.getppid(), "9" * 30))
    for leftover in (dead, alive, other, f".b{name}.{child.pid}-1.tmp{suffix}"):
        (tmp_path / leftover).touch()
    write_bytes(tmp_path / name, b"")
    assert set(os.listdir(tmp_path)) == {name, alive, other, f".b{name}.{child.pid}-1.tmp{suffix}"}


def test_several_threads_can_write_the_same_file(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_json(tmp_path / "a.json", [number % 8] * 1000), range(160)))
    assert len(set(json.loads((tmp_path / "a.json").read_text()))) == 1
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("jobs", "loss"),
    [
        pytest.param(("kill:array:40", "kill:naive:20"), "broken", marks=pytest.mark.fault(3)),
        pytest.param(("fill:array:20", "fill:naive:20"), "lost", marks=pytest.mark.fault(5)),
    ],
)
def test_a_killed_writer_or_a_full_disk_leaves_a_whole_array(tmp_path, tally, jobs, loss):
    counts = play(tmp_path, *jobs)
    assert survived(counts, tally), counts
    assert counts[jobs[1].removesuffix(":20")][loss] > 0, "the negative control must lose an array"


@pytest.fixture(scope="module")
def model_faults(tmp_path_factory):
    """Return the counts of all faults of model files; one process imports Keras for all of them."""
    kills = ("kill:keras:6", "kill:h5:6", "kill:naive-keras:3", "kill:naive-h5:3")
    return play(tmp_path_factory.mktemp("models"), *kills, "fill:keras:20", "fill:h5:20", "fill:naive-keras:2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "loss"),
    [
        pytest.param("kill", "broken", marks=pytest.mark.fault(2)),
        pytest.param("fill", "lost", marks=pytest.mark.fault(5)),
    ],
)
def test_a_killed_save_or_a_full_disk_leaves_the_old_model(model_faults, tally, fault, loss):
    counts = {job: result for job, result in model_faults.items() if job.startswith(fault)}
    assert survived(counts, tally), counts
    naive = sum(result[loss] for job, result in counts.items() if "naive" in job)
    assert naive > 0, "the negative control must lose a model"


MANY = {"kill:record:1000": 1, "kill:keras:100": 2, "kill:h5:100": 2, "kill:array:1000": 3}


@pytest.mark.torture
@pytest.mark.parametrize("job", [pytest.param(job, marks=pytest.mark.fault(number)) for job, number in MANY.items()])
def test_many_kills_lose_nothing(tmp_path, tally, job):
    counts = play(tmp_path, job)
    assert survived(counts, tally), counts


@pytest.mark.fault(9)
def test_a_lock_is_exclusive_and_is_released_when_its_owner_is_killed(tmp_path):
    path = tmp_path / "cache"
    command = [sys.executable, "-c", HOLD, str(path)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    owner.stdout.readline()
    with pytest.raises(filelock.Timeout):
        lock(path, timeout=0).acquire()
    owner.kill()
    owner.communicate()
    with lock(path, timeout=0):
        pass


@pytest.mark.fault(35)
def test_whether_a_file_is_locked_is_tested_without_taking_or_making_the_lock(tmp_path):
    path = tmp_path / "run.json"
    assert not files.is_locked(path) and os.listdir(tmp_path) == []
    with lock(path):
        assert files.is_locked(path) and files.is_locked(path)
    assert not files.is_locked(path)
    before = os.stat(tmp_path / "run.json.lock")
    with open(tmp_path / "run.json.lock") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another reader does who tests it at the same time
        assert not files.is_locked(path)
    assert os.stat(tmp_path / "run.json.lock") == before


@pytest.mark.fault(25, 35)
def test_a_lock_file_that_is_a_link_or_a_pipe_is_not_followed(tmp_path):
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "a.lock").symlink_to("outside")
    os.mkfifo(tmp_path / "b.lock")
    assert files.is_locked(tmp_path / "a")  # it cannot be tested
    files.is_locked(tmp_path / "b")  # does not hang
    assert (tmp_path / "outside").read_text() == "kept"


def test_a_lock_on_a_network_drive_warns_also_where_that_is_mounted_on_demand(tmp_path, monkeypatch, recwarn):
    share = tmp_path / "share"
    kinds = (("/", "ext4"), (str(share), "autofs"), (str(share), "nfs4"))  # as systemd mounts it
    mounts = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in kinds]
    monkeypatch.setattr(files.psutil, "disk_partitions", lambda all: mounts)
    monkeypatch.setattr(files, "network_drive", files.network_drive.__wrapped__)
    lock(tmp_path / "here" / "a")
    assert not recwarn
    with pytest.warns(UserWarning, match=r"share/deep is on a network drive \(nfs4\), .* --output_dir or --cache_dir"):
        lock(share / "deep" / "a")
    (tmp_path / "link").symlink_to(share)
    with pytest.warns(UserWarning, match="network drive"):
        lock(tmp_path / "link" / "a")


class TestCacheFolder:
    @pytest.fixture(autouse=True)
    def _clear(self, monkeypatch, tmp_path):
        files._writable_folder.cache_clear()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        yield
        files._writable_folder.cache_clear()

    def test_the_option_overrides_the_variable_and_both_override_the_default(self, monkeypatch, tmp_path):
        monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "user" / name))
        monkeypatch.setenv("TRANSFER_UTILS_CACHE", str(tmp_path / "variable"))
        assert cache_folder("option") == tmp_path / "option"
        assert cache_folder() == tmp_path / "variable"
        monkeypatch.delenv("TRANSFER_UTILS_CACHE")
        assert cache_folder() == tmp_path / "user" / "transfer-utils"

    def test_without_a_writable_home_it_is_in_the_temporary_folder_of_this_user(self, monkeypatch, tmp_path):
        monkeypatch.delenv("TRANSFER_UTILS_CACHE")
        (tmp_path / "file").touch()
        monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "file" / name))
        assert cache_folder().parent == tmp_path / "tmp"
        files._writable_folder.cache_clear()
        owner = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
        with pytest.raises(UserError, match="another user"):
            cache_folder()

    def test_a_chosen_folder_that_is_not_writable_is_an_error(self, tmp_path):
        (tmp_path / "file").touch()
        advice = "Choose another with the variable TRANSFER_UTILS_CACHE, or with --cache_dir"
        with pytest.raises(UserError, match=f"is not writable: .*{advice}"):  # not all commands have the option
            cache_folder(str(tmp_path / "file" / "cache"))
