"""What is worth knowing about the classes and splits of a dataset before a network is trained on it."""

from __future__ import annotations

import hashlib

import numpy as np

from transfer_utils.data.dataset import Split, images_per_class
from transfer_utils.data.sources import Source
from transfer_utils.errors import UserError
from transfer_utils.utils.text import counted, enumerated, first_named, printable

MAX_NAMED = 10  # of the classes without images
IMBALANCE = 10  # a run warns if the largest class has at least this many times the images of the smallest


def check_class_sizes(source: Source, splits: list[str]) -> None:
    """Check that each class has one image for each of these splits, which are to be made of the training images.

    Raises:
        UserError: classes are too small; all of them are named, with the number of their images and unreadable files.
    """
    part, needed = source.parts["train"], len(splits)
    counts = images_per_class(part.labels, len(source.class_names))
    unreadable = np.zeros_like(counts) if part.listed is None else part.listed.counts - counts
    short = [
        f"{name!r} ({count}" + (f"; {counted(int(bad), 'file')} could not be read)" if bad else ")")
        for name, count, bad in zip(source.class_names, counts, unreadable, strict=True)
        if count < needed
    ]
    if short:
        problem = counted(len(short), "class has", "classes have")
        raise UserError(
            f"Each class must have at least {counted(needed, 'image')} that can be read, one for {enumerated(splits)}. "
            f"{problem} fewer: {', '.join(short)}."
        )


def missing_classes(class_names: list[str], **splits: Split) -> list[str]:
    """Return a sentence for each split that lacks images of some classes; it names at most ten of them."""
    notes = []
    for name, split in splits.items():
        counts = images_per_class(split.labels, len(class_names))
        missing = [repr(class_names[label]) for label in np.flatnonzero(counts == 0)]
        if missing:
            have = counted(len(missing), "class has", "classes have")
            notes.append(f"{have} no images in the {name} split: {first_named(missing, MAX_NAMED)}")
    return notes


def imbalance(class_names: list[str], train: Split) -> list[str]:
    """Return a sentence if the largest class has ten times as many training images as the smallest."""
    counts = images_per_class(train.labels, len(class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] < IMBALANCE * counts[least]:
        return []
    return [
        f"The classes are unbalanced: {class_names[most]!r} has {counted(int(counts[most]), 'training image')} and "
        f"{class_names[least]!r} has {counts[least]:,}. The accuracy says little about the small classes: look at the "
        "recall of each class."
    ]


def copies(train: Split, **held_out: Split) -> list[str]:
    """Return a sentence for each split with images whose stored pixels equal those of a training image."""
    first_at: dict[bytes, int] = {}
    for at, digest in enumerate(_digests(train)):
        first_at.setdefault(digest, at)
    notes = []
    for name, split in held_out.items():
        pairs = [(at, first_at[digest]) for at, digest in enumerate(_digests(split)) if digest in first_at]
        if pairs:
            example, original = printable(split.names()[pairs[0][0]]), printable(train.names()[pairs[0][1]])
            are = counted(len(pairs), f"image of the {name} split is", f"images of the {name} split are")
            notes.append(
                f"{are} identical to a training image, for example {example} and {original}: the {name} accuracy will "
                "be too high. `transfer-utils inspect` shows copies and pictures that look alike."
            )
    return notes


def _digests(split: Split) -> list[bytes]:
    """Return 16 bytes for each image of a split, which two images share only if all their pixels are equal."""
    return [hashlib.blake2b(split.store[at].data, digest_size=16).digest() for at in split.index]
