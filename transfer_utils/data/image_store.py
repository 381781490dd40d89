"""Decoded images on disk: one memory-mapped uint8 array per split, whose SHA-256 is checked each time it is opened.

A store is three files: ``<key>.npy`` (pixels), ``<key>.labels.npy``, and ``<key>.json`` with their checksums, which is
written last. The key covers everything that determines the pixels: the folder, the side and the decoder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transfer_utils.data.image_files import ImageFiles
from transfer_utils.data.images import BadImage, decode_image
from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.array_cache import Note, open_array
from transfer_utils.utils.disk import check_disk
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import printable

DECODER = 3  # part of the key: increase it when decode_image returns other pixels, or reads other files
MAX_NAMED = 10  # bad files that are listed by name
CHUNK_BYTES = 32 << 20  # pixels decoded at a time
BATCH = 16  # files per task of a thread: decoding a small image takes less time than scheduling a task

PIXELS, LABELS = ".npy", ".labels.npy"
Chunk = tuple[np.ndarray, np.ndarray, dict[int, str]]  # pixels, labels, and a message for each bad file by position


@dataclass(frozen=True)
class ImageStore:
    """Decoded images and their labels.

    Attributes:
        images: uint8 (n, side, side, 3), 0-255, memory-mapped and read-only.
        labels: int64 (n,).
        sha256: of pixels and labels, 64 hex digits.
        skipped: messages about the first ten files that could not be decoded.
        skipped_at: the position of every such file among the files.
        listed: the files that the images were decoded from, with those that were skipped, if they came from a folder.
    """

    images: np.ndarray
    labels: np.ndarray
    sha256: str
    skipped: list[str] = field(default_factory=list)
    skipped_at: list[int] = field(default_factory=list)
    listed: ImageFiles | None = None

    @property
    def files(self) -> ImageFiles | None:
        """The file of each image, in the order of the images; None if they did not come from a folder."""
        return None if self.listed is None else self.listed.without(self.skipped_at)


def decode_folder(listed: ImageFiles, side: int, folder: Path, progress: Progress | None = None) -> ImageStore:
    """Return the images of one split as an array; decode them on all cores unless ``folder`` already stores them.

    Args:
        listed: the files; they are decoded again if a name, size or modification time changes.
        side: of the stored images, in pixels.
        folder: contains the stores.

    Raises:
        UserError: no file could be decoded, a file cannot be read, or the disk is too full.
    """

    def decode() -> Iterator[Chunk]:
        check_room(folder, len(listed), side)
        return _decode(listed, side, progress)

    base = folder / f"{listed.digest[:24]}-{side}-v{DECODER}"
    store = open_or_build(base, decode)
    if not len(store.images):
        raise UserError(f"None of the {len(listed)} images could be decoded. The first problem: {store.skipped[0]}.")
    return replace(store, listed=listed)


def check_room(folder: Path, n: int, side: int) -> None:
    """Check that ``n`` images of ``side`` pixels fit on the disk of ``folder``, as ``check_disk`` does."""
    advice = "Lower --stored_size, or choose a folder on another disk with --cache_dir."
    check_disk(folder, n * side * side * 3, advice)


def open_or_build(base: Path, decode: Callable[[], Iterable[Chunk]]) -> ImageStore:
    """Open the store whose files start with ``base``; build it from ``decode()`` if it is missing or damaged."""
    labels_path = base.with_name(base.name + LABELS)
    labels: list[np.ndarray] = []
    skipped: dict[int, str] = {}

    def pixels() -> Iterator[np.ndarray]:
        for images, chunk_labels, problems in decode():
            labels.append(chunk_labels)
            skipped.update(problems)
            yield images

    def make_note(sha256: str) -> Note:
        with files.replacing(labels_path) as temporary:
            np.save(temporary, np.concatenate(labels, dtype=np.int64))
        about = {PIXELS: sha256, LABELS: files.sha256_of(labels_path)}
        named = list(skipped.values())[:MAX_NAMED]
        about |= {"skipped": named, "skipped_at": list(skipped)}
        return {"about": about, "sha256": _digest(json.dumps(about))}

    def matches(note: Note, sha256: str) -> bool:
        about = note["about"]
        complete = "skipped_at" in about and note["sha256"] == _digest(json.dumps(about))
        return complete and (about[PIXELS], about[LABELS]) == (sha256, files.sha256_of(labels_path))

    mapped, note = open_array(base.with_name(base.name + PIXELS), pixels, make_note, matches)
    images = np.asarray(mapped)  # a plain array: every batch cut from an np.memmap would be one too
    about = note["about"]
    sha256 = _digest(about[PIXELS], about[LABELS])
    return ImageStore(images, np.load(labels_path), sha256, about["skipped"], about["skipped_at"])


def _decode(listed: ImageFiles, side: int, progress: Progress | None) -> Iterator[Chunk]:
    root = os.path.join(os.fsdecode(listed.root), "")

    def decode(items: list[tuple[str, int]]) -> list[tuple[np.ndarray | str, int]]:
        return [(_image_or_problem(path, side, printable(path.removeprefix(root))), label) for path, label in items]

    size = min(1024, max(BATCH, CHUNK_BYTES // (side * side * 3)))
    remaining, done = iter(listed), 0
    # Two threads per core: one can wait for the disk while the other decodes.
    with ThreadPoolExecutor(2 * available_cores()) as pool:
        while chunk := list(itertools.islice(remaining, size)):
            batches = pool.map(decode, [chunk[start : start + BATCH] for start in range(0, len(chunk), BATCH)])
            results = list(itertools.chain.from_iterable(batches))
            good = [(image, label) for image, label in results if isinstance(image, np.ndarray)]
            pixels = np.array([image for image, _ in good], np.uint8).reshape(-1, side, side, 3)
            labels = np.array([label for _, label in good], np.int64)
            yield pixels, labels, {at: bad for at, (bad, _) in enumerate(results, done) if isinstance(bad, str)}
            done += len(chunk)
            if progress:
                progress("Decoding images", done, len(listed))


def _image_or_problem(path: str, side: int, name: str) -> np.ndarray | str:
    try:
        return decode_image(path, side, name)
    except BadImage as error:
        return str(error)


def _digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()
