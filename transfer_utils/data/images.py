"""Decode image files of many formats to small RGB squares, and list the files of an image folder.

Image files are untrusted: their size is checked before they are decoded, and errors name the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from transfer_utils.errors import UserError
from transfer_utils.utils.text import printable

EXTENSIONS = (b".png", b".jpg", b".jpeg", b".bmp", b".gif", b".webp", b".tif", b".tiff")
SPLIT_FOLDERS = {
    b"train": "train",
    b"validation": "validation",
    b"valid": "validation",
    b"val": "validation",
    b"test": "test",
}

MAX_PIXELS = 64_000_000  # width x height; phone cameras reach 50 million
MAX_FILE_BYTES = 256 << 20

# Pillow detects the format from the content. PostScript is left out: Ghostscript would run the program in the file.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")


class BadImage(UserError):
    """A readable file that is not an image or is too large; the message names the file and the reason."""


@dataclass(frozen=True)
class ImageFiles:
    """The image files of one split, sorted by class and name; a million of them take about ten megabytes.

    Attributes:
        root: the folder that contains the class folders.
        folders: the name of each class folder, in the order of the class names.
        packed: for each class, its file names joined by zero bytes (which file names cannot contain).
        counts: int64 (n_classes,), the number of files of each class.
        digest: SHA-256, 64 hex digits, of the root and of the names, sizes and modification times of all files.
    """

    root: bytes
    folders: tuple[bytes, ...]
    packed: tuple[bytes, ...]
    counts: np.ndarray
    digest: str

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield the path and the label of each file."""
        for label, (folder, names) in enumerate(zip(self.folders, self.packed, strict=True)):
            for name in re.finditer(rb"[^\0]+", names):
                yield os.fsdecode(os.path.join(self.root, folder, name[0])), label


@dataclass(frozen=True)
class FolderListing:
    """The contents of an image folder.

    Attributes:
        class_names: sorted; the same for every split.
        splits: ``train`` and, if the folder has them, ``validation`` and ``test``.
        notes: sentences about files and folders that were ignored.
    """

    class_names: list[str]
    splits: dict[str, ImageFiles]
    notes: list[str] = field(default_factory=list)


def decode_image(source: str | os.PathLike | bytes, side: int, name: str = "") -> np.ndarray:
    """Decode one image file to a square of RGB pixels.

    The first frame is used, rotated by its EXIF orientation. Its largest centred square is cropped and resized: with
    antialiasing (Lanczos) to shrink it, bicubically to enlarge it. Transparent pixels are placed on white. Grey,
    palette and CMYK images become RGB; 16-bit values are scaled to 8 bits (32-bit integers are clipped to 16 bits
    first). Float images have no fixed range and are refused.

    Args:
        source: a path, or the content of a file.
        side: of the result, in pixels.
        name: used in error messages instead of the path.

    Returns:
        uint8 (side, side, 3), 0-255.

    Raises:
        BadImage: the file is empty, truncated, not an image, a float image, over 256 MiB, or over 64 megapixels.
        UserError: the file does not exist or cannot be read.
    """
    name = name or ("the image" if isinstance(source, bytes) else printable(os.fspath(source)))
    content = source if isinstance(source, bytes) else _read(source, name)
    if not content:
        raise BadImage(f"{name}: the file is empty")
    try:
        with _open(content) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadImage(f"{name}: {width} x {height} pixels; the limit is {MAX_PIXELS / 1e6:g} million")
            # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at no less than twice the size needed.
            image.draft(None, (2 * side, 2 * side))
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_square(_to_rgb(_centre(image)), side))
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # a damaged file can make the decoders raise any exception
        raise BadImage(f"{name}: {str(error) or type(error).__name__}") from error


def resize_images(images: np.ndarray, side: int) -> np.ndarray:
    """Resize square RGB images, uint8 (n, old, old, 3), to uint8 (n, side, side, 3) as ``decode_image`` does."""
    if images.shape[1] == side:
        return images
    resized = np.empty((len(images), side, side, 3), np.uint8)
    for target, image in zip(resized, images, strict=True):
        target[:] = _square(Image.fromarray(image), side)
    return resized


def list_image_folder(root: str | os.PathLike) -> FolderListing:
    """List the image files of ``<split>/<class>/*`` or ``<class>/*``, sorted by class and name.

    The first layout needs a folder ``train`` that contains folders; ``test`` and ``validation`` (or ``valid``,
    ``val``) are optional. In the second layout all files belong to ``train``. PNG, JPEG, BMP, GIF, WebP and TIFF files
    are listed, by their extensions. Hidden files are ignored; links that lead out of ``root`` are ignored and counted
    in ``notes``.

    Raises:
        UserError: ``root`` is not a readable folder, has fewer than two class folders, or has a class without
            training images.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        problem = "which is not a folder" if root.exists() else "which does not exist"
        raise UserError(f"data_dir must be an image folder, got {printable(str(root))!r}, {problem}.")
    try:
        return _list(os.path.realpath(os.fsencode(root)))
    except OSError as error:
        raise UserError(f"The image folder {printable(str(root))!r} cannot be read: {error.strerror}.") from error


def _open(content: bytes) -> Image.Image:
    """Open an image without decoding it, as ``Image.open`` does.

    ``Image.open`` itself warns about large images, or refuses them without a width and height.
    """
    Image.init()
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        if factory and (accept is None or accept(content[:16]) is True):
            try:
                return factory(io.BytesIO(content), "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # the content is of another format
    raise ValueError("not a picture that can be read")


def _read(path: str | os.PathLike, name: str) -> bytes:
    if not os.path.isfile(path):
        raise UserError(f"{name}: there is no such image file.")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise BadImage(f"{name}: {size >> 20} MiB; the limit is {MAX_FILE_BYTES >> 20} MiB")
            return file.read(size)  # not read(MAX_FILE_BYTES), which would allocate that much memory
    except OSError as error:
        raise UserError(f"{name}: the file cannot be read: {error.strerror}.") from error


def _centre(image: Image.Image) -> Image.Image:
    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return image.crop((left, top, left + edge, top + edge))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no fixed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255. 65535 / 257 = 255, and adding half of 257 rounds.
        levels = (np.clip(np.asarray(image), 0, 65535).astype(np.uint32) + 128) // 257
        image = Image.fromarray(levels.astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _square(image: Image.Image, side: int) -> Image.Image:
    shrinks = image.width > side
    return image.resize((side, side), Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, reducing_gap=3)


def _list(root: bytes) -> FolderListing:
    links: list[bytes] = []
    notes: list[str] = []
    places = _split_places(root, links, notes)
    folders = {split: _folders(place, root, links) for split, place in places.items()}
    classes = sorted(set().union(*folders.values()))
    if not classes:
        layouts = "<split>/<class>/* or <class>/*"
        raise UserError(f"The image folder {printable(root)} holds no class folders; its layout must be {layouts}.")
    if len(classes) == 1:
        raise UserError(f"{printable(root)} must hold at least two classes, got only {printable(classes[0])!r}.")
    splits = {split: _list_split(places[split], classes, folders[split], root, links) for split in places}
    for label in np.flatnonzero(splits["train"].counts == 0):
        where = printable(os.path.join(places["train"], classes[label]))
        raise UserError(f"Class {printable(classes[label])!r} has no images to train on: there are none in {where}.")
    for split, listed in splits.items():
        if not len(listed):
            raise UserError(f"The {split} split has no images: there are none in {printable(places[split])}.")
    if links:
        count = "1 link that leads" if len(links) == 1 else f"{len(links)} links that lead"
        notes.append(f"Ignored {count} out of the image folder, for example {printable(links[0])}.")
    return FolderListing([printable(name) for name in classes], splits, notes)


def _split_places(root: bytes, links: list[bytes], notes: list[str]) -> dict[str, bytes]:
    """Return the folder of each split, or ``root`` as ``train`` if it contains the class folders itself."""
    folders = _folders(root, root, links)
    places: dict[str, bytes] = {}
    for name, place in folders.items():
        split = SPLIT_FOLDERS.get(name.lower())
        if split in places:
            names = f"{printable(os.path.basename(places[split]))} and {printable(name)}"
            raise UserError(f"{printable(root)} must hold one folder for the {split} split, got {names}.")
        if split:
            places[split] = place
    if "train" not in places or not _folders(places["train"], root, []):
        links.clear()  # they are collected again when the classes are listed
        return {"train": root}
    others = [name for name in folders if name.lower() not in SPLIT_FOLDERS]
    notes += [f"The folder {printable(name)!r} beside the splits was not read." for name in others]
    return places


def _folders(place: bytes, root: bytes, links: list[bytes]) -> dict[bytes, bytes]:
    """Return the path of each visible folder in ``place``; add links that lead out of ``root`` to ``links``."""
    folders = {}
    with os.scandir(place) as entries:
        for entry in entries:
            if not entry.name.startswith(b".") and entry.is_dir():
                if _leads_out(entry, root):
                    links.append(entry.path)
                else:
                    folders[entry.name] = entry.path
    return dict(sorted(folders.items()))


def _leads_out(entry: os.DirEntry, root: bytes) -> bool:
    return entry.is_symlink() and not os.path.realpath(entry.path).startswith(os.path.join(root, b""))


def _list_split(
    place: bytes, classes: list[bytes], folders: dict[bytes, bytes], root: bytes, links: list[bytes]
) -> ImageFiles:
    digest, packed, counts = hashlib.sha256(place), [], []
    for name in classes:
        digest.update(b"\0\0" + name)
        names = _image_names(folders[name], root, links) if name in folders else []
        for file in names:
            status = os.stat(os.path.join(folders[name], file))
            digest.update(b"\0%b\0%d %d" % (file, status.st_size, status.st_mtime_ns))
        packed.append(b"\0".join(names))
        counts.append(len(names))
    return ImageFiles(place, tuple(classes), tuple(packed), np.array(counts, np.int64), digest.hexdigest())


def _image_names(folder: bytes, root: bytes, links: list[bytes]) -> list[bytes]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b".") or not entry.name.lower().endswith(EXTENSIONS):
                continue
            if _leads_out(entry, root):
                links.append(entry.path)
            elif entry.is_file():
                names.append(entry.name)
    return sorted(names)
