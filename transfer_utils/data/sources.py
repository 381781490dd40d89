"""Where images come from: CIFAR-10 through Keras, an image folder, or the embedded digits on photographs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.data.image_store import DECODER, Chunk, ImageStore, decode_folder, open_or_build
from transfer_utils.data.images import FolderListing, list_image_folder, resize_images
from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.progress import Progress

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_TRAIN = 50_000  # of the 60,000 images, the first so many are the training images
CIFAR10_SIDE = 32
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_ARCHIVE = "cifar-10-batches-py-target_archive"  # the name under which Keras keeps that file

ATTEMPTS = 3
FIRST_PAUSE = 1.0  # seconds after the first failure; each later pause is twice as long
MAX_SILENCE_SECONDS = 30.0  # seconds without an answer from the server

DIGITS_TEST_SHARE = 0.3


@dataclass(frozen=True)
class Source:
    """Images as they come, before anything is split off.

    Attributes:
        description: what a caption calls them.
        class_names: in the order of the labels.
        parts: ``train`` and, where the source has them, ``validation`` and ``test``.
        notes: sentences about what was left out.
    """

    description: str
    class_names: list[str]
    parts: dict[str, ImageStore]
    notes: list[str] = field(default_factory=list)


def load_source(config: RunConfig, progress: Progress | None = None) -> Source:
    """Return the images that ``config`` names at its ``stored_size``, from the store on disk where they are in it.

    Raises:
        UserError: a folder that is none or has no usable pictures, or CIFAR-10 is neither stored nor to be had.
    """
    if config.data_dir:
        return _from_folder(config, progress)
    if config.dataset == "photo-digits":
        return _photo_digits(config.stored_size)
    return _cifar10(config, progress)


def _from_folder(config: RunConfig, progress: Progress | None) -> Source:
    listing = list_image_folder(config.data_dir)
    if config.dataset == "cifar10" and listing.class_names != CIFAR10_CLASSES:
        found = ", ".join(listing.class_names[:10])
        raise UserError(f"data_dir must hold the ten classes of CIFAR-10, got {found}. For others: --dataset folder.")
    parts = {
        split: decode_folder(listed, config.stored_size, _stores(config), progress)
        for split, listed in listing.splits.items()
    }
    notes = list(listing.notes)
    for split, store in parts.items():
        if store.n_skipped:
            named = "; ".join(store.skipped) + ("; ..." if store.n_skipped > len(store.skipped) else "")
            notes.append(f"Skipped {store.n_skipped} files of the {split} split that could not be decoded: {named}.")
    return Source(_describe(config, listing), listing.class_names, parts, notes)


def _describe(config: RunConfig, listing: FolderListing) -> str:
    if config.dataset == "folder":
        return f"{config.dataset_name}, image folder"
    # JPEG costs some accuracy, so a figure measured on such a copy has to say so.
    jpeg = any(path.lower().endswith((".jpg", ".jpeg")) for listed in listing.splits.values() for path, _ in listed)
    return "CIFAR-10, JPEG copy" if jpeg else "CIFAR-10, image folder"


def _photo_digits(side: int) -> Source:
    from sklearn.model_selection import train_test_split  # importing scikit-learn takes a second

    from transfer_utils.data.photo_digits import render_digits

    images, labels, class_names = render_digits()
    images = resize_images(images, side)
    # The same test images whatever the seed of the run, so that runs of several seeds can be compared on them.
    train, test = train_test_split(np.arange(len(labels)), test_size=DIGITS_TEST_SHARE, random_state=0, stratify=labels)
    parts = {split: _in_memory(images[rows], labels[rows]) for split, rows in (("train", train), ("test", test))}
    return Source("photo-digits", class_names, parts)


def _in_memory(images: np.ndarray, labels: np.ndarray) -> ImageStore:
    digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes())
    return ImageStore(images, labels, digest.hexdigest(), 0, [])


def _cifar10(config: RunConfig, progress: Progress | None) -> Source:
    folder, side = _stores(config), config.stored_size
    store = open_or_build(
        folder / f"cifar10-{CIFAR10_SIDE}-v{DECODER}", CIFAR10_SIDE, functools.partial(_fetch_cifar10, progress)
    )
    if side != CIFAR10_SIDE:
        resized = functools.partial(_resized, store, side, progress)
        store = open_or_build(folder / f"cifar10-{side}-v{DECODER}", side, resized)
    rows = {"train": slice(None, CIFAR10_TRAIN), "test": slice(CIFAR10_TRAIN, None)}
    parts = {
        split: replace(store, images=store.images[part], labels=store.labels[part]) for split, part in rows.items()
    }
    return Source("CIFAR-10", CIFAR10_CLASSES, parts)


def _stores(config: RunConfig) -> Path:
    return files.cache_folder(config.cache_dir) / "images"


def _resized(store: ImageStore, side: int, progress: Progress | None) -> Iterator[Chunk]:
    n = len(store.images)
    for start in range(0, n, 1000):
        stop = min(start + 1000, n)
        yield resize_images(store.images[start:stop], side), store.labels[start:stop], []
        if progress:
            progress("Resizing images", stop, n)


def _fetch_cifar10(progress: Progress | None) -> Iterator[Chunk]:
    """Yield the training and then the test images of CIFAR-10 from Keras's own copy, downloaded if it is not there.

    Keras checks the archive's SHA-256 each time and unpacks only what stays inside its folder.
    """
    from keras.datasets import cifar10

    place = files.keras_home() / "datasets" / CIFAR10_ARCHIVE
    # Keras prints its own progress bar; it must not mix with what a command prints.
    with contextlib.redirect_stdout(sys.stderr if progress else io.StringIO()), _impatient():
        for attempt in range(ATTEMPTS):
            try:
                with files.lock(place):  # Keras unpacks in place, also when the archive was there already
                    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
                break
            except Exception as error:  # Keras raises a bare Exception where a download fails
                if attempt == ATTEMPTS - 1:
                    raise UserError(_how_to_get_cifar10(place, error)) from error
                time.sleep(FIRST_PAUSE * 2**attempt)
    yield x_train, y_train[:, 0].astype(np.int64), []
    yield x_test, y_test[:, 0].astype(np.int64), []


def _how_to_get_cifar10(place: Path, error: Exception) -> str:
    return (
        f"CIFAR-10 is not on this machine and could not be downloaded ({error}). What is missing is the file "
        f"cifar-10-python.tar.gz (170 MB): fetch {CIFAR10_URL} where there is a network and put it, still packed, "
        f"in the folder {place.parent} under the name {place.name}, by which Keras looks for it. Or name a folder of "
        "the images, <split>/<class>/*, with --data_dir; or take the images that need no network: --preset offline."
    )


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let no connection wait for ever, as Python's do by default."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(MAX_SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
