"""The source task `photo-letters`: printed letters on photographs, on which the offline backbone is pretrained.

Letters get the strokes of scikit-learn's digits (a 32x32 bitmap, counted in 8x8 blocks) and are painted by the same
code as the target task, `photo-digits`. The two tasks share no class, no glyph and no crop of a photograph.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import numpy as np

from transfer_utils.data.photo_digits import SIDE, fractal_noise, paint, place, recoloured_crop, smooth

# Each string is one class, named by its first letter. Letters of the same shape at the same height share a class, and
# Greek capitals that look Latin are left out. So are O, o, I, l, omicron and iota, which look like 0 and 1.
LATIN = "A B Cc D E F G H J K L M N P Q R Ss T U Vvν Ww Xx Y Zz a b d e f g h i j k m n pρ q r t u y æ ð þ ß"
GREEK = "Γ Δ Θ Λ Ξ Π Σ Φ Ψ Ω α β γ δ ε ζ η θ κ λ μ ξ π σ ς τ υ φ χ ψ ω"
CLASSES = (*LATIN.split(), *GREEK.split())
FONTS = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, slant in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for style in ("", "-Bold", f"-{slant}", f"-Bold{slant}")
)
CANVAS = 96  # side of a letter's distance map
LETTER = 64  # longer side of the letter in it
HALF_STROKES = (3.5, 6.5)  # px; the range in scikit-learn's digits at this size
NOISE_SHARE = 0.4  # of the source backgrounds; the rest are crops of photographs


def render_letters(
    n: int, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Render `n` images of the source task `photo-letters`.

    Each shows a letter of a random class and DejaVu font (from matplotlib), distorted by an affine map and an elastic
    field (Simard et al. 2003, "Best practices for convolutional neural networks", section 2), with a random stroke
    width and a contrasting colour. The background is a recoloured crop of a photograph's left half or, for four images
    in ten, fractal noise. For one seed, a smaller set is the beginning of a larger one.

    Args:
        n: number of images, at least 1.
        seed: the same seed gives the same bytes.
        progress: called with ("letters", done, n) every 500 images and at the end.

    Returns:
        images, uint8 (n, 32, 32, 3), 0-255 RGB; labels, int64 (n,), 0-76; the 77 class names.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((n, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(n, np.int64)
    for i in range(n):
        labels[i] = rng.integers(len(CLASSES))
        mask = place(_draw_letter(CLASSES[labels[i]], rng), rng)
        background = fractal_noise(rng) if rng.random() < NOISE_SHARE else recoloured_crop(rng)
        images[i] = paint(background, mask, rng)
        if progress and (i + 1 == n or i % 500 == 499):
            progress("letters", i + 1, n)
    return images, labels, [letters[0] for letters in CLASSES]


def _draw_letter(letters: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one of `letters` with strokes like those of scikit-learn's digits: ink counts, uint8 (8, 8), 0-16."""
    while True:
        distance, half_stroke = _distance_map(letters[rng.integers(len(letters))], FONTS[rng.integers(len(FONTS))])
        # Moving the outline along the distance map sets the stroke width. `half_stroke` measures the stems, but serifs
        # are thinner, so a stroke loses at most 1.5 px on each side.
        inset = min(half_stroke - rng.uniform(*HALF_STROKES), 1.5)
        ink = _bend(distance, rng) > inset
        if ink.any():
            return _count_down(ink)


@cache
def _distance_map(letter: str, font: str) -> tuple[np.ndarray, float]:
    """Return the signed distance (px) to a letter's outline, float32 (96, 96), positive inside, and half its stroke."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont
    from scipy.ndimage import distance_transform_edt

    face = ImageFont.truetype(os.path.join(get_data_path(), "fonts", "ttf", font), 2 * LETTER)
    drawing = Image.new("L", (6 * LETTER, 6 * LETTER))
    ImageDraw.Draw(drawing).text((2 * LETTER, LETTER), letter, fill=255, font=face)
    drawing = drawing.crop(drawing.getbbox())
    scale = LETTER / max(drawing.size)
    drawing = drawing.resize([max(1, round(side * scale)) for side in drawing.size], Image.Resampling.BOX)
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(drawing, ((CANVAS - drawing.width) // 2, (CANVAS - drawing.height) // 2))
    inside = np.asarray(canvas) > 127
    distance = np.where(inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside))
    # The mean distance across a straight stroke is half of its half-width.
    return distance.astype(np.float32), float(2 * distance[inside].mean())


def _bend(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distort a letter's distance map by a random affine map and a smooth elastic field: float32 (96, 96)."""
    from scipy.ndimage import map_coordinates

    turn, shear = rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.35)
    width = np.exp(rng.uniform(-0.1, 0.7))  # of the inverse map: above 1 makes a letter narrower, as digits are
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.array([[1, 0], [shear * width, width]]) @ rotation
    # The canvas is sampled 10 % wider, so that a turned letter fits.
    grid = (np.indices((CANVAS, CANVAS)) - (CANVAS - 1) / 2).reshape(2, -1) * 1.1
    field = np.stack([smooth(rng.normal(0, 1, (5, 5)), CANVAS) for _ in range(2)]).reshape(2, -1)
    coordinates = matrix @ grid + (CANVAS - 1) / 2 + field * rng.uniform(0, 4)
    bent = map_coordinates(distance, coordinates, order=1, mode="nearest")
    return bent.reshape(CANVAS, CANVAS)


def _count_down(ink: np.ndarray) -> np.ndarray:
    """Scale ink so that its longer side is 32 px, and count it in 4x4 blocks: uint8 (8, 8), 0-16.

    scikit-learn's digits were made in this way (Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten
    Digits").
    """
    from PIL import Image

    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = SIDE / max(box.shape)
    height, width = (max(1, round(side * scale)) for side in box.shape)
    small = np.asarray(Image.fromarray(box.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)) > 127
    bitmap = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    bitmap[top : top + height, left : left + width] = small
    return bitmap.reshape(8, SIDE // 8, 8, SIDE // 8).sum((1, 3), dtype=np.uint8)
