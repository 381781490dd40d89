"""The embedded dataset `photo-digits`, and the drawing functions that it shares with `photo-letters`.

An image is a 32x32 crop of one of scikit-learn's two sample photographs with one coloured glyph near its middle. The
target task (`photo-digits`) uses the right halves of the photographs, the source task (`photo-letters`) the left
halves, so the two share no background pixel. This module does not import TensorFlow.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

SIDE = 32
GLYPH_SIDES = (20, 28)
PHOTOS = ("china.jpg", "flower.jpg")
# Difference of 0-255 luma between a glyph and the mean of the pixels that it covers: people can read it, but a
# threshold does not separate it from the texture.
MIN_CONTRAST = 70.0
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def render_digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Render the dataset `photo-digits`: every handwritten digit of scikit-learn on a photograph.

    Each of the 1,797 digits (8x8 ink counts, 0-16; `sklearn.datasets.load_digits`, from the UCI "Optical Recognition of
    Handwritten Digits" set) is scaled to 20-28 px, coloured with contrast, and placed near the middle of a random crop
    of the right half of `china.jpg` or `flower.jpg`. The order is that of scikit-learn.

    Args:
        seed: of the crops, sizes, positions and colours; the same seed gives the same bytes.

    Returns:
        images, uint8 (1797, 32, 32, 3), 0-255 RGB; labels, int64 (1797,), 0-9; the ten class names "0" to "9".
    """
    from sklearn.datasets import load_digits  # here: importing scikit-learn takes a second

    rng = np.random.default_rng(seed)
    digits = load_digits()
    photos = photo_halves("right")
    images = np.empty((len(digits.images), SIDE, SIDE, 3), np.uint8)
    for image, counts in zip(images, digits.images, strict=True):
        image[:] = paint(random_crop(photos, rng), place(counts, rng), rng)
    return images, digits.target.astype(np.int64), [str(name) for name in digits.target_names]


@cache
def photo_halves(half: str) -> tuple[np.ndarray, ...]:
    """Return the "left" or the "right" half of each sample photograph, uint8 (427, 320, 3), read-only."""
    from sklearn.datasets import load_sample_image

    halves = [np.split(load_sample_image(name), 2, axis=1)[half == "right"].copy() for name in PHOTOS]
    for part in halves:
        part.flags.writeable = False
    return tuple(halves)


def random_crop(photos: tuple[np.ndarray, ...], rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Return a random crop of a random photograph as a view, uint8 (side, side, 3)."""
    photo = photos[rng.integers(len(photos))]
    top = rng.integers(photo.shape[0] - side + 1)
    left = rng.integers(photo.shape[1] - side + 1)
    return photo[top : top + side, left : left + side]


def place(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale 8x8 ink counts (0-16) to a mask of 20-28 px near the middle of an image: float32 (32, 32), 0-1."""
    side = int(rng.integers(GLYPH_SIDES[0], GLYPH_SIDES[1] + 1))
    ink = Image.fromarray(np.round(np.asarray(counts) * (255 / 16)).astype(np.uint8))
    glyph = np.asarray(ink.resize((side, side), Image.Resampling.BICUBIC))
    # Up to 2 px off the middle, as far as the glyph fits.
    top, left = ((SIDE - side) // 2 + rng.integers(-2, 3, size=2)).clip(0, SIDE - side)
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[top : top + side, left : left + side] = glyph / np.float32(255)
    return mask


def paint(background: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a glyph over a background in one random colour that contrasts with it.

    Args:
        background: (32, 32, 3), 0-255.
        mask: opacity of the glyph, (32, 32), 0-1, not all zero.
        rng: draws the colour; its luma differs by at least `MIN_CONTRAST` from the mean of the covered background.

    Returns:
        The image, uint8 (32, 32, 3), 0-255.
    """
    background = np.asarray(background, np.float32)
    covered = np.tensordot(mask, background, axes=2) / mask.sum() @ LUMA
    while True:
        colour = rng.uniform(0, 255, 3)
        if abs(colour @ LUMA - covered) >= MIN_CONTRAST:
            break
    alpha = mask[..., None]
    return np.rint(background * (1 - alpha) + colour.astype(np.float32) * alpha).astype(np.uint8)


def recoloured_crop(rng: np.random.Generator) -> np.ndarray:
    """Return a background of the source task, float64 (32, 32, 3), 0-255: a recoloured crop of a left half.

    Crops of 16 to 128 px are resized to 32 px and turned; half of them are inverted; the channels are permuted, scaled
    and shifted. Without this variety, the network would learn the two photographs.
    """
    side = int(np.exp(rng.uniform(np.log(16), np.log(128))))
    crop = random_crop(photo_halves("left"), rng, side)
    crop = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    crop = np.rot90(crop, rng.integers(4))
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    crop = crop[..., rng.permutation(3)]
    crop = 255 - crop if rng.random() < 0.5 else crop
    return (crop * rng.uniform(0.6, 1.4, 3) + rng.uniform(-50, 50, 3)).clip(0, 255)


def fractal_noise(rng: np.random.Generator) -> np.ndarray:
    """Return the other background, float64 (32, 32, 3), 0-255: coloured fractal noise, a sum of smooth octaves."""
    persistence = rng.uniform(0.3, 1.1)
    noise = np.zeros((3, SIDE, SIDE))
    for octave, k in enumerate((2, 4, 8, 16, 32)):
        values = rng.normal(0, 1, (3, k, k))
        noise += persistence**octave * (values if k == SIDE else np.stack([smooth(v, SIDE) for v in values]))
    noise /= noise.std()
    coloured = np.tensordot(noise, rng.normal(0, 1, (3, 3)), axes=(0, 0))
    return (rng.uniform(0, 255, 3) + rng.uniform(5, 45) * coloured).clip(0, 255)


def smooth(values: np.ndarray, side: int) -> np.ndarray:
    """Interpolate (k, k) values to (side, side) by cubic splines."""
    basis = _spline_basis(len(values), side)
    return basis @ values @ basis.T


@cache
def _spline_basis(k: int, side: int) -> np.ndarray:
    """Return the matrix, (side, k), that interpolates k values to `side` values by a cubic spline."""
    from scipy.interpolate import CubicSpline  # here: importing SciPy takes a while

    return CubicSpline(np.linspace(0, 1, k), np.eye(k))(np.linspace(0, 1, side))
