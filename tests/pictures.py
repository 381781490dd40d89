"""Small pictures and zip files, as somebody may upload them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_utils.teach.collection import Collection, create_collection
from transfer_utils.teach.messages import REQUEST_NAME, Upload, write_model

SIDE = 40


def picture(kind: str = "cup", number: int = 0, form: str = "PNG") -> bytes:
    """Return an image file of 40 px: stripes for a cup, a disc for a plate; no two of different numbers look alike."""
    rng = np.random.default_rng([sum(kind.encode()), number])
    down, across = np.mgrid[:SIDE, :SIDE]
    if kind == "cup":
        angle = rng.uniform(0, np.pi)  # and not upright, as stripes of one direction look alike
        along = down * np.sin(angle) + across * np.cos(angle)
        shape = np.sin(along * rng.uniform(0.6, 1.4) + rng.uniform(0, 6)) > 0
    else:
        shape = np.hypot(down - rng.integers(10, 30), across - rng.integers(10, 30)) < rng.integers(8, 14)
    pixels = np.where(shape[..., None], rng.integers(150, 256, 3), rng.integers(0, 106, 3))
    pixels = pixels + rng.integers(-30, 30, (SIDE, SIDE, 3))
    return encoded(Image.fromarray(pixels.clip(0, 255).astype("uint8")), form)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """Return a PNG file of a few bytes that declares a picture of ``side`` x ``side`` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zipped(files: Mapping[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def new_collection(
    runs: Path, classes: tuple[str, ...] = ("cup", "plate"), n: int = 0, name: str = "kitchen"
) -> Collection:
    """Return a collection of ``n`` pictures in each class, which ``take_upload`` has kept."""
    from transfer_utils.data.uploads import take_upload

    collection = create_collection(runs, name, classes)
    for kind in classes:
        if n:
            take_upload(uploaded(collection, kind, {f"{i}.png": picture(kind, i) for i in range(n)}))
    return collection


def uploaded(collection: Collection, class_name: str, files: Mapping[str, bytes]) -> Path:
    """Write files as the page does before it starts the command; return their folder."""
    folder = collection.beside / f"upload-{class_name}"
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(files.values()):
        (folder / str(number)).write_bytes(content)
    write_model(folder / REQUEST_NAME, Upload(class_name=class_name, names=list(files)))
    return folder
