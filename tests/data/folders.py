"""Folders of pictures, and the options of runs on them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_utils.config.options import RunConfig, preset


def picture_folder(
    root: Path, n: int, classes: Iterable[str] = ("cat", "dog"), suffix: str = ".png", size=(8, 8), seed: int = 0
) -> Path:
    """Write ``n`` plain pictures of random colours into a folder for each class."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(n):
            colour = tuple(rng.integers(0, 256, 3).tolist())
            Image.new("RGB", size, colour).save(root / name / f"{number}{suffix}")
    return root


def folder_config(root: Path, **options) -> RunConfig:
    """Return the options of a run on an image folder, with its cache in a hidden folder inside it."""
    return preset("none", dataset="folder", data_dir=str(root), cache_dir=str(root / ".cache"), **options)
