"""Image corruptions for measuring robustness, after Hendrycks & Dietterich 2019 (arXiv 1903.12261)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from transfer_utils.data.images import encode_image
from transfer_utils.errors import UserError, nearest

# Severities 1 to 5 of CIFAR-10-C, for images of 32 px: the standard deviation of the noise as a fraction of 255, the
# standard deviation of the blur in px, the fraction of the contrast that remains, and the JPEG quality.
SEVERITIES = {
    "noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "jpeg": (80, 65, 58, 50, 40),
}


def corrupt(images: np.ndarray, kind: str, severity: int, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise, Gaussian blur or JPEG artefacts to ``images``, or reduce their contrast.

    Args:
        images: uint8 (n, h, w, 3), 0-255 RGB.
        kind: ``"noise"``, ``"blur"``, ``"contrast"`` or ``"jpeg"``.
        severity: 1 (mildest) to 5.
        seed: seed of the noise; the other kinds are deterministic.

    Returns:
        uint8 (n, h, w, 3), 0-255 RGB, rounded and clipped.

    Raises:
        UserError: an unknown kind, a severity outside 1 to 5, or images of the wrong dtype or shape.
    """
    if kind not in SEVERITIES:
        raise UserError(f"kind must be one of {', '.join(SEVERITIES)}, got {kind!r}.{nearest(kind, SEVERITIES)}")
    if severity not in range(1, 6):
        raise UserError(f"severity must be 1 to 5, got {severity}.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images must be uint8 (n, h, w, 3), got {images.dtype} {images.shape}.")
    strength = SEVERITIES[kind][severity - 1]
    if kind == "jpeg":
        files = (io.BytesIO(encode_image(image, "JPEG", quality=strength)) for image in images)
        return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    pixels = images.astype("float32")
    if kind == "noise":
        pixels += 255 * strength * np.random.default_rng(seed).standard_normal(images.shape, dtype="float32")
    elif kind == "blur":
        pixels = gaussian_filter(pixels, (0, strength, strength, 0), mode="nearest")
    else:
        mean = pixels.mean(axis=(1, 2), keepdims=True)
        pixels = mean + strength * (pixels - mean)
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")
