"""Full and read-only disks: every place is tried, nothing is left there, and the message says what to do."""

import errno
import os
from types import SimpleNamespace

import pytest

from tests.faults import limited
from transfer_utils.errors import UserError
from transfer_utils.utils import disk


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    disk.check_writable("output_dir", tmp_path / "new" / "folder")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, r"the disk is full: 5\.0 kB are free, and at least 1\.0 MB are needed"),
        (errno.EDQUOT, r"the disk is full: 5\.0 kB are free"),
        (errno.EROFS, r"read-only file system\. Choose"),
        (errno.EACCES, r"permission denied\. Choose"),
    ],
)
@pytest.mark.fault(40)
def test_a_place_that_cannot_be_written_is_named_with_the_reason_and_the_option(tmp_path, monkeypatch, number, reason):
    def refuse(dir):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5000))
    with pytest.raises(UserError, match=f"figures_dir cannot be in .*/new: {reason}.* another folder with --fig"):
        disk.check_writable("figures_dir", tmp_path / "new")


@pytest.mark.fault(40)
def test_a_place_on_a_drive_that_is_not_there_is_named_too(monkeypatch):
    monkeypatch.setattr(disk.os.path, "exists", lambda path: False)  # as on Windows without a drive Z: for Z:/gone
    with pytest.raises(UserError, match=r"output_dir cannot be in .*/gone: no such file or directory\. Choose another"):
        disk.check_writable("output_dir", "gone")
    not_ready = PermissionError(errno.EACCES, "The device is not ready", "gone/course")
    assert "gone/course: The device is not ready. Change who" in disk.explain(not_ready)


@pytest.mark.fault(40)
def test_a_limit_that_files_cannot_exceed_is_noticed(tmp_path):
    with limited(1000), pytest.raises(UserError, match=r"output_dir cannot be in .*the disk is full"):
        disk.check_writable("output_dir", tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left", "{}/a.h5"), "{}/a.h5 could not be written, because the disk is full: "),
        (OSError(errno.EFBIG, "File too large", "{}/new/a"), " are free in {}. Free some space, or choose a folder on"),
        (OSError("write failed: errno = 28, 'No space left on device'"), "A file could not be written, because the"),
        (OSError(errno.EROFS, "Read-only file system", "{}/a"), "{}/a: Read-only file system. Change who may use it"),
        (OSError(errno.ENOENT, "No such file", "a"), ""),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.fault(5)
def test_an_error_of_a_disk_becomes_a_sentence(tmp_path, error, message):
    if error.filename:
        error.filename = error.filename.format(tmp_path)
    assert message.format(tmp_path) in disk.explain(error)
    assert bool(message) == bool(disk.explain(error))


@pytest.mark.fault(5)
def test_the_sentence_says_how_much_is_needed_where_that_is_known(tmp_path):
    error = OSError(errno.ENOSPC, "No space left", str(tmp_path / "a\x1b.h5"))
    error.needed = 9_100_000
    text = disk.explain(error)
    assert f"are free in {tmp_path}, and 9.1 MB are needed." in text and "a\\x1b.h5" in text


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("needed", "free", "reserve", "message"),
    [
        (700, 699, 0, "needs 700 bytes more, but only 699 bytes are free."),
        (1_500_000, 2_000, 0, "needs 1.5 MB more, but only 2.0 kB are free."),
        (1, 10**9, 10**9, "needs 1 byte more, but only 1.0 GB are free, of which 1.0 GB are kept in reserve."),
    ],
)
def test_too_little_disk_space_is_reported_in_readable_units(tmp_path, monkeypatch, needed, free, reserve, message):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    disk.check_disk(tmp_path, free - reserve, "Use another disk.", reserve)
    with pytest.raises(UserError) as error:
        disk.check_disk(tmp_path, needed, "Use another disk.", reserve)
    assert str(error.value) == f"The cache in {tmp_path} {message} Use another disk."
