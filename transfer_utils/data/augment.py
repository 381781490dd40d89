"""Augmentation, Mixup and test-time views, all at the stored size, where they cost a hundredth of the time.

The augmentation of an image depends only on the seed, the view and the image's position, not on batches or threads.
A resumed run therefore sees the same images as an uninterrupted one.
"""

from __future__ import annotations

import numpy as np

from transfer_utils.config.options import RunConfig, effective_tta_shift
from transfer_utils.data.dataset import Split

# Streams of random numbers: part of the seeds, so that the streams are independent.
_AFFINE, _MIXUP, _ORDER = 1, 2, 3


def build_augmentation(config: RunConfig, n: int, view: int) -> np.ndarray:
    """Draw one transform per image that combines rotation, zoom, a shift by whole pixels and horizontal flipping.

    Args:
        n: number of images.
        view: number of the view; each view has its own draw.

    Returns:
        Transforms (n, 8) float32 from output to input pixels, as in ``keras.ops.image.affine_transform``.
    """
    rng = np.random.default_rng([config.seed, _AFFINE, view])
    side = config.stored_size
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation, n))
    scale = 1.0 + rng.uniform(-config.zoom, config.zoom, n)
    # Whole pixels: a shift alone copies pixels instead of blurring them.
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
    """Transform images uint8 (n, side, side, 3) by transforms (n, 8); pixels beyond the border are reflected."""
    if np.all(np.abs(transforms[:, [0, 1, 3, 4]]) == (1, 0, 0, 1)):
        return _shifted(images, transforms)
    import keras

    moved = keras.ops.image.affine_transform(
        images.astype("float32"), transforms, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
    )
    return np.clip(np.rint(keras.ops.convert_to_numpy(moved)), 0, 255).astype("uint8")


def _shifted(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Transform images that are only shifted and flipped: copying pixels is several times faster than resampling."""
    side = images.shape[1]

    def source(sign: np.ndarray, shift: np.ndarray) -> np.ndarray:
        position = np.rint(sign[:, None] * np.arange(side) + shift[:, None]).astype(int) % (2 * side)
        return np.minimum(position, 2 * side - 1 - position)

    columns, rows = source(transforms[:, 0], transforms[:, 2]), source(transforms[:, 4], transforms[:, 5])
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def mixup(n: int, config: RunConfig, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw partners and mixing weights for Mixup (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        n: number of images.
        config: its ``seed``, and ``mixup_alpha``, the parameter of the Beta distribution of lambda, drawn per image.
        view: number of the view.

    Returns:
        partners (n,) int, a permutation, and shares (n, 1) float32 in [0.5, 1], the weight of the image itself. It is
        the larger of lambda and 1 - lambda, which only exchanges the two images of a pair.
    """
    rng = np.random.default_rng([config.seed, _MIXUP, view])
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, n)
    return rng.permutation(n), np.maximum(share, 1 - share).astype("float32")[:, None]


def blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return ``share * first + (1 - share) * second`` for each image or label, in the dtype of ``first``."""
    share = share.reshape(-1, *[1] * (first.ndim - 1))
    mixed = share * first + (1 - share) * second
    return np.rint(mixed).astype(first.dtype) if first.dtype == np.uint8 else mixed.astype(first.dtype)


def training_view(
    split: Split, positions: np.ndarray, config: RunConfig, view: int, n_classes: int, draws: dict | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of one view of a training split, at ``positions``.

    Args:
        positions: (m,) int, positions in the split.
        draws: the result of ``draw_view`` for this view, to share it between batches; drawn here by default.

    Returns:
        images (m, side, side, 3) uint8 and labels (m, n_classes) float32, one-hot or mixed by Mixup.
    """
    draws = draws or draw_view(len(split), config, view)
    one_hot = np.eye(n_classes, dtype="float32")

    def augmented(rows: np.ndarray) -> np.ndarray:
        images = split.take(rows)
        return apply_augmentation(images, draws["transforms"][rows]) if config.augment else images

    images, labels = augmented(positions), one_hot[split.labels[positions]]
    if config.use_mixup:
        partners, share = draws["partners"][positions], draws["share"][positions]
        images = blend(images, augmented(partners), share)
        labels = blend(labels, one_hot[split.labels[partners]], share)
    return images, labels


def draw_view(n: int, config: RunConfig, view: int) -> dict[str, np.ndarray]:
    """Draw ``transforms`` (if ``config.augment``), ``partners`` and ``share`` (if ``config.use_mixup``) of one view."""
    draws = {}
    if config.augment:
        draws["transforms"] = build_augmentation(config, n, view)
    if config.use_mixup:
        draws["partners"], draws["share"] = mixup(n, config, view)
    return draws


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order (n,) int of the training images in one epoch."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(n)


def tta_views(images: np.ndarray, horizontal_flip: bool, shift: int = 0) -> list[np.ndarray]:
    """Return the views for test-time augmentation: the images, their mirror images, and both shifted.

    Args:
        images: (n, height, width, 3).
        horizontal_flip: add mirror images; without them (digits, letters), the shift is at least 1.
        shift: pixels by which the images are shifted up, down, left and right; 0 adds no shifted views.

    Returns:
        Two, five or ten arrays of the shape and dtype of ``images``; the first is ``images``.
    """
    views = [images, images[:, :, ::-1]] if horizontal_flip else [images]
    if shift := effective_tta_shift(horizontal_flip, shift):
        height, width = images.shape[1:3]
        corners = (0, shift), (2 * shift, shift), (shift, 0), (shift, 2 * shift)  # of each view in the padded one
        border = (0, 0), (shift, shift), (shift, shift), (0, 0)
        padded = [np.pad(view, border, mode="symmetric") for view in views]
        views += [wide[:, top : top + height, left : left + width] for wide in padded for top, left in corners]
    return views
