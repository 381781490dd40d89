"""Files that survive: atomic replacement, locks, checksums, and where the cache is.

Nothing that matters is ever written in place. A reader sees the old file or the new, whatever happens to the writer.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import psutil
from filelock import FileLock

CACHE_VARIABLE = "TRANSFER_UTILS_CACHE"

# File systems that several machines share, on which a lock of one machine may not bind another (mount(8), psutil).
NETWORK = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "9p", "webdav", "davfs", "ncpfs"}
NETWORK |= {"lustre", "gpfs", "beegfs", "ceph", "glusterfs", "ocfs2", "gfs2"}
NETWORK |= {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "davfs2", "rclone", "s3fs", "gcsfuse")}


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; when the block ends well, it becomes ``path`` in one step.

    The temporary name keeps the suffix of ``path``, because Keras and NumPy choose the format by it. When the block
    raises (a full disk, an interrupt), the temporary file is removed and the previous ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write ``content`` to ``path``, all of it or nothing."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` to ``path`` as strict JSON (RFC 8259: no NaN), two spaces deep, ending in a newline.

    Raises:
        ValueError: ``value`` holds NaN or an infinity.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8"))


def lock(path: str | os.PathLike, timeout: float = -1) -> FileLock:
    """Return the lock that guards ``path`` (the file ``<path>.lock``); the system frees it when its holder dies.

    Args:
        timeout: seconds to wait for another holder; -1 waits for ever, 0 does not wait.

    Warns:
        UserWarning: the folder is on a network drive, where a lock may not hold.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind := network_drive(path.parent):
        warnings.warn(
            f"{path.parent} is on a network drive ({kind}), where locks may not hold: "
            "let one machine at a time use it, or name a local folder with --output_dir or --cache_dir.",
            stacklevel=2,
        )
    return FileLock(path.with_name(path.name + ".lock"), timeout=timeout)


@functools.cache
def network_drive(folder: Path) -> str:
    """Return the kind of network file system that ``folder`` is on, such as ``nfs4``, or an empty string."""
    resolved = folder.resolve()
    mounts = [(Path(mount.mountpoint), mount.fstype.lower()) for mount in psutil.disk_partitions(all=True)]
    around = [mount for mount in mounts if resolved.is_relative_to(mount[0])]
    kind = max(around, key=lambda mount: len(mount[0].parts), default=(None, ""))[1]
    return kind if kind in NETWORK else ""


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_folder(chosen: str = "") -> Path:
    """Return the folder for decoded images, weights and features, made if need be.

    The first that can be written of: ``chosen`` (the option ``cache_dir``), the environment variable
    ``TRANSFER_UTILS_CACHE``, the user's cache folder, and a folder of the user's own under the temporary folder.
    """
    named = chosen or os.environ.get(CACHE_VARIABLE, "")
    return _writable_folder(os.path.abspath(os.path.expanduser(named)) if named else "")


def keras_home() -> Path:
    """Return the folder of Keras's downloads, by Keras's own rule: KERAS_HOME, ~/.keras, or a temporary one.

    The temporary one also where the other cannot be written, even if the files are in it.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if os.access(there, os.W_OK):
        return home
    return Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"


@functools.cache
def _writable_folder(named: str) -> Path:
    fallback = Path(tempfile.gettempdir()) / f"transfer-utils-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    candidates = [Path(named)] if named else [Path(platformdirs.user_cache_dir("transfer-utils")), fallback]
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder == fallback and hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                raise PermissionError("it belongs to somebody else")
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            problem = error
    raise OSError(f"The cache folder {candidates[-1]} cannot be written: {problem}. Name another one with --cache_dir.")


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files for ``path`` whose writer was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.([0-9]{{1,9}})-[0-9]+\.tmp{re.escape(path.suffix)}")
    for leftover in path.parent.iterdir():
        writer = name.fullmatch(leftover.name)
        if writer and not psutil.pid_exists(int(writer[1])):
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Force a file or a folder to the disk; folders cannot be opened for this on Windows, and need not be."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
