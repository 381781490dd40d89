"""Augmentation, Mixup and test-time views, all at the stored side, where they cost a hundredth of what they do later.

What is drawn for an image depends on the seed, the view and the image's position alone: not on batches, threads or
interruptions. A resumed run therefore sees the same pictures as an undisturbed one.
"""

from __future__ import annotations

import numpy as np

from transfer_utils.config import RunConfig, _tta_shift

# Streams of random numbers that must not repeat one another.
_AFFINE, _MIXUP, _ORDER = 1, 2, 3


def build_augmentation(config: RunConfig, n: int, view: int) -> np.ndarray:
    """Draw one transform per image: rotation, zoom, whole-pixel shift and mirroring, joined into one resampling.

    Args:
        n: number of images.
        view: number of the view; every view is another draw.

    Returns:
        Projective transforms (n, 8) float32 from output to input pixels, as ``keras.ops.image.affine_transform`` takes.
    """
    rng = _generator(config.seed, _AFFINE, view)
    side = config.stored_size
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation, n))
    scale = 1.0 + rng.uniform(-config.zoom, config.zoom, n)
    # Whole pixels: a shift alone then copies the image instead of blurring it.
    dx = np.rint(rng.uniform(-config.width_shift, config.width_shift, n) * side)
    dy = np.rint(rng.uniform(-config.height_shift, config.height_shift, n) * side)
    mirror = np.where(rng.random(n) < (0.5 if config.horizontal_flip else 0.0), -1.0, 1.0)

    a0, a1 = scale * np.cos(angle) * mirror, -scale * np.sin(angle)
    b0, b1 = scale * np.sin(angle) * mirror, scale * np.cos(angle)
    centre = (side - 1) / 2
    a2 = centre - (a0 + a1) * centre + dx
    b2 = centre - (b0 + b1) * centre + dy
    return np.stack([a0, a1, a2, b0, b1, b2, np.zeros(n), np.zeros(n)], axis=1).astype("float32")


def apply_augmentation(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Resample images (n, side, side, 3) uint8 by transforms (n, 8); what comes in from outside is mirrored."""
    if np.all(np.abs(transforms[:, [0, 1, 3, 4]]) == (1, 0, 0, 1)):
        return _shifted(images, transforms)
    import keras

    moved = keras.ops.image.affine_transform(
        images.astype("float32"), transforms, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
    )
    return np.clip(np.rint(keras.ops.convert_to_numpy(moved)), 0, 255).astype("uint8")


def _shifted(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Do the same where images are only shifted and mirrored: whole pixels are copied, several times faster."""
    side = images.shape[1]

    def source(sign: np.ndarray, shift: np.ndarray) -> np.ndarray:
        at = np.rint(sign[:, None] * np.arange(side) + shift[:, None]).astype(int) % (2 * side)
        return np.minimum(at, 2 * side - 1 - at)

    columns, rows = source(transforms[:, 0], transforms[:, 2]), source(transforms[:, 4], transforms[:, 5])
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def mixup(n: int, config: RunConfig, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw Mixup's partners and shares (Zhang et al. 2018, arXiv 1710.09412).

    Returns:
        partners (n,) int, a permutation, and shares (n, 1) float32 in [0.5, 1]: the part that an image keeps. The
        larger of lambda and 1 - lambda is taken, which is the same mixture with the pair in the other order.
    """
    rng = _generator(config.seed, _MIXUP, view)
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, n)
    return rng.permutation(n), np.maximum(share, 1 - share).astype("float32")[:, None]


def blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return ``share`` of ``first`` and the rest of ``second``, image by image or label by label, in their dtype."""
    share = share.reshape(-1, *[1] * (first.ndim - 1))
    mixed = share * first + (1 - share) * second
    return np.rint(mixed).astype(first.dtype) if first.dtype == np.uint8 else mixed.astype(first.dtype)


def training_view(
    split, positions: np.ndarray, config: RunConfig, view: int, n_classes: int, drawn: dict | None = None
):
    """Return the images and labels of one view of a training split, at ``positions``.

    Args:
        split: a ``data.Split``.
        positions: (m,) int, which images of the split.
        drawn: what ``draw_view`` drew for this view, to draw it once for many batches.

    Returns:
        images (m, side, side, 3) uint8 and labels (m, n_classes) float32, one-hot or blended by Mixup.
    """
    drawn = drawn or draw_view(len(split), config, view)
    one_hot = np.eye(n_classes, dtype="float32")

    def look(at: np.ndarray) -> np.ndarray:
        images = split.take(at)
        return apply_augmentation(images, drawn["transforms"][at]) if config.augment else images

    images, labels = look(positions), one_hot[split.labels[positions]]
    if config.use_mixup:
        partners, share = drawn["partners"][positions], drawn["share"][positions]
        images = blend(images, look(partners), share)
        labels = blend(labels, one_hot[split.labels[partners]], share)
    return images, labels


def draw_view(n: int, config: RunConfig, view: int) -> dict[str, np.ndarray]:
    """Draw everything random about one view of ``n`` training images."""
    drawn = {}
    if config.augment:
        drawn["transforms"] = build_augmentation(config, n, view)
    if config.use_mixup:
        drawn["partners"], drawn["share"] = mixup(n, config, view)
    return drawn


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order (n,) int in which one epoch visits the training images."""
    return _generator(seed, _ORDER, epoch).permutation(n)


def tta_views(images: np.ndarray, horizontal_flip: bool, shift: int = 0) -> list[np.ndarray]:
    """Return the views whose predictions are averaged: the images as they are, mirrored, and both shifted.

    Args:
        images: (n, height, width, 3).
        horizontal_flip: whether to mirror; where that changes the meaning (digits, letters), the shifts are at least 1.
        shift: pixels of the shifts up, down, left and right; 0 leaves them out.
    """
    turned = [images, images[:, :, ::-1]] if horizontal_flip else [images]
    if not (shift := _tta_shift(horizontal_flip, shift)):
        return turned
    height, width = images.shape[1:3]
    views = list(turned)
    for view in turned:
        padded = np.pad(view, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="symmetric")
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            top, left = shift * (1 + dy), shift * (1 + dx)
            views.append(padded[:, top : top + height, left : left + width])
    return views


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, number])
