"""A look at a folder of pictures before anything is trained on it: unreadable files, copies, small classes, sizes.

Nothing is changed or left out: the findings name the files, and a person decides.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transfer_utils.data.image_folder import list_image_folder
from transfer_utils.data.images import decode_image, measure_image, read_image_file
from transfer_utils.data.likeness import LOOK_SIDE, MAX_PAIRS, Look, connected, look_of, similar_pairs
from transfer_utils.errors import UserError
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import printable

SPLIT_ORDER = ("train", "validation", "test")  # in the order of the findings
FEW = 20  # training pictures, below which a class is hard to learn and to test

FILES_AT_ONCE = 256  # files between two reports of progress


class Picture(NamedTuple):
    """One readable picture.

    Attributes:
        name: the path of the file below the image folder, with ``/``, safe to print.
        label: the number of the class.
        width, height, mode: as in the file.
        digest: of the content of the file, 16 bytes.
        look: what is compared with other pictures.
    """

    path: str
    name: str
    split: str
    label: int
    width: int
    height: int
    mode: str
    digest: bytes
    look: Look


@dataclass(frozen=True)
class Inspection:
    """What was found in an image folder.

    Attributes:
        class_names: in the order of the labels.
        pictures: those that can be read.
        unreadable: a sentence for each file that cannot.
        notes: sentences about files that were left out, as in ``FolderListing``.
        copies: groups of pictures whose files have the same content.
        similar: groups of pictures that look alike but are no copies.
    """

    folder: str
    class_names: list[str]
    pictures: list[Picture]
    unreadable: list[str]
    notes: list[str]
    copies: list[list[Picture]]
    similar: list[list[Picture]]

    def counts(self) -> dict[str, list[int]]:
        """Return the number of readable pictures of each class, by split."""
        counts = {split: [0] * len(self.class_names) for split in self.splits()}
        for picture in self.pictures:
            counts[picture.split][picture.label] += 1
        return counts

    def groups_of(self, paths: Sequence[str]) -> np.ndarray:
        """Return a number for each of these pictures, int (n,), equal for copies and pictures that look alike."""
        position = {path: at for at, path in enumerate(paths)}
        pairs = []
        for group in [*self.copies, *self.similar]:
            known = [position[picture.path] for picture in group if picture.path in position]
            pairs += itertools.pairwise(known)
        return connected(pairs, len(paths))

    def splits(self) -> list[str]:
        return list(dict.fromkeys(["train", *(picture.split for picture in self.pictures)]))

    def small_classes(self) -> dict[str, int]:
        """Return the classes with fewer than 20 pictures to train on, and how many each has."""
        counts = zip(self.class_names, self.counts()["train"], strict=True)
        return {name: int(n) for name, n in counts if n < FEW}

    def needed_per_class(self) -> int:
        """Return how many training pictures each class must have: one, and one for each split made of them."""
        return len(SPLIT_ORDER) + 1 - len(self.splits())

    def sizes(self) -> np.ndarray:
        """Return the widths and heights in pixels, int64 (n, 2)."""
        return np.array([(picture.width, picture.height) for picture in self.pictures], np.int64).reshape(-1, 2)

    def modes(self) -> Counter[str]:
        """Return how many pictures have each of Pillow's modes, such as ``RGB``."""
        return Counter(picture.mode for picture in self.pictures)


def inspect_folder(folder: str | os.PathLike, progress: Progress | None = None) -> Inspection:
    """Read every picture of an image folder and return what was found.

    Raises:
        UserError: the folder is not a usable image folder, or none of its pictures can be read.
    """
    listing = list_image_folder(folder)
    pictures, unreadable = [], []
    files = [
        (path, name, split, label)
        for split, listed in sorted(listing.splits.items(), key=lambda item: SPLIT_ORDER.index(item[0]))
        for (path, label), name in zip(listed, listed.names(), strict=True)
    ]
    with ThreadPoolExecutor(2 * available_cores()) as pool:
        for start in range(0, len(files), FILES_AT_ONCE):
            for result in pool.map(_look, files[start : start + FILES_AT_ONCE]):
                (pictures if isinstance(result, Picture) else unreadable).append(result)
            if progress:
                progress("Inspecting pictures", min(start + FILES_AT_ONCE, len(files)), len(files))
    if not pictures:
        raise UserError(f"None of the {len(files)} images can be read. The first problem: {unreadable[0].rstrip('.')}.")
    first_at: dict[bytes, int] = {}  # the position of the first picture of each content
    same = []
    for at, picture in enumerate(pictures):
        same.append((first_at.setdefault(picture.digest, at), at))
    copies = _groups(same, pictures)
    different = [pictures[at] for at in first_at.values()]
    pairs = list(similar_pairs([picture.look for picture in different]))
    notes = list(listing.notes)
    if len(pairs) >= MAX_PAIRS:
        notes.append(f"At least {MAX_PAIRS:,} pairs of pictures look alike: no more were looked for.")
    where = printable(os.path.expanduser(folder))
    return Inspection(where, listing.class_names, pictures, unreadable, notes, copies, _groups(pairs, different))


def across_splits(group: Sequence[Picture]) -> bool:
    """Return whether pictures of a group are in different splits, so that the test would be too easy."""
    return len({picture.split for picture in group}) > 1


def across_classes(group: Sequence[Picture]) -> bool:
    """Return whether pictures of a group are in different classes, so that a label may be wrong."""
    return len({picture.label for picture in group}) > 1


def _look(file: tuple[str, str, str, int]) -> Picture | str:
    path, name, split, label = file
    name = printable(name)
    try:
        content = read_image_file(path, name)
        pixels = decode_image(content, LOOK_SIDE, name)
    except UserError as error:
        return str(error)
    width, height, mode = measure_image(content)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return Picture(path, name, split, label, width, height, mode, digest, look_of(pixels))


def _groups(pairs: Iterable[tuple[int, int]], pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Return the groups of pictures that pairs connect: those across splits first, then those across classes."""
    members: dict[int, list[Picture]] = {}
    for number, picture in zip(connected(pairs, len(pictures)).tolist(), pictures, strict=True):
        members.setdefault(number, []).append(picture)
    groups = [group for group in members.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (not across_splits(group), not across_classes(group), -len(group)))
