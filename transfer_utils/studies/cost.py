"""Estimated time, disk and memory of runs, from the records of similar runs or from measured rates."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from transfer_utils.config.options import VIEW_OPTIONS, RunConfig, tta_count
from transfer_utils.config.recorded import Identity, identity, recorded_config
from transfer_utils.records.folder import Run
from transfer_utils.utils.machine import available_cores

# Apart from early stopping, these options do not change the time of a run.
WITHOUT_EFFECT_ON_TIME = {"seed", "label_smoothing", "dropout"}
WITHOUT_EFFECT_ON_TIME |= {"learning_rate_stage1", "learning_rate_stage2", "weight_decay", "input_range"}
WITHOUT_EFFECT_ON_TIME |= {"learning_rate_baseline", "weight_decay_baseline", "warm_up_baseline", "selection"}
WITHOUT_EFFECT_ON_TIME |= {"not_sure_rate"}

# The options that decide what a run caches, besides whether there is a stage 2.
CACHED_BY = {"backbone", "alpha", "weights", "image_size", "input_range", "engine", "views", *VIEW_OPTIONS}
CACHED_BY |= {name for name, field in RunConfig.model_fields.items() if field.json_schema_extra["group"] == "data"}

IMAGES = {"cifar10": 50_000, "photo-digits": 1_257}

# MobileNetV2, measured on two cores of a server processor at 160 px and alpha 0.35: images a second, frozen layers.
TRUNK_RATE, REFERENCE_CORES = 2200, 2
REFERENCE_PIXELS, REFERENCE_ALPHA = 160 * 160, 0.35
# The multiply-adds of the other backbones, by the articles that introduced them, as multiples of those of MobileNetV2
# at this alpha, and their features. Such a time is a rough guess until a run of the same backbone is on record.
OTHER_BACKBONES = {
    "ResNet50": (64, 2048),
    "VGG16": (263, 512),
    "InceptionV3": (54, 2048),
    "EfficientNetB0": (6.6, 1280),
    "EfficientNetV2B0": (12, 1280),
}
# On the same machine: the largest number of unfrozen layers, the bytes of the cached boundary activations of an image
# (float16), and the images trained per second. The rates from the third row on follow from the multiply-adds.
# With more layers, nothing is cached and training takes WHOLE_RATE images per second.
TAILS = (
    (30, 2 * 5 * 5 * 56, 2300),
    (92, 2 * 10 * 10 * 24, 1230),
    (119, 2 * 20 * 20 * 16, 700),
    (144, 2 * 40 * 40 * 8, 500),
    (152, 2 * 80 * 80 * 16, 350),
)
WHOLE_RATE = 300
OTHER_TAIL_RATE = 700  # of other backbones, from maps of a sixteenth of the side
# Images trained per second by each kind of baseline, at this side.
BASELINE_RATES, BASELINE_SIDE = {"tutorial": 2900, "compact": 1000}, 32
DECODING_RATE = 120e6  # bytes of image files decoded per second: JPEG photographs of 12 megapixels


class Forecast:
    """The expected time of runs, learned from the completed runs without a GPU on as many cores as here."""

    def __init__(self, runs: Iterable[Run]):
        self._durations: dict[Identity, list[float]] = defaultdict(list)
        self._corrections: dict[tuple, list[float]] = defaultdict(list)
        self._images: dict[str, Mapping[str, int]] = {}  # of an image folder, the most that a run of it had
        for run in runs:
            record = run.record
            seconds = record.timing_sec.get("total")
            like_this = record.machine.get("cores") == available_cores() and not record.on_gpu
            if not seconds or record.status != "completed" or not like_this:
                continue
            if config := recorded_config(record.config):
                self._durations[identity(config, WITHOUT_EFFECT_ON_TIME)].append(seconds)
                images = record.images if config.dataset == "folder" and len(record.images) == 3 else None
                estimated = estimate(config, images)[0]
                self._corrections[_kind(config)].append(seconds / estimated)
                if images:
                    known = self._images.get(config.data_dir, images)
                    self._images[config.data_dir] = max(known, images, key=lambda each: sum(each.values()))

    def seconds(self, config: RunConfig, images: Mapping[str, int] | None = None, n_bytes: int = 0) -> float:
        """Return the median time of similar runs, or the estimate corrected by the runs of the same model and data.

        If ``images`` is given (see ``estimate``), the times of similar runs are not used as they are.
        """
        durations = self._durations.get(identity(config, WITHOUT_EFFECT_ON_TIME))
        if durations and images is None:
            return statistics.median(durations)
        if images is None and config.dataset == "folder":
            images = self._images.get(config.data_dir)
        corrections = self._corrections.get(_kind(config), [1.0])
        return estimate(config, images, n_bytes)[0] * statistics.median(corrections)


def disk(configs: Iterable[RunConfig]) -> float:
    """Return the estimated bytes that these runs cache together; shared data counts once."""
    images, features = {}, {}
    for config in configs:
        pixels = IMAGES.get(config.dataset, 10_000) * 3 * config.stored_size**2
        images[config.dataset, config.data_dir, config.stored_size] = pixels
        if config.model == "transfer":
            unfrozen = config.n_unfreeze if config.epochs_stage2 else 0
            key = (unfrozen, config.model_dump_json(include=CACHED_BY))
            features[key] = max(features.get(key, 0.0), estimate(config)[1] - pixels)
    return sum(images.values()) + sum(features.values())


def estimate(
    config: RunConfig, images_of: Mapping[str, int] | None = None, n_bytes: int = 0
) -> tuple[float, float, float]:
    """Return the estimated seconds, bytes of disk and bytes of memory of a run on this machine.

    Args:
        images_of: the number of images to train, validate and test on, by split, if it is known.
        n_bytes: of the image files that are to be decoded.
    """
    cores = available_cores() / REFERENCE_CORES
    if images_of is None:
        images = IMAGES.get(config.dataset, 10_000)
        validation = config.validation_share * images
        train = min(images - validation, 10 * config.labels_per_class or images)
        held_out = validation + (10_000 if config.dataset == "cifar10" else 540)
    else:
        images, train, validation = sum(images_of.values()), images_of["train"], images_of["validation"]
        held_out = validation + images_of["test"]
    decoding = n_bytes / DECODING_RATE / cores
    if config.model == "baseline":
        pixels = (config.stored_size / BASELINE_SIDE) ** 2
        trained = _trained(config, train, validation, config.baseline_epochs) / BASELINE_RATES[config.baseline] * pixels
        return 30 + decoding + trained / cores, images * 3 * config.stored_size**2, 1.2e9
    if config.backbone in OTHER_BACKBONES:
        multiple, features = OTHER_BACKBONES[config.backbone]
        wider, tails = 1.0, ((math.inf, 2 * 10 * 10 * features / 2, OTHER_TAIL_RATE),)
    else:
        multiple, features = (config.alpha / REFERENCE_ALPHA) ** 1.5, 1280
        wider, tails = max(1.0, config.alpha), TAILS
    pixels = config.image_size**2 / REFERENCE_PIXELS
    rate = cores / (multiple * pixels)
    epochs = config.epochs_stage2 if config.fine_tunes else 0
    # The mean work of an epoch of training, as a share of that at the last side, at which all are validated.
    share = statistics.fmean([(side / config.image_size) ** 2 for side in config.side_by_epoch] or [1])
    # Without a row for this boundary, or with endless views, nothing is cached.
    tails = tails if config.views and config.n_unfreeze >= 0 else ()
    fitting = ((size, rate) for layers, size, rate in tails if config.n_unfreeze <= layers)
    boundary, tail_rate = next(fitting, (0, WHOLE_RATE))
    # The test split alone is never cached.
    cached = config.cached_views * train + validation if config.fine_tunes and boundary else 0
    views = tta_count(config.horizontal_flip, config.tta_shift) if config.tta else 1
    # The features of plain images come from their cached activations, which takes little time.
    shared = bool(cached) and config.plain_views
    passes = (0 if shared else train + validation) + held_out * views + cached
    trained = _trained(config, train, validation, epochs, share)
    seconds = 25 + decoding + (passes / TRUNK_RATE + trained / tail_rate) / rate
    stored = images * 3 * config.stored_size**2 + 2 * features * (train + validation)
    stored += cached * boundary * pixels * wider
    return seconds, stored, 1.2e9 + 0.3 * min(stored, 2e9)


def _kind(config: RunConfig) -> tuple[str, ...]:
    """Return what runs must share for the time of one to correct the estimate of another."""
    network = config.backbone if config.model == "transfer" else config.baseline
    return config.model, network, config.dataset


def _trained(config: RunConfig, train: float, validation: float, epochs: int, share: float = 1.0) -> float:
    """Return the images on which a stage trains, each of which counts as ``share`` of one.

    Validating one takes a third of the time of training on it.
    """
    return epochs * (share * config.epoch_size(train, epochs) + validation / 3)
