"""Every option of a run, declared once.

``RunConfig`` defines the command-line flags, the notebook parameters, the ``config`` part of the run record and the
options table in docs. Each option is a field with a type, a default, limits, a unit and one sentence of help.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from transfer_utils.config.option_errors import explain_option, shown, unknown
from transfer_utils.config.presets import BASELINE_OPTIONS, PRESETS
from transfer_utils.errors import UserError, nearest
from transfer_utils.utils.text import command_line

Backbone = Literal["MobileNetV2", "EfficientNetB0", "EfficientNetV2B0", "ResNet50", "InceptionV3", "VGG16"]
Optimizer = Literal["AdamW", "Adam", "SGD"]

# Path options: they decide where a run is stored, never what it computes.
PATH_OPTIONS = ("output_dir", "json_output_path", "model_path", "cache_dir", "figures_dir")

ALL_LAYERS = -1
SIDE_STEP = 32  # px, by which the side rises in stage 2: all backbones halve the side five times
MODEL_SUFFIXES = (".keras", ".h5")
NO_COPY = "none"  # value of model_path that keeps the model only in the run's folder

NAMED_WEIGHTS = ("imagenet", "letters", "random")  # any other value of weights is the path of a file

# The widths of MobileNetV2 for which Keras provides ImageNet weights.
IMAGENET_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def _option(default: Any, group: str, help: str, unit: str = "", **limits: Any) -> Any:
    """Declare an option with its default, its group in the help text, one sentence of help and its unit."""
    return Field(default, description=help, json_schema_extra={"group": group, "unit": unit}, **limits)


class RunConfig(BaseModel):
    """The options of one run. Instances are immutable; use ``preset`` to create one with readable error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    preset: str = _option("none", "what", "the named set of options to start from; other options override it")
    model: Literal["transfer", "baseline"] = _option(
        "transfer", "what", "the pretrained network, or a CNN trained from scratch, the baseline"
    )
    baseline: Literal["tutorial", "compact"] = _option(
        "tutorial",
        "what",
        "which CNN: that of the tutorials, or a compact one with BatchNorm and residuals, which also sets its epochs, "
        "learning rate, weight decay and warm-up",
    )
    seed: int = _option(
        0, "what", "seed of the split, the drawn labels, the weights and the augmentation", ge=0, le=2**31 - 1
    )

    not_sure_rate: float = _option(
        0.05,
        "what",
        "share of the validation images that would be answered 'not sure', which sets the threshold of predictions; "
        "0 always answers",
        ge=0,
        lt=1,
    )

    dataset: Literal["cifar10", "photo-digits", "folder"] = _option("cifar10", "data", "which images")
    data_dir: str = _option("", "data", "an image folder <split>/<class>/* or <class>/* to read instead of a download")
    stored_size: int = _option(32, "data", "side at which images are stored and augmented", "px", ge=8, le=512)
    validation_share: float = _option(
        0.2, "data", "part of the training images set apart for validation, where there is no such split", gt=0, lt=1
    )
    labels_per_class: int = _option(0, "data", "labelled images per class; 0 means all", "images", ge=0, le=10**9)

    backbone: Backbone = _option("MobileNetV2", "network", "the pretrained network")
    alpha: float = _option(0.35, "network", "width of MobileNetV2; the other backbones have one width", ge=0.1, le=2.0)
    weights: str = _option("imagenet", "network", "'imagenet', 'letters', 'random', or the path of a weights file")
    image_size: int = _option(160, "network", "side to which the network resizes its input", "px", ge=32, le=512)
    input_range: Literal["backbone", "zero-one"] = _option(
        "backbone", "network", "scale of the network's input: that of its pretraining, or [0, 1] as in many tutorials"
    )
    head: Literal["batchnorm", "plain"] = _option(
        "batchnorm", "network", "BatchNorm-Dense-Dropout-softmax, or Dense(256)-Dropout(0.5)-softmax"
    )
    hidden_units: int = _option(
        256, "network", "units of the hidden layer of the batchnorm head; 0 leaves it out", "units", ge=0, le=4096
    )
    dropout: float = _option(0.3, "network", "dropout before the softmax of the batchnorm head", ge=0.0, lt=1.0)

    head_start: Literal["convex", "random"] = _option(
        "convex",
        "training",
        "start a head without a hidden layer from the solved softmax regression, or from random weights",
    )
    n_unfreeze: int = _option(
        0, "training", "last layers of the backbone trained in stage 2; -1 means all", "layers", ge=-1, le=10_000
    )
    epochs_stage1: int = _option(10, "training", "epochs with the backbone frozen", "epochs", ge=0, le=10_000)
    epochs_stage2: int = _option(10, "training", "epochs of fine-tuning the unfrozen layers", "epochs", ge=0, le=10_000)
    epochs_baseline: int = _option(
        0, "training", "epochs of the baseline; 0 means those of both stages together", "epochs", ge=0, le=10_000
    )
    learning_rate_baseline: float = _option(1e-3, "training", "learning rate of the baseline", gt=0, le=1e9)
    weight_decay_baseline: float = _option(
        1e-4, "training", "decoupled weight decay of AdamW for the baseline", ge=0, le=1
    )
    warm_up_baseline: float = _option(
        0.1, "training", "share of the baseline's steps in which its learning rate rises, before the cosine", ge=0, lt=1
    )
    min_steps: int = _option(
        0,
        "training",
        "fewest steps of stage 2, unless it stops early, and of the baseline; too few images are repeated",
        "steps",
        ge=0,
        le=10**7,
    )
    selection: Literal["validation", "none"] = _option(
        "validation",
        "training",
        "what chooses the epoch that is kept and the L2 of the solved head: the validation split, or nothing (the last "
        "epoch and a fixed L2)",
    )
    source_probe: bool = _option(
        False, "training", "probe before and after stage 2 what the backbone knows of photo-letters, its source task"
    )
    # The BatchNorm of the head learns nothing from one image.
    batch_size: int = _option(128, "training", "images per step", "images", ge=2, le=8192)
    optimizer_stage1: Optimizer = _option("AdamW", "training", "optimizer of stage 1 and of the baseline")
    optimizer_stage2: Optimizer = _option("AdamW", "training", "optimizer of stage 2")
    learning_rate_stage1: float = _option(1e-3, "training", "learning rate of stage 1", gt=0, le=1e9)
    learning_rate_stage2: float = _option(
        1e-5,
        "training",
        "learning rate of stage 2: collapses if too high, learns little if too low; most presets use 3e-4 to 1e-3",
        gt=0,
        le=1e9,
    )
    weight_decay: float = _option(1e-4, "training", "decoupled weight decay of AdamW", ge=0, le=1)
    label_smoothing: float = _option(0.1, "training", "share of each label spread over all classes", ge=0, lt=1)
    schedule: Literal["plateau", "cosine"] = _option(
        "plateau", "training", "learning rate of stage 2: halved when val_loss stalls, or warm-up and cosine"
    )
    image_size_start: int = _option(
        0,
        "training",
        "side with which stage 2 begins, 0 for image_size; it rises to image_size in steps of 32 px (progressive "
        "resizing), which needs views 0 and schedule cosine",
        "px",
        ge=0,
        le=512,
    )
    patience: int = _option(
        5,
        "training",
        "a stage stops after so many epochs without a better val_loss, at the end of its second at the earliest, and "
        "not at all if its schedule is cosine; 0 never stops",
        "epochs",
        ge=0,
        le=10_000,
    )
    batch_norm: Literal["frozen", "trained"] = _option(
        "frozen", "training", "BatchNorm of the unfrozen layers: inference mode, or trained at momentum 0.9"
    )

    augment: bool = _option(
        False, "augmentation", "shift, turn, zoom and mirror the training images, in stage 2 and for the baseline"
    )
    augment_baseline: bool = _option(
        False, "augmentation", "augment the training images of the baseline, even if stage 2 does not"
    )
    rotation: float = _option(15.0, "augmentation", "largest rotation either way", "degrees", ge=0, le=180)
    zoom: float = _option(0.1, "augmentation", "largest zoom in or out, as a fraction: 0.15 means 15 %", ge=0, lt=1)
    width_shift: float = _option(
        0.1, "augmentation", "largest horizontal shift, as a fraction of the width", ge=0, lt=1
    )
    height_shift: float = _option(
        0.1, "augmentation", "largest vertical shift, as a fraction of the height", ge=0, lt=1
    )
    horizontal_flip: bool = _option(True, "augmentation", "mirror half of the images (wrong for digits and letters)")
    use_mixup: bool = _option(
        False, "augmentation", "blend pairs of training images and their labels, in stage 2 and for the baseline"
    )
    mixup_alpha: float = _option(0.2, "augmentation", "parameter of Mixup's Beta distribution", gt=0, le=10)
    tta: bool = _option(
        False, "augmentation", "also average the validation and test predictions over the image and its mirrored view"
    )
    tta_shift: int = _option(
        0,
        "augmentation",
        "with --tta, also average over shifts by this much in four directions; without --horizontal_flip, 0 is 1 px",
        "px",
        ge=0,
        le=64,
    )

    engine: Literal["auto", "litert", "keras"] = _option(
        "auto", "speed", "what runs the frozen layers: LiteRT, Keras, or the faster one that works here"
    )
    strategy: Literal["none", "mirrored"] = _option(
        "none", "speed", "train on one device, or on all GPUs of this machine, each with its share of every batch"
    )
    views: int = _option(
        8,
        "speed",
        "augmented views of each image that stage 2 caches; 0, or n_unfreeze -1, makes new ones in each epoch",
        "views",
        ge=0,
        le=256,
    )

    export: Literal["none", "float32", "float16", "int8", "all"] = _option(
        "none", "speed", "also write the trained model as a LiteRT file of this precision, evaluated on the test split"
    )

    output_dir: str = _option("runs", "paths", "folder that receives the run's own folder")
    json_output_path: str = _option("", "paths", "also write the run record to this file; empty writes no such file")
    model_path: str = _option(
        "",
        "paths",
        "copy of the model (.keras or .h5); empty: <dataset or folder>.h5 in the current folder, with _baseline in its "
        "name for a baseline; 'none': no copy",
    )
    cache_dir: str = _option("", "paths", "folder of decoded images and features; empty means the user's cache folder")
    figures_dir: str = _option(
        "", "paths", "folder that receives the figures of `compare`; empty means the run's own folder"
    )

    @field_validator(*PATH_OPTIONS)
    @classmethod
    def _at_home(cls, path: str) -> str:
        """Replace ``~``, which a shell leaves as it is in ``--output_dir=~/runs``."""
        return os.path.expanduser(path)

    @model_validator(mode="after")
    def _check_combinations(self) -> RunConfig:
        if self.source_probe and (self.weights, self.stored_size) != ("letters", 32):
            raise ValueError(
                "source_probe needs weights 'letters' and stored_size 32, the task and the size of its letters, "
                f"got {self.weights!r} and {self.stored_size}"
            )
        if self.source_probe and not (self.model == "transfer" and self.fine_tunes):
            raise ValueError(
                "source_probe needs a stage 2, before and after which it probes: model 'transfer', and n_unfreeze and "
                f"epochs_stage2 other than 0, got {self.model!r}, {self.n_unfreeze} and {self.epochs_stage2}"
            )
        start, side = self.image_size_start, self.image_size
        if start and not (start < side and start % SIDE_STEP == side % SIDE_STEP == 0):
            raise ValueError(
                f"image_size_start must be 0, or below image_size, both of them multiples of {SIDE_STEP}, "
                f"got image_size_start {start} and image_size {side}"
            )
        if start and (self.views or self.schedule == "plateau"):
            raise ValueError(
                "image_size_start needs views 0, since cached views have one side, and schedule 'cosine', since "
                f"'plateau' may stop before the last side, got {self.views} and {self.schedule!r}"
            )
        if start and self.fine_tunes and self.epochs_stage2 < len(self.sides):
            raise ValueError(
                f"epochs_stage2 must be at least {len(self.sides)}, one for each side from image_size_start {start} "
                f"on, got {self.epochs_stage2}"
            )
        for name, px in (("image_size", side), ("image_size_start", start)):
            if self.backbone == "InceptionV3" and 0 < px < 75:
                raise ValueError(f"{name} must be at least 75 for InceptionV3, got {px}")
        if self.weights == "letters" and (self.backbone, self.alpha) != ("MobileNetV2", 0.35):
            raise ValueError(
                f"weights 'letters' fit MobileNetV2 with alpha 0.35, got {self.backbone} with alpha {self.alpha:g}"
            )
        if (self.weights, self.backbone) == ("imagenet", "MobileNetV2") and self.alpha not in IMAGENET_WIDTHS:
            widths = ", ".join(f"{alpha:g}" for alpha in IMAGENET_WIDTHS)
            raise ValueError(f"alpha must be one of {widths} for weights 'imagenet', got {self.alpha:g}")
        plateau = self.epochs_stage1 or (self.fine_tunes and self.schedule == "plateau")
        if self.model == "transfer" and self.selection == "none" and plateau:
            raise ValueError(
                "selection 'none' needs epochs_stage1 0 and, if stage 2 is trained, schedule 'cosine': stage 1 and "
                "schedule 'plateau' follow val_loss"
            )
        if self.dataset == "folder" and not self.data_dir:
            raise ValueError("data_dir must name an image folder when dataset is 'folder', got an empty name")
        if self.dataset == "photo-digits" and self.data_dir:
            raise ValueError(f"data_dir must be empty for photo-digits, which need no files, got {self.data_dir!r}")
        return self

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits computed from all options except the preset and the path options.

        Default values are left out, so that adding an option does not change the fingerprint of older runs.
        """
        options = self.model_dump(exclude=set(PATH_OPTIONS) | {"preset"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]

    def changes(self) -> dict[str, Any]:
        """Return the options that differ from the preset (or the defaults) as changed by the kind of baseline."""
        start = {**dict(preset(self.preset)), **BASELINE_OPTIONS[self.baseline]}
        return {name: value for name, value in self if name != "preset" and value != start[name]}

    def command(self) -> str:
        """Return the command line that repeats this run, without the path options."""
        return command_line(["transfer-utils", "train", *self.arguments(without=PATH_OPTIONS)])

    def arguments(self, without: Iterable[str] = ()) -> list[str]:
        """Return the command-line arguments that set these options, except those named in ``without``."""
        # Without a preset, the command would choose settings that suit the pictures of a folder.
        arguments = ["--preset", self.preset] if self.preset != "none" or self.dataset == "folder" else []
        for name, value in self.changes().items():
            if name in without:
                continue
            if isinstance(value, bool):
                arguments.append(f"--{name}" if value else f"--no-{name}")
            else:
                arguments += [f"--{name}", str(value)]
        return arguments

    @property
    def baseline_epochs(self) -> int:
        """The number of epochs of the baseline: ``epochs_baseline``, or the sum of both stages if that is 0."""
        return self.epochs_baseline or self.epochs_stage1 + self.epochs_stage2

    def epoch_size(self, n: int, epochs: int) -> int:
        """Return how many images an epoch of a stage has: ``n``, some of them repeated for it to have ``min_steps``."""
        return max(n, math.ceil(self.min_steps / max(1, epochs)) * self.batch_size)

    @property
    def sides(self) -> range:
        """The sides in px at which stage 2 trains, one after the other; the last one is ``image_size``."""
        return range(self.image_size_start or self.image_size, self.image_size + 1, SIDE_STEP)

    @property
    def side_by_epoch(self) -> list[int]:
        """The side in px of each epoch of stage 2; each of ``sides`` has as equal a share of them as possible."""
        n = self.epochs_stage2
        return [self.sides[-1 - (n - 1 - epoch) * len(self.sides) // n] for epoch in range(n)]

    def check_trains(self) -> None:
        """Raise ``UserError`` if a run of these options would train nothing."""
        if self.model == "baseline":
            self.check_baseline()
        elif not (self.solves_head or self.epochs_stage1 or self.fine_tunes):
            raise UserError(
                "epochs_stage1 must be at least 1 when the head is not solved and stage 2 trains nothing, got 0"
            )

    def check_baseline(self) -> None:
        """Raise ``UserError`` if the baseline would train for no epochs."""
        if not self.baseline_epochs:
            raise UserError("epochs_baseline must be at least 1 when both stages have no epochs, got 0")

    @property
    def solves_head(self) -> bool:
        """Whether the head of a transfer model starts from the solution of its convex problem."""
        return self.head_start == "convex" and self.head == "batchnorm" and not self.hidden_units

    @property
    def fine_tunes(self) -> bool:
        """Whether a transfer model of these options has a stage 2."""
        return bool(self.n_unfreeze and self.epochs_stage2)

    @property
    def plain_views(self) -> bool:
        """Whether stage 2 trains on the images as they are, without augmentation and Mixup."""
        return not (self.augment or self.use_mixup)

    @property
    def cached_views(self) -> int:
        """How many views of each training image stage 2 caches: at most one per epoch, and one without augmentation."""
        return 1 if self.plain_views else max(1, min(self.views, self.epochs_stage2))

    @property
    def dataset_name(self) -> str:
        """The dataset's name in files and tables; for ``dataset="folder"``, the name of the image folder."""
        return (self.dataset == "folder" and Path(self.data_dir).resolve().name) or self.dataset

    def weights_file(self) -> Path | None:
        """Return the file of weights that the option ``weights`` names; None for weights that have a name.

        Raises:
            UserError: there is no such file.
        """
        if self.weights in NAMED_WEIGHTS:
            return None
        path = Path(os.path.expanduser(self.weights))
        if not path.is_file():
            names = ", ".join(repr(name) for name in NAMED_WEIGHTS)
            raise UserError(f"weights must be {names} or an existing file, got {self.weights!r}.")
        return path


# The options that a transfer model uses in stage 2 alone, besides its number of epochs.
STAGE2_ONLY = {"optimizer_stage2", "learning_rate_stage2", "schedule", "batch_norm", "min_steps", "views"}
STAGE2_ONLY |= {"augment", "use_mixup", "mixup_alpha", "image_size_start"}

# The options that decide what a view of the training images shows. Keys of caches hold them in this order.
VIEW_OPTIONS = (
    "seed",
    *(
        name
        for name, field in RunConfig.model_fields.items()
        if field.json_schema_extra["group"] == "augmentation" and not name.startswith(("augment_baseline", "tta"))
    ),
)


def preset(name: str, /, **options: Any) -> RunConfig:
    """Return the options of preset ``name`` (``"none"``: the defaults), overridden by ``options``.

    The baseline ``compact`` sets the options of its own training; they override those of the preset.

    Raises:
        UserError: the preset or an option is unknown, a value has the wrong type or is outside its limits, or two
            options contradict each other.
    """
    known = ("none", *PRESETS)
    if name not in known:
        raise UserError(f"preset must be one of {', '.join(known)}, got {shown(name)}.{nearest(name, known)}")
    if "preset" in options:
        raise UserError(f"preset cannot be an option of itself, got {shown(options['preset'])} beside {shown(name)}.")
    for key in options:
        if key not in RunConfig.model_fields:
            raise UserError(unknown("option", key, RunConfig.model_fields))
    try:
        own = BASELINE_OPTIONS.get(str(options.get("baseline")), {})
        return RunConfig(**{**PRESETS.get(name, {}), **own, **options, "preset": name})
    except ValidationError as error:
        places = [(item, ".".join(str(part) for part in item["loc"])) for item in error.errors()]
        lines = [explain_option(item, name, RunConfig.model_fields) for item, name in places]
        raise UserError("\n".join(lines)) from None


def tta_count(horizontal_flip: bool, shift: int = 0) -> int:
    """Return how many views of an image test-time augmentation averages, the image itself included.

    Args:
        shift: pixels of the shifts in four directions, 0 for none; without ``horizontal_flip`` it is at least 1.
    """
    return (2 if horizontal_flip else 1) * (5 if effective_tta_shift(horizontal_flip, shift) else 1)


def effective_tta_shift(horizontal_flip: bool, shift: int) -> int:
    """Return the pixels by which test-time augmentation shifts an image: without mirrored views at least 1."""
    return shift if horizontal_flip else max(1, shift)
