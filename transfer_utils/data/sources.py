"""The sources of images: CIFAR-10, an image folder, or the embedded digits on photographs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.cifar10 import download_cifar10, read_batches
from transfer_utils.data.image_folder import FolderListing, list_image_folder
from transfer_utils.data.image_store import DECODER, Chunk, ImageStore, check_room, decode_folder, open_or_build
from transfer_utils.data.images import resize_images
from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import counted, printable

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_TRAIN = 50_000  # the first 50,000 of the 60,000 images are the training images
CIFAR10_SIDE = 32


@dataclass(frozen=True)
class Source:
    """The images of a dataset before they are split.

    Attributes:
        description: for captions.
        class_names: in the order of the labels.
        parts: ``train`` and, if the source has them, ``validation`` and ``test``.
        notes: sentences about files that were ignored or skipped.
    """

    description: str
    class_names: list[str]
    parts: dict[str, ImageStore]
    notes: list[str] = field(default_factory=list)


def load_source(config: RunConfig, progress: Progress | None = None) -> Source:
    """Return the images of ``config.dataset`` at ``config.stored_size``, from the cache if they are in it.

    Args:
        progress: called with a description, the number done and the total.

    Raises:
        UserError: ``data_dir`` is not a usable image folder, or CIFAR-10 is neither cached nor available.
    """
    if config.data_dir:
        return _from_folder(config, progress)
    if config.dataset == "photo-digits":
        return _photo_digits(config.stored_size)
    return _cifar10(config, progress)


def _from_folder(config: RunConfig, progress: Progress | None) -> Source:
    listing = list_image_folder(config.data_dir)
    if config.dataset == "cifar10" and listing.class_names != CIFAR10_CLASSES:
        names = ", ".join(listing.class_names[:10])
        raise UserError(
            f"data_dir must hold the ten classes of CIFAR-10, got {names}. Use --dataset folder for other classes."
        )
    parts = {
        split: decode_folder(listed, config.stored_size, _stores(config), progress)
        for split, listed in listing.splits.items()
    }
    notes = list(listing.notes)
    for split, store in parts.items():
        if store.skipped_at:
            named = "; ".join(store.skipped) + ("; ..." if len(store.skipped_at) > len(store.skipped) else "")
            skipped = counted(len(store.skipped_at), "file")
            notes.append(f"Skipped {skipped} of the {split} split that could not be decoded: {named}.")
    return Source(_describe(config, listing), listing.class_names, parts, notes)


def _describe(config: RunConfig, listing: FolderListing) -> str:
    if config.dataset == "folder":
        return f"{printable(config.dataset_name)}, image folder"
    # JPEG compression lowers the accuracy a little, so captions must name it.
    jpeg = any(path.lower().endswith((".jpg", ".jpeg")) for listed in listing.splits.values() for path, _ in listed)
    return "CIFAR-10, JPEG copy" if jpeg else "CIFAR-10, image folder"


def _photo_digits(side: int) -> Source:
    from sklearn.model_selection import train_test_split  # importing scikit-learn takes a second

    from transfer_utils.data.photo_digits import render_digits

    images, labels, class_names = render_digits()
    images = resize_images(images, side)
    # The test images do not depend on the seed of the run, so that runs with different seeds can be compared.
    train, test = train_test_split(np.arange(len(labels)), test_size=0.3, random_state=0, stratify=labels)
    parts = {}
    for split, rows in (("train", train), ("test", test)):
        digest = hashlib.sha256(images[rows].tobytes() + labels[rows].astype("<i8").tobytes())
        parts[split] = ImageStore(images[rows], labels[rows], digest.hexdigest())
    return Source("photo-digits", class_names, parts)


def _cifar10(config: RunConfig, progress: Progress | None) -> Source:
    folder, side = _stores(config), config.stored_size
    store = open_or_build(folder / f"cifar10-{CIFAR10_SIDE}-v{DECODER}", functools.partial(_read_cifar10, progress))
    if side != CIFAR10_SIDE:
        resized = functools.partial(_resized, store, side, folder, progress)
        store = open_or_build(folder / f"cifar10-{side}-v{DECODER}", resized)
    rows = {"train": slice(None, CIFAR10_TRAIN), "test": slice(CIFAR10_TRAIN, None)}
    parts = {}
    for split, part in rows.items():  # whose positions both begin at 0
        digest = hashlib.sha256(f"{store.sha256} {split}".encode()).hexdigest()
        parts[split] = replace(store, images=store.images[part], labels=store.labels[part], sha256=digest)
    return Source("CIFAR-10", CIFAR10_CLASSES, parts)


def _stores(config: RunConfig) -> Path:
    return files.cache_folder(config.cache_dir) / "images"


def _resized(store: ImageStore, side: int, folder: Path, progress: Progress | None) -> Iterator[Chunk]:
    n = len(store.images)
    check_room(folder, n, side)
    for start in range(0, n, 1000):
        stop = min(start + 1000, n)
        yield resize_images(store.images[start:stop], side), store.labels[start:stop], {}
        if progress:
            progress("Resizing images", stop, n)


def _read_cifar10(progress: Progress | None) -> Iterator[Chunk]:
    for images, labels in read_batches(download_cifar10(progress)):
        yield images, labels, {}
