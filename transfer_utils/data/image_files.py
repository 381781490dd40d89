"""The image files of one split: paths and labels, packed."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ImageFiles:
    """The image files of one split, sorted by class and name; a million of them take about ten megabytes.

    Attributes:
        root: the folder that contains the class folders.
        folders: the name of each class folder, in the order of the class names.
        packed: for each class, the paths of its files below its folder, joined by zero bytes (which no path contains).
        digest: SHA-256, 64 hex digits, of the root and of the names, sizes and modification times of all files.
        base: the image folder, which contains the folders of all splits.
        n_bytes: the size of all files together.
    """

    root: bytes
    folders: tuple[bytes, ...]
    packed: tuple[bytes, ...]
    digest: str
    base: bytes
    n_bytes: int

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """The number of files of each class, int64 (n_classes,)."""
        return np.array([len(_unpacked(names)) for names in self.packed], np.int64)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield the path and the label of each file."""
        for label, (folder, names) in enumerate(zip(self.folders, self.packed, strict=True)):
            for name in _unpacked(names):
                yield os.fsdecode(os.path.join(self.root, folder, name)), label

    def names(self) -> list[str]:
        """Return the path of each file below the image folder, with ``/`` between its folders."""
        start = len(os.path.join(os.fsdecode(self.base), ""))
        return [path[start:].replace(os.sep, "/") for path, _ in self]

    def without(self, positions: Collection[int]) -> ImageFiles:
        """Return the files except those at these positions."""
        if not positions:
            return self
        left_out, start, packed = set(positions), 0, []
        for names, count in zip(self.packed, self.counts, strict=True):
            packed.append(b"\0".join(name for at, name in enumerate(_unpacked(names), start) if at not in left_out))
            start += int(count)
        return replace(self, packed=tuple(packed))


def _unpacked(names: bytes) -> list[bytes]:
    return names.split(b"\0") if names else []
