"""The presets: named sets of options, and what each is for."""

from __future__ import annotations

from typing import Any

_CIFAR10: dict[str, Any] = {
    "hidden_units": 0,
    "n_unfreeze": 91,  # all after block 6
    "epochs_stage1": 0,  # the solved head needs none
    "schedule": "cosine",
    "learning_rate_stage2": 1e-3,
    "rotation": 0.0,
    "zoom": 0.0,
    "tta": True,
}

# A batch size that divides 40,000, 48,000, 10,000 and 5,000: no batch is smaller than the others.
_SHORT = _CIFAR10 | {"image_size": 128, "batch_size": 125, "epochs_baseline": 20}

PRESETS: dict[str, dict[str, Any]] = {
    "offline": {
        "dataset": "photo-digits",
        "weights": "letters",
        "image_size": 64,
        "labels_per_class": 20,
        "hidden_units": 0,
        "n_unfreeze": 30,
        "epochs_stage1": 30,
        "epochs_stage2": 30,
        "epochs_baseline": 200,
        "batch_size": 32,
        "learning_rate_stage2": 3e-4,
        "augment": True,
        "horizontal_flip": False,
        "patience": 10,
    },
    "cifar10-classic": {
        "hidden_units": 0,
        "n_unfreeze": 30,
        "epochs_stage1": 3,
        "epochs_stage2": 7,
        "epochs_baseline": 20,
        "schedule": "cosine",
        "learning_rate_stage2": 5e-4,
        "augment": True,
        "rotation": 0.0,
        "zoom": 0.0,
        "tta": True,
        "views": 4,
    },
    # Plain images: in four epochs, augmentation takes half a minute and gains 0.1 points (studies/augmentation.yaml).
    "cifar10": _SHORT | {"epochs_stage2": 4, "augment_baseline": True},
    "cifar10-fast": _SHORT | {"epochs_stage2": 2, "augment_baseline": True},
    "cifar10-best": _CIFAR10
    | {
        "image_size": 128,
        "batch_size": 125,
        "n_unfreeze": 136,  # all after block 1
        "batch_norm": "trained",
        "augment": True,
        "epochs_stage2": 27,
        "learning_rate_stage2": 1.5e-3,
        "weight_decay": 0.05,
        "use_mixup": True,
        "mixup_alpha": 0.2,
        "tta_shift": 2,
        "validation_share": 0.04,  # 2,000 images are enough to choose the epoch; the other 8,000 are learned from
        "views": 0,  # kept on disk, 27 of them would take 21 GB
    },
    "cifar10-small": _SHORT | {"epochs_stage2": 8, "labels_per_class": 500, "augment": True, "views": 4},
    "photos": {
        "dataset": "folder",
        "data_dir": "photos",
        "stored_size": 192,  # the side of the network, and room for shifts
        "hidden_units": 0,
        "n_unfreeze": 30,
        "epochs_stage1": 0,  # the solved head needs none
        "epochs_stage2": 10,
        "epochs_baseline": 40,
        "min_steps": 200,  # a few dozen images are repeated
        "batch_size": 32,
        "schedule": "cosine",
        "learning_rate_stage2": 3e-4,
        "augment": True,
        "rotation": 10.0,
        "views": 4,
    },
    "as-written": {
        "alpha": 1.0,
        "image_size": 32,
        "input_range": "zero-one",
        "head": "plain",
        "head_start": "random",
        "epochs_stage2": 0,
        "optimizer_stage1": "Adam",
        "label_smoothing": 0.0,
        "patience": 0,
    },
    "cifar10-full": {
        "alpha": 1.0,
        "n_unfreeze": 30,
        "epochs_stage2": 100,
        "batch_size": 64,
        "augment": True,
        "rotation": 20.0,
        "zoom": 0.15,
        "patience": 10,
        "tta": True,
        "views": 0,
    },
}
# How each kind of baseline is trained, where that differs from the defaults; the compact CNN at the best setting of its
# grid with all labels of CIFAR-10 (studies/opponents.yaml).
BASELINE_OPTIONS: dict[str, dict[str, Any]] = {
    "tutorial": {},
    "compact": {
        "epochs_baseline": 20,
        "learning_rate_baseline": 2e-2,
        "weight_decay_baseline": 0.02,
        "warm_up_baseline": 0.2,
    },
}
PRESET_PURPOSE = {
    "offline": "no download: the package's own images; one minute",
    "cifar10-classic": "the notebooks' recipe, a usual one; 4.5 minutes",
    "cifar10": "the short recipe; two and a half minutes on two cores",
    "cifar10-fast": "the short recipe with two epochs, for a first look",
    "cifar10-best": "the highest accuracy on record; almost an hour on two cores",
    "cifar10-small": "a quick look at real images, 500 labels per class",
    "photos": "your own photographs in --data_dir",
    "as-written": "a published recipe as its code stands: 32 px, all frozen",
    "cifar10-full": "the published best configuration; meant for a GPU",
}
