"""Options that suit a folder of photographs: from the sizes of its pictures and from how many there are."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from transfer_utils.config.options import ALL_LAYERS, RunConfig
from transfer_utils.data.image_folder import FolderListing, list_image_folder
from transfer_utils.data.images import measure_image
from transfer_utils.data.splits import TEST_SHARE, held_out_size
from transfer_utils.utils.spread import spread_evenly
from transfer_utils.utils.text import counted, enumerated

MEASURED = 200  # pictures whose sizes are read, spread over the folder
MIN_STORED_SIDE, MAX_STORED_SIDE = 32, 512

# Fewer training images need more epochs, and smaller batches for enough steps in each: (less than this many images,
# the value). The last rows of both are for any larger number.
EPOCHS = ((500, 20), (5_000, 10), (20_000, 6), (math.inf, 4))
BATCHES = ((2_000, 32), (10_000, 64), (math.inf, 128))
TURNED_BELOW = 1_000  # images; so few are also turned and zoomed, which takes longer than to shift and mirror them


class PhotoSettings(NamedTuple):
    """The options chosen for an image folder.

    Attributes:
        options: by name, to be set beside the preset ``photos``.
        images: the number of images in each split.
        n_bytes: the size of all image files.
        side: the median of the shorter sides of the pictures in pixels, 0 if none can be read.
    """

    options: dict[str, Any]
    images: dict[str, int]
    n_bytes: int
    side: int

    def reason(self, config: RunConfig) -> str:
        """Return in one sentence what is used and why; ``config`` has these options unless others were given."""
        n = self.images["train"]
        size = f"about {self.side} px" if self.side else "unknown size"
        stored = "their own size" if config.stored_size == self.side else f"the network reads {config.image_size} px"
        if self.side and config.stored_size == MIN_STORED_SIDE > self.side:
            stored = "the smallest possible"
        by_reason: dict[str, list[str]] = {}
        chosen = ("stored_size", stored), ("batch_size", "for their number"), ("epochs_stage2", "for their number")
        for name, reason in chosen:
            if name not in self.options:
                continue  # there is no stage 2
            value = getattr(config, name)
            reason = reason if value == self.options[name] else "as given"
            by_reason.setdefault(reason, []).append(f"{name} {value}")
        reasons = [f"{enumerated(values)} ({reason})" for reason, values in by_reason.items()]
        return (
            f"For {counted(sum(self.images.values()), 'image')} of {size}, {n:,} of them to train on: "
            f"{', '.join(reasons)}, {_augmentation(config)}."
        )


def choose_photo_settings(config: RunConfig) -> PhotoSettings:
    """Choose the stored size, augmentation, epochs and batch size for the images in ``config.data_dir``.

    Pictures are stored at the median of their shorter sides, but no larger than ``config.image_size`` and the shifts
    of the augmentation need.

    Raises:
        UserError: ``data_dir`` is not a usable image folder.
    """
    listing = list_image_folder(config.data_dir)
    images = _images(listing, config)
    n = images["train"]
    shift = max(config.width_shift, config.height_shift)
    largest = min(MAX_STORED_SIDE, 2 * math.ceil(config.image_size * (0.5 + shift)))
    side = _median_side(listing)
    stored = min(largest, max(MIN_STORED_SIDE, side or largest))
    epochs, batch = (next(value for limit, value in table if n < limit) for table in (EPOCHS, BATCHES))
    options = {"stored_size": stored, "batch_size": batch}
    if config.fine_tunes:
        options["epochs_stage2"] = epochs
    if n >= TURNED_BELOW:
        options |= {"rotation": 0.0, "zoom": 0.0}
    return PhotoSettings(options, images, sum(files.n_bytes for files in listing.splits.values()), side)


def _augmentation(config: RunConfig) -> str:
    changes = {
        "turned": config.rotation,
        "zoomed": config.zoom,
        "shifted": config.width_shift or config.height_shift,
        "mirrored": config.horizontal_flip,
    }
    words = [word for word, amount in changes.items() if amount]
    if not (config.augment and config.fine_tunes and words):
        return "as they are"
    caches = config.views and config.n_unfreeze != ALL_LAYERS
    drawn = f"in {counted(config.cached_views, 'view')}" if caches else "anew in each epoch"
    return f"{enumerated(words)} {drawn}"


def _images(listing: FolderListing, config: RunConfig) -> dict[str, int]:
    """Return the number of images of each split, as ``load_dataset`` will make it, give or take one of each class."""
    counts = {split: len(files) for split, files in listing.splits.items()}
    for split, share in (("test", TEST_SHARE), ("validation", config.validation_share)):
        if split not in counts:
            counts[split] = held_out_size(counts["train"], share, len(listing.class_names))
            counts["train"] -= counts[split]
    if config.labels_per_class:
        files = listing.splits["train"]
        per_class = files.counts * counts["train"] // len(files)
        counts["train"] = int(np.minimum(per_class, config.labels_per_class).sum())
    return counts


def _median_side(listing: FolderListing) -> int:
    """Return the median of the shorter sides of some pictures in pixels, or 0 if none of them can be read."""
    paths = [path for path, _ in listing.splits["train"]]
    some = [paths[i] for i in spread_evenly(len(paths), MEASURED)]
    sizes = [size for size in map(measure_image, some) if size]
    return int(np.median([min(width, height) for width, height, _ in sizes])) if sizes else 0
