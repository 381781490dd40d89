"""Atomic file replacement, locks, checksums, and the cache folder.

Important files are never written in place: a reader sees the complete old file or the complete new one.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import json
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import psutil
from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from transfer_utils.errors import UserError

CACHE_VARIABLE = "TRANSFER_UTILS_CACHE"
RENAMES = 5  # attempts on Windows, within a second

# File systems that several machines share; a lock taken on one machine may not bind the others (mount(8), psutil).
NETWORK_TYPES = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "9p", "webdav", "davfs"}
NETWORK_TYPES |= {"ncpfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "ocfs2", "gfs2"}
NETWORK_TYPES |= {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "davfs2", "rclone", "s3fs", "gcsfuse")}


@contextmanager
def replacing(path: str | os.PathLike, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix of ``path``, because Keras and NumPy choose the format by it. If the block
    raises (a full disk, an interrupt), the temporary file is removed and ``path`` stays unchanged. An ``OSError`` names
    ``path`` as its ``filename``, which it lacks if a disk is full, and ``size`` as ``needed``.

    Args:
        size: bytes that the file will have, where that is known.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp{path.suffix}")
    try:
        yield temporary
        move_into_place(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):
            error.filename, error.needed = os.fspath(path), size
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a complete file to ``path``, in the same folder, after its content has reached the disk."""
    _sync(temporary)
    for attempt in range(1, RENAMES + 1):
        try:
            os.replace(temporary, path)
            break
        except PermissionError:
            # Windows refuses while another process has ``path`` open, for example to read a record.
            if os.name != "nt" or attempt == RENAMES:
                raise
            time.sleep(0.1 * attempt)
    _sync(path.parent)


def set_aside(path: Path) -> Path:
    """Rename a damaged file to ``<name>.damaged``, or ``<name>.damaged-2`` and so on; return the new path."""
    names = itertools.chain([".damaged"], (f".damaged-{number}" for number in itertools.count(2)))
    free = next(other for name in names if not os.path.lexists(other := path.with_name(path.name + name)))
    return path.replace(free)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with replacing(path, len(content)) as temporary, open(temporary, "wb") as file:
        file.write(content)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` to ``path`` atomically, as strict JSON (RFC 8259: no NaN) indented by two spaces.

    Raises:
        ValueError: ``value`` contains NaN or an infinity.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8"))


def lock(path: str | os.PathLike, timeout: float = -1) -> FileLock:
    """Return the lock ``<path>.lock``, which the system releases when its owner exits or is killed.

    Args:
        path: the file to protect; its folder is created if necessary.
        timeout: seconds to wait for the lock; -1 waits without limit, 0 does not wait.

    Warns:
        UserWarning: the folder is on a network drive, where locks may not work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind := network_drive(path.parent):
        warnings.warn(
            f"{path.parent} is on a network drive ({kind}), where file locks may not work. "
            "Use it from one machine at a time, or choose a local folder with --output_dir or --cache_dir.",
            stacklevel=2,
        )
    return FileLock(path.with_name(path.name + ".lock"), timeout=timeout)


def is_locked(path: str | os.PathLike) -> bool:
    """Return whether a process holds ``lock(path)``; True also if this cannot be tested.

    The test creates and changes no file. It takes a shared lock for an instant, so that two tests at the same time do
    not mistake each other for the owner.
    """
    path = Path(path)
    lock_path = path.with_name(path.name + ".lock")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither links nor pipes
    try:
        descriptor = os.open(lock_path, flags)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        if fcntl is None:
            with FileLock(lock_path, timeout=0):
                pass
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (Timeout, OSError):
        return True
    finally:
        os.close(descriptor)
    return False


@functools.cache
def network_drive(folder: Path) -> str:
    """Return the type of the network file system that holds ``folder``, such as ``nfs4``; empty if it is local."""
    resolved = folder.resolve()
    mounts = [(Path(mount.mountpoint), mount.fstype.lower()) for mount in psutil.disk_partitions(all=True)]
    parents = [mount for mount in mounts if resolved.is_relative_to(mount[0])]
    # Of several at one place the last, which hides the others: a drive that is mounted when it is used is below autofs.
    kind = max(reversed(parents), key=lambda mount: len(mount[0].parts), default=(None, ""))[1]
    return kind if kind in NETWORK_TYPES else ""


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    return checksum_of(path, "sha256")


def checksum_of(path: str | os.PathLike, algorithm: str) -> str:
    """Return the checksum of a file as hex digits; ``algorithm`` is a name that ``hashlib`` knows."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_folder(chosen: str = "") -> Path:
    """Return the folder for decoded images, weights and features, created if necessary.

    It is ``chosen`` (the option ``cache_dir``) or else the environment variable ``TRANSFER_UTILS_CACHE``. Without
    either, it is the user's cache folder or, if that is not writable, a private folder under the temporary folder.

    Raises:
        UserError: the folder is not writable.
    """
    chosen = chosen or os.environ.get(CACHE_VARIABLE, "")
    return _writable_folder(os.path.abspath(os.path.expanduser(chosen)) if chosen else "")


def nearest_existing(path: Path) -> Path | None:
    """Return a path, or the nearest folder above it that exists; None on a drive of Windows that is not there."""
    return next((each for each in (path, *path.absolute().parents) if os.path.exists(each)), None)


def keras_home() -> Path:
    """Return the folder in which Keras stores downloads: KERAS_HOME or ~/.keras, or if not writable a temporary one."""
    chosen, user = os.environ.get("KERAS_HOME"), os.path.expanduser("~")
    home = Path(os.path.expanduser(chosen)) if chosen else Path(user, ".keras")
    # Like Keras, which without KERAS_HOME asks only whether the user's folder is writable.
    existing = nearest_existing(home) if chosen else user
    if existing and os.access(existing, os.W_OK):
        return home
    return Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"


def why_no_folder(path: Path) -> str:
    """Return why ``path`` is not a folder, as the end of a sentence; empty if it is one."""
    if path.is_dir():
        return ""
    return "is a file, not a folder" if path.exists() else "does not exist"


@functools.cache
def _writable_folder(chosen: str) -> Path:
    fallback = Path(tempfile.gettempdir()) / f"transfer-utils-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    candidates = [Path(chosen)] if chosen else [Path(platformdirs.user_cache_dir("transfer-utils")), fallback]
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder == fallback and hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                raise PermissionError("it belongs to another user")
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            problem = error
    reason = problem.strerror or problem
    advice = f"Choose another with the variable {CACHE_VARIABLE}, or with --cache_dir if the command has it."
    raise UserError(f"The cache folder {candidates[-1]} is not writable: {reason}. {advice}")


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of killed writers of ``path``."""
    name = re.compile(rf"\.{re.escape(path.name)}\.([0-9]{{1,9}})-[0-9]+\.tmp{re.escape(path.suffix)}")
    for leftover in path.parent.iterdir():
        writer = name.fullmatch(leftover.name)
        if writer and not psutil.pid_exists(int(writer[1])):
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or folder to disk; Windows can neither open folders for this nor needs it."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows flushes only what is open for writing, and a folder is never that.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some file systems, such as shared folders of VirtualBox, cannot flush a folder
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)
