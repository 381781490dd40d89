"""The offline source task `photo-letters`: printed letters on photographs, and the backbone pretrained on them.

Letters are brought to the strokes of scikit-learn's digits (a bitmap 32 px high counted down to 8x8), then painted by
the same code as the target task, `scenes.py`. Nothing else is shared: no class, no glyph, no crop of a photograph.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from transfer_utils.files import sha256_of, write_json
from transfer_utils.scenes import SIDE, fractal_noise, paint, place, recoloured_crop, smooth

# Each string is one class and names it by its first letter. Letters that are the same shape at the same height share a
# class (so Greek capitals that look Latin are not drawn). O, o, I, l, omicron and iota are left out: they are 0 and 1.
LATIN = "A B Cc D E F G H J K L M N P Q R Ss T U Vvν Ww Xx Y Zz a b d e f g h i j k m n pρ q r t u y æ ð þ ß"
GREEK = "Γ Δ Θ Λ Ξ Π Σ Φ Ψ Ω α β γ δ ε ζ η θ κ λ μ ξ π σ ς τ υ φ χ ψ ω"
CLASSES = (*LATIN.split(), *GREEK.split())
FONTS = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, slant in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for style in ("", "-Bold", f"-{slant}", f"-Bold{slant}")
)
CANVAS = 96  # side of a letter's distance map, whose longer side is LETTER
LETTER = 64
HALF_STROKES = (3.5, 6.5)  # px of LETTER: what scikit-learn's digits have
NOISE_SHARE = 0.4  # of the source backgrounds; the rest are crops of photographs


def render_glyphs(
    n: int, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw `n` scenes of the source task `photo-letters`.

    Each is a letter of a random class and DejaVu font (those that matplotlib brings), bent by an affine map and an
    elastic field (Simard et al. 2003, "Best practices for convolutional neural networks", section 2), with a random
    stroke width, in a colour with contrast. It stands on a crop of the photographs' left halves with permuted, inverted
    and jittered colours or, for four in ten, on fractal colour noise. A shorter set is the beginning of a longer one.

    Args:
        n: number of scenes, at least 1.
        seed: the same seed gives the same bytes.
        progress: called with ("letters", done, n) now and then.

    Returns:
        images, uint8 (n, 32, 32, 3), 0-255 RGB; labels, int64 (n,), 0-76; the 77 class names.

    Raises:
        ValueError: `n` is less than 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
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


def pretrain_backbone(
    output_dir: str | Path,
    *,
    n_letters: int = 80_000,
    epochs: int = 8,
    image_size: int = 64,
    alpha: float = 0.35,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict:
    """Train MobileNetV2 from random weights on `photo-letters` and write its backbone and a record of the run.

    AdamW with a linear warm-up over the first twentieth of the steps and a cosine decay to zero, label smoothing 0.1,
    and BatchNorm momentum 0.9, since Keras's 0.999 would still hold the random start after so few steps. One letter in
    twenty is kept for validation. Only Keras is called, so any of its backends will do; keep it under 3 GB: images stay
    uint8, 32x32.

    Args:
        output_dir: where `letters_mobilenetv2_<alpha>.npz` and the record, `.json`, are written; made if missing.
        n_letters: scenes drawn, validation included, at least 40.
        epochs: passes over the training letters, at least 1.
        image_size: px that the 32 px scenes are resized to inside the model, at least 32.
        alpha: width of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), as `keras.applications` takes it.
        batch_size: letters per step, at least 1.
        learning_rate: at the peak of the schedule.
        seed: drives letters, initial weights and order.
        progress: called with ("letters", done, n_letters), then ("steps", done, steps).

    Returns:
        The record, as in the file: options, letters, seconds, accuracy per epoch (fractions), versions, SHA-256.

    Raises:
        ValueError: an option is under its limit.
    """
    options = {name: value for name, value in locals().items() if name not in ("output_dir", "progress")}
    for name, least in {"n_letters": 40, "epochs": 1, "image_size": 32, "batch_size": 1}.items():
        if options[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {options[name]}")
    import keras

    from transfer_utils.models import BATCH_NORM_MOMENTUM, batch_norms
    from transfer_utils.weights import save_weights_npz

    start = time.perf_counter()
    images, labels, class_names = render_glyphs(n_letters, seed, progress)
    rendered = time.perf_counter()
    keras.utils.set_random_seed(seed)
    base = keras.applications.MobileNetV2((image_size, image_size, 3), alpha, include_top=False, weights=None)
    for layer in batch_norms(base):
        layer.momentum = BATCH_NORM_MOMENTUM
    model = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Resizing(image_size, image_size),
            base,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(class_names), activation="softmax"),
        ]
    )
    train = n_letters - n_letters // 20
    steps_per_epoch = -(-train // batch_size)
    steps = epochs * steps_per_epoch
    warm_up = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=learning_rate, warmup_steps=warm_up
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.05),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
        # XLA makes depthwise convolutions several times slower on a CPU; other backends need their own way to compile.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    targets = keras.utils.to_categorical(labels, len(class_names))
    history = model.fit(
        images[:train],
        targets[:train],
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(images[train:], targets[train:]),
        callbacks=[_report_steps(progress, steps)] if progress else [],
        verbose=0,
    ).history
    weights = Path(output_dir) / f"letters_mobilenetv2_{alpha}.npz"
    save_weights_npz(base, weights)
    record = {
        "task": "photo-letters",
        "options": options,
        "letters": {"train": train, "validation": n_letters - train, "classes": len(class_names)},
        "timing_sec": {"letters": rendered - start, "total": time.perf_counter() - start},
        "curves": {name: [float(value) for value in values] for name, values in history.items()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "keras": keras.__version__}
        | {"backend": keras.backend.backend()},
        "weights": {"file": weights.name, "sha256": sha256_of(weights)},
    }
    write_json(weights.with_suffix(".json"), record)
    return record


def _draw_letter(letters: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one of `letters` with the strokes of scikit-learn's digits: counts of ink, uint8 (8, 8), 0-16."""
    while True:
        distance, half_stroke = _distance_map(letters[rng.integers(len(letters))], FONTS[rng.integers(len(FONTS))])
        # Moving the outline along the distance map sets the stroke width. Serifs are thinner than the stems that
        # `half_stroke` measures, so a stroke loses 1.5 px a side at most.
        inset = min(half_stroke - rng.uniform(*HALF_STROKES), 1.5)
        ink = _bend(distance, rng) > inset
        if ink.any():
            return _count_down(ink)


@cache
def _distance_map(letter: str, font: str) -> tuple[np.ndarray, float]:
    """Return the signed distance to a letter's outline (positive inside), float32 (96, 96), and half its stroke, px."""
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
    # Across a straight stroke the mean distance is half of the half-width.
    return distance.astype(np.float32), float(2 * distance[inside].mean())


def _bend(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map a letter by a random affine map and a smooth elastic field, float32 (96, 96)."""
    from scipy.ndimage import map_coordinates

    turn, shear = rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.35)
    width = np.exp(rng.uniform(-0.1, 0.7))  # of the inverse map: above 1 makes a letter narrower, as digits are
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.array([[1, 0], [shear * width, width]]) @ rotation
    # Room for a turned letter: the map is sampled 10 % wider than the letter's own scale.
    grid = (np.indices((CANVAS, CANVAS)) - (CANVAS - 1) / 2).reshape(2, -1) * 1.1
    field = np.stack([smooth(rng.normal(0, 1, (5, 5)), CANVAS) for _ in range(2)]).reshape(2, -1)
    coordinates = matrix @ grid + (CANVAS - 1) / 2 + field * rng.uniform(0, 4)
    bent = map_coordinates(distance, coordinates, order=1, mode="nearest")
    return bent.reshape(CANVAS, CANVAS)


def _count_down(ink: np.ndarray) -> np.ndarray:
    """Fit ink to a 32x32 bitmap, 32 px high if it is not wider, and count it in 4x4 blocks: uint8 (8, 8), 0-16.

    This is how scikit-learn's digits were made (Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten
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


def _report_steps(progress: Callable[[str, int, int], None], steps: int):
    """Return a Keras callback that calls `progress` after every step."""
    from keras.callbacks import LambdaCallback

    done = itertools.count(1)
    return LambdaCallback(on_train_batch_end=lambda batch, logs: progress("steps", next(done), steps))
