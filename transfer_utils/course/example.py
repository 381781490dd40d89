"""A folder of example pictures for the notebook on the reader's own images, with the faults of collected pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from transfer_utils.data.images import encode_image
from transfer_utils.data.photo_digits import SIDE, paint, photo_halves, place, random_crop

FRAME = 48  # side of a picture in px; the digit stands somewhere in it
CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_example_pictures(
    folder: str | Path, digits: Sequence[int] = (2, 3, 5, 8), per_class: int = 60, seed: int = 0
) -> Path:
    """Write pictures of handwritten digits on photographs, with faults, into ``folder/<class>/``; return ``folder``.

    Each class has ``per_class`` pictures, PNG of 48 x 48 px. Two of them lie in the folder of the next class, two have
    an exact copy, and two a near-copy: brighter, shifted by a pixel and stored as JPEG. One lies in the folder of the
    next class as well, and of one there is a file that is cut off. The names do not show this. The same arguments give
    the same files.

    Args:
        folder: existing files with the same names are replaced.
        digits: the classes, each 0 to 9.
        per_class: at least 8.
        seed: of the pictures and of the faults.
    """
    rng = np.random.default_rng(seed)
    pictures = []  # pairs of a class name and the bytes of a file
    for digit, other in zip(digits, np.roll(digits, -1), strict=True):
        own, wrong = CLASS_NAMES[digit], CLASS_NAMES[other]
        images = _draw(digit, per_class, rng)
        mislabelled, copied, repeated, others = rng.permutation(per_class)[:8].reshape(4, 2)
        pictures += [(wrong if i in mislabelled else own, encode_image(image)) for i, image in enumerate(images)]
        pictures += [(own, encode_image(images[i])) for i in copied]
        pictures += [(own, encode_image(_retaken(images[i]), "JPEG")) for i in repeated]
        twice, cut = (encode_image(images[i]) for i in others)
        pictures += [(wrong, twice), (own, cut[: len(cut) // 2])]
    for number, i in enumerate(rng.permutation(len(pictures))):
        name, content = pictures[i]
        path = Path(folder) / name / f"IMG_{number:04}.{'png' if b'PNG' in content[:4] else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path(folder)


def _draw(digit: int, n: int, rng: np.random.Generator) -> list[Image.Image]:
    """Return ``n`` different handwritten examples of ``digit``, each on a crop of a photograph."""
    from sklearn.datasets import load_digits  # here: importing scikit-learn takes a second

    samples = load_digits()
    images = []
    for i in rng.choice(np.flatnonzero(samples.target == digit), n, replace=False):
        mask = np.zeros((FRAME, FRAME), np.float32)
        top, left = rng.integers(FRAME - SIDE + 1, size=2)
        mask[top : top + SIDE, left : left + SIDE] = place(samples.images[i], rng)
        images.append(Image.fromarray(paint(random_crop(photo_halves("right"), rng, FRAME), mask, rng)))
    return images


def _retaken(image: Image.Image) -> Image.Image:
    """Return the picture shifted by a pixel and brighter, as if taken a moment later."""
    shifted = np.pad(np.asarray(image)[:, 1:], ((0, 0), (0, 1), (0, 0)), mode="edge")
    return ImageEnhance.Brightness(Image.fromarray(shifted)).enhance(1.15)
