"""Decoded images on disk: one uint8 array a split, memory-mapped, checked by its SHA-256 each time it is opened.

A store is three files: ``<key>.npy`` (pixels), ``<key>.labels.npy``, and ``<key>.json`` with their checksums, which is
written last. The key names everything that decides the pixels, so another folder, side or decoder is another store.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transfer_utils.data.images import BadImage, ImageFiles, decode_image
from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import printable

DECODER = 1  # counted up whenever decode_image gives other pixels, so that older stores are left alone
LISTED = 10  # bad files that are named; the others are counted
CHUNK_BYTES = 32 << 20  # decoded at a time, whatever the side
BATCH = 16  # files a thread takes at a time: small pictures are decoded in less time than it takes to hand them over

PIXELS, LABELS, NOTED = ".npy", ".labels.npy", ".json"
Chunk = tuple[np.ndarray, np.ndarray, list[str]]  # pixels, labels, and a sentence for each bad file


@dataclass(frozen=True)
class ImageStore:
    """Decoded images and their labels.

    Attributes:
        images: uint8 (n, side, side, 3), 0-255, memory-mapped and read-only.
        labels: int64 (n,).
        sha256: of pixels and labels, 64 hex digits.
        n_skipped: files that could not be decoded.
        skipped: the first ten of them, each with the reason.
    """

    images: np.ndarray
    labels: np.ndarray
    sha256: str
    n_skipped: int
    skipped: list[str]


def decode_folder(listed: ImageFiles, side: int, folder: Path, progress: Progress | None = None) -> ImageStore:
    """Return the pictures of one split as an array, decoded by all cores unless ``folder`` already holds them.

    Args:
        listed: the files; a listing whose names, sizes or times differ is decoded anew.
        side: of the stored images, in pixels.
        folder: of the stores.
        progress: called with a description, the files done and the files in all.

    Raises:
        UserError: no file could be decoded, one cannot be read, or the disk has too little room.
    """

    def decode() -> Iterator[Chunk]:
        _check_room(len(listed), side, folder)
        return _decoded(listed, side, progress)

    store = open_or_build(folder / f"{listed.digest[:24]}-{side}-v{DECODER}", side, decode)
    if not len(store.images):
        raise UserError(f"None of the {len(listed)} images could be decoded, the first for this: {store.skipped[0]}.")
    return store


def open_or_build(place: Path, side: int, produce: Callable[[], Iterable[Chunk]]) -> ImageStore:
    """Open the store at ``place``; where there is none, or its checksum is wrong, build it from ``produce``'s chunks.

    Of several processes that want the same store, one builds it while the others wait.
    """
    about = _verified(place)
    if about is None:
        with files.lock(place):
            about = _verified(place) or _build(place, side, produce())
    # A plain array over the mapped file: np.memmap's own class would stick to every batch cut from it.
    images = np.asarray(np.load(_part(place, PIXELS), mmap_mode="r"))
    labels = np.load(_part(place, LABELS))
    return ImageStore(images, labels, _digest(about[PIXELS], about[LABELS]), about["n_skipped"], about["skipped"])


def _check_room(n: int, side: int, folder: Path) -> None:
    needed, free = n * side * side * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{n} images of {side} px take {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free. "
            "Lower --stored_size, or name a folder on another disk with --cache_dir."
        )


def _decoded(listed: ImageFiles, side: int, progress: Progress | None) -> Iterator[Chunk]:
    root = os.path.join(os.fsdecode(listed.root), "")

    def decode(items: list[tuple[str, int]]) -> list[tuple[np.ndarray | str, int]]:
        return [(_image_or_reason(path, side, printable(path.removeprefix(root))), label) for path, label in items]

    size = min(1024, max(BATCH, CHUNK_BYTES // (side * side * 3)))
    files_left, done = iter(listed), 0
    # Two for each core: one waits for the disk while the other decodes.
    with ThreadPoolExecutor(2 * available_cores()) as pool:
        while chunk := list(itertools.islice(files_left, size)):
            batches = pool.map(decode, [chunk[start : start + BATCH] for start in range(0, len(chunk), BATCH)])
            results = list(itertools.chain.from_iterable(batches))
            good = [(image, label) for image, label in results if isinstance(image, np.ndarray)]
            pixels = np.array([image for image, _ in good], np.uint8).reshape(-1, side, side, 3)
            labels = np.array([label for _, label in good], np.int64)
            yield pixels, labels, [reason for reason, _ in results if isinstance(reason, str)]
            done += len(chunk)
            if progress:
                progress("Decoding images", done, len(listed))


def _image_or_reason(path: str, side: int, name: str) -> np.ndarray | str:
    try:
        return decode_image(path, side, name)
    except BadImage as error:
        return str(error)


def _verified(place: Path) -> dict[str, Any] | None:
    """Return what is noted about a store if it is complete and every byte is as it was written."""
    try:
        noted = json.loads(_part(place, NOTED).read_bytes())
        about = noted["about"]
        whole = noted["sha256"] == _digest(json.dumps(about)) and all(
            files.sha256_of(_part(place, part)) == about[part] for part in (PIXELS, LABELS)
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return about if whole else None


def _build(place: Path, side: int, chunks: Iterable[Chunk]) -> dict[str, Any]:
    labels, n_skipped, skipped = [], 0, []
    with files.replacing(_part(place, PIXELS)) as temporary, open(temporary, "wb") as file:
        # Written, not memory-mapped: a full disk is then an error that can be caught, and memory holds one chunk.
        _write_header(file, 0, side)
        for pixels, chunk_labels, bad in chunks:
            file.write(np.ascontiguousarray(pixels).data)
            labels.append(chunk_labels)
            n_skipped += len(bad)
            skipped += bad[: LISTED - len(skipped)]
        labels = np.concatenate(labels, dtype=np.int64)
        file.seek(0)
        _write_header(file, len(labels), side)
    with files.replacing(_part(place, LABELS)) as temporary:
        np.save(temporary, labels)
    about = {part: files.sha256_of(_part(place, part)) for part in (PIXELS, LABELS)}
    about |= {"n_skipped": n_skipped, "skipped": skipped}
    files.write_json(_part(place, NOTED), {"about": about, "sha256": _digest(json.dumps(about))})
    return about


def _write_header(file: Any, n: int, side: int) -> None:
    # NumPy pads the header so that it stays as long as it is when the first axis grows.
    shape = (n, side, side, 3)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _part(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)


def _digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()
