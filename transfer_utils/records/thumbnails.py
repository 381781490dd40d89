"""Thumbnails of the test images of a run, kept in one small file beside its record, so that mistakes can be looked at.

The images themselves may lie anywhere, or be gone. A reader of records needs neither them nor the code that reads them.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_utils.records.salvage import reading_arrays
from transfer_utils.utils.files import replacing
from transfer_utils.utils.machine import available_cores

THUMBNAILS_NAME = "thumbnails.npz"
LONG_SIDE, QUALITY = 96, 85  # pixels at most; of lossy WebP, whose files of 32 px are half as large as JPEG's
MAX_KEPT_BYTES = 2 << 20  # of the thumbnails of one run: about 4,500 of 32 px
MAX_UNPACKED_BYTES = 64 << 20
READ_AT_ONCE = 256  # images read at a time


def save_thumbnails(path: Path, positions: Iterable[int], take: Callable[[np.ndarray], np.ndarray]) -> int:
    """Write thumbnails of these images to ``path`` atomically, until they fill 2 MiB, and return how many were written.

    Args:
        positions: of the images in their split, the most important first.
        take: returns the images at some positions, uint8 (m, side, side, 3), 0-255.
    """
    order, kept, size = np.fromiter(positions, np.int64), [], 0
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(order), READ_AT_ONCE):
            kept += pool.map(_encoded, take(order[start : start + READ_AT_ONCE]))
            size = sum(map(len, kept))
            if size > MAX_KEPT_BYTES:
                break
    while size > MAX_KEPT_BYTES:
        size -= len(kept.pop())
    with replacing(path) as temporary, open(temporary, "wb") as file:
        ends = np.cumsum([len(content) for content in kept], dtype="<i8")
        np.savez(
            file, positions=order[: len(kept)].astype("<i4"), ends=ends, content=np.frombuffer(b"".join(kept), np.uint8)
        )
    return len(kept)


def load_thumbnails(path: Path) -> dict[int, bytes]:
    """Return the WebP files of thumbnails by the positions of their images in the test split.

    Raises:
        UnreadableRecord: the file is damaged, too large, or not a file of thumbnails.
    """
    with reading_arrays(path, "thumbnails", MAX_UNPACKED_BYTES) as arrays:
        positions, ends, content = (arrays[name] for name in ("positions", "ends", "content"))
        edges, packed = [0, *ends.tolist()], content.tobytes()
        if edges != sorted(edges) or edges[-1] != len(packed):
            raise ValueError("ends and content do not fit together")
        files = (packed[start:end] for start, end in itertools.pairwise(edges))
        return dict(zip(positions.tolist(), files, strict=True))


def _encoded(image: np.ndarray) -> bytes:
    thumbnail, file = Image.fromarray(image), io.BytesIO()
    thumbnail.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    thumbnail.save(file, "WEBP", quality=QUALITY)
    return file.getvalue()
