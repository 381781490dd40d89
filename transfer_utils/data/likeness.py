"""Pictures that look alike without being the same file: found by a hash, or as shifted against each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from transfer_utils.data.images import resize_images

# Two pictures look alike if at most so many of the 64 bits of their difference hashes differ and their thumbnails
# correlate at least so much. The hash is fast to compare; the correlation rejects plain pictures, whose hashes agree.
MAX_BITS = 14
MIN_CORRELATION = 0.9
MAX_PAIRS = 200_000  # pairs that an inspection is given at most, and that are connected at a time
COMPARED = 4_000_000  # pairs of pictures compared at a time, 4 to 8 bytes each

# They look alike too if their grey levels, shifted against each other by at most so many of 32 pixels, correlate even
# more. This takes long, so that only the pictures most like each in coarse grey levels are compared with it, and those
# first at half the size. docs/inspection.md has what both ways find.
REACH, MIN_SHIFTED, MIN_HALF_SIZE = 4, 0.96, 0.8
NEIGHBOURS, CELLS = 10, 8
MIN_CONTRAST = 4.0  # grey levels, the standard deviation below which a picture is plain
VERIFIED = 2_000  # pairs looked at more closely at a time

LOOK_SIDE, THUMBNAIL_SIDE = 32, 16  # pixels


class Look(NamedTuple):
    """What is compared of a picture.

    Attributes:
        bits: its difference hash, 64 bits: whether each of 8 x 8 places is lighter than its left neighbour.
        thumbnail: float32 (256,), 16 x 16 grey levels with mean 0 and length 1; 0 for a plain picture.
        grey: uint8 (32, 32), its grey levels.
    """

    bits: int
    thumbnail: np.ndarray
    grey: np.ndarray


def look_of(pixels: np.ndarray) -> Look:
    """Return what is compared of a picture, uint8 (32, 32, 3).

    The hash is dHash (Krawetz 2013, hackerfactor.com): brightness and contrast do not change it.
    """
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")
    levels = np.asarray(grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX), np.float32).ravel()
    levels = levels - levels.mean()
    length = float(np.linalg.norm(levels))
    return Look(bits, levels / length if length > 1 else np.zeros_like(levels), np.asarray(grey))


def similar_pairs(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Return the pairs of positions of pictures that look alike, at most ``MAX_PAIRS``."""
    return itertools.islice(_all_pairs(looks), MAX_PAIRS)


def groups_of_images(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return a number for each image, uint8 (side, side, 3): int (n,), from 0 on, equal for images that look alike."""
    looks = [look_of(resize_images(image[None], LOOK_SIDE)[0]) for image in images]
    return connected(_all_pairs(looks), len(looks))  # all: a picture without its pair would be in a group of its own


def connected(pairs: Iterable[tuple[int, int]], n: int) -> np.ndarray:
    """Return a number for each of ``n`` positions, int (n,), equal for those that pairs of positions connect."""
    import scipy.sparse

    numbers, pairs = np.arange(n), iter(pairs)
    while part := list(itertools.islice(pairs, MAX_PAIRS)):  # in parts: of pictures that all look alike, there are many
        edges = numbers[np.array(part, np.int64)]
        graph = scipy.sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
        numbers = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][numbers]
    return np.unique(numbers, return_inverse=True)[1]


def _all_pairs(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    grey = np.array([look.grey for look in looks])
    return itertools.chain(_same_hash(looks), _shifted(grey))


def _same_hash(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    bits = np.array([look.bits for look in looks], np.uint64)
    thumbnails = np.array([look.thumbnail for look in looks])
    rows = max(1, COMPARED // len(bits))
    for start in range(0, len(bits), rows):
        differing = np.bitwise_count(bits[start : start + rows, None] ^ bits[None, start:])
        first, other = np.nonzero(np.triu(differing <= MAX_BITS, k=1))
        # In parts: of pictures that all look alike, the thumbnails of all pairs would take gigabytes.
        for at in range(0, len(first), VERIFIED):
            a, b = start + first[at : at + VERIFIED], start + other[at : at + VERIFIED]
            alike = (thumbnails[a] * thumbnails[b]).sum(axis=1) >= MIN_CORRELATION
            yield from zip(a[alike].tolist(), b[alike].tolist(), strict=True)


def _shifted(grey: np.ndarray) -> Iterator[tuple[int, int]]:
    half = _cells(grey, LOOK_SIDE // 2)
    pairs = _nearest(_cells(grey, CELLS).reshape(len(grey), CELLS * CELLS))
    for start in range(0, len(pairs), VERIFIED):
        part = pairs[start : start + VERIFIED]
        part = part[_correlation(half[part[:, 0]], half[part[:, 1]], REACH // 2) >= MIN_HALF_SIZE]
        alike = _correlation(grey[part[:, 0]], grey[part[:, 1]], REACH) >= MIN_SHIFTED
        yield from map(tuple, part[alike].tolist())


def _cells(grey: np.ndarray, side: int) -> np.ndarray:
    """Return the means of ``side`` x ``side`` cells of pictures (n, 32, 32), float32 (n, side, side)."""
    size = LOOK_SIDE // side
    return grey.reshape(-1, side, size, side, size).mean(axis=(2, 4), dtype=np.float32)


def _nearest(coarse: np.ndarray) -> np.ndarray:
    """Return the pairs of positions, int (m, 2), the smaller first, of which one is among the other's ten nearest."""
    unit = coarse - coarse.mean(axis=1, keepdims=True)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1)
    n, pairs = len(unit), [np.empty((0, 2), np.int64)]
    neighbours, rows = min(NEIGHBOURS, n - 1), max(1, COMPARED // n)
    for start in range(0, n if neighbours else 0, rows):
        here = np.arange(start, min(start + rows, n))
        alike = unit[here] @ unit.T
        alike[here - start, here] = -np.inf  # not itself
        others = np.argpartition(-alike, neighbours - 1, axis=1)[:, :neighbours]
        pairs.append(np.column_stack([here.repeat(neighbours), others.ravel()]))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _correlation(a: np.ndarray, b: np.ndarray, reach: int) -> np.ndarray:
    """Return the highest correlation of pictures ``a`` and ``b``, (m, side, side), over their shifts: float32 (m,).

    They are shifted by up to ``reach`` pixels in both directions. It is 0 where what overlaps is plain.
    """
    a, b, side = a.astype(np.float32), b.astype(np.float32), a.shape[1]
    best = np.zeros(len(a), np.float32)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            x = _centred(a[:, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)])
            y = _centred(b[:, max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)])
            x_power, y_power, product = (np.einsum("ijk,ijk->i", *pair) for pair in ((x, x), (y, y), (x, y)))
            product /= np.sqrt(np.maximum(x_power * y_power, 1e-9))
            seen = np.minimum(x_power, y_power) > MIN_CONTRAST**2 * x.shape[1] * x.shape[2]
            np.maximum(best, product, out=best, where=seen)
    return best


def _centred(pictures: np.ndarray) -> np.ndarray:
    return pictures - pictures.mean(axis=(1, 2), keepdims=True)
