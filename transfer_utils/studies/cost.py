"""How long runs take here, and how much disk: from the records of like runs, or else by the estimate of ``doctor``."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from transfer_utils.config import PLACES, RunConfig, tta_count
from transfer_utils.records import Run
from transfer_utils.utils.machine import available_cores, machine

# Runs that differ in nothing else take equally long, but for early stopping.
NO_MATTER_OF_TIME = {"preset", "seed", "data_dir", *PLACES}
NO_MATTER_OF_TIME |= {"learning_rate_stage1", "learning_rate_stage2", "weight_decay", "label_smoothing", "dropout"}

# The options that decide what is cached, besides whether there is a stage 2.
CACHED_BY = {"seed", "backbone", "alpha", "weights", "image_size", "views"}
CACHED_BY |= {
    name
    for name, field in RunConfig.model_fields.items()
    if field.json_schema_extra["group"] in ("data", "augmentation") and not name.startswith("tta")
}


class Forecast:
    """What completed runs on a machine with as many cores as this one say about others."""

    def __init__(self, runs: Iterable[Run]):
        self._took: dict[str, list[float]] = defaultdict(list)
        self._off: dict[tuple, list[float]] = defaultdict(list)
        for run in runs:
            record = run.record
            config = _config_of(run)
            seconds = record.timing_sec.get("total")
            if config and seconds and record.status == "completed" and record.machine.get("cores") == available_cores():
                self._took[_like(config)].append(seconds)
                self._off[config.model, config.dataset].append(seconds / estimate(config)[0])

    def seconds(self, config: RunConfig) -> float:
        """Return about how long a run takes: as like runs did, or the estimate, as far off as for others so far."""
        if took := self._took.get(_like(config)):
            return statistics.median(took)
        off = self._off.get((config.model, config.dataset))
        return estimate(config)[0] * (statistics.median(off) if off else 1.0)


def disk(configs: Iterable[RunConfig]) -> float:
    """Return about how many bytes these runs cache together, each thing once."""
    images, computed = {}, {}
    for config in configs:
        pixels = IMAGES.get(config.dataset, 10_000) * 3 * config.stored_size**2
        images[config.dataset, config.data_dir, config.stored_size] = pixels
        if config.model == "transfer":
            fine_tuned = config.n_unfreeze if config.epochs_stage2 else 0
            key = (fine_tuned, config.model_dump_json(include=CACHED_BY))
            computed[key] = max(computed.get(key, 0.0), estimate(config)[1] - pixels)
    return sum(images.values()) + sum(computed.values())


def _like(config: RunConfig) -> str:
    return config.model_dump_json(exclude=NO_MATTER_OF_TIME)


def _config_of(run: Run) -> RunConfig | None:
    """Return the options of a recorded run, or None where they are those of an older version, or of an old log."""
    known = {name: value for name, value in run.record.config.items() if name in RunConfig.model_fields}
    try:
        return RunConfig(**known)
    except ValueError:
        return None


# Measured on two cores of a server processor, in images a second, at 160 px and alpha 0.35: the frozen trunk on LiteRT.
# Used for estimates only.
TRUNK_RATE, REFERENCE_CORES = 1500, 2
REFERENCE_PIXELS, REFERENCE_ALPHA = 160 * 160, 0.35
# There too: up to so many unfrozen layers, bytes of an image's boundary activations (float16) at the end of a block,
# and images a second that are trained on them, from the third on by the share of multiply-adds. With more layers,
# training is on the images themselves.
TAILS = (
    (30, 2 * 5 * 5 * 56, 2300),
    (92, 2 * 10 * 10 * 24, 1050),
    (119, 2 * 20 * 20 * 16, 700),
    (144, 2 * 40 * 40 * 8, 500),
    (152, 2 * 80 * 80 * 16, 350),
)
WHOLE_RATE = 300

IMAGES = {"cifar10": 50_000, "photo-digits": 1_257}


def estimate(config: RunConfig) -> tuple[float, float, float]:
    """Return about how many seconds, bytes of disk and bytes of memory a run of ``config`` takes on this machine."""
    images = IMAGES.get(config.dataset, 10_000)
    validation = config.validation_share * images
    train = min(images - validation, 10 * config.labels_per_class or images)
    held_out = validation + (10_000 if config.dataset == "cifar10" else 540)
    work = config.image_size**2 / REFERENCE_PIXELS * (config.alpha / REFERENCE_ALPHA) ** 1.5
    rate = max(1, int(machine()["cores"])) / REFERENCE_CORES / work
    fine_tuned = bool(config.n_unfreeze and config.epochs_stage2)
    epochs = config.epochs_stage2 if fine_tuned else 0
    boundary, tail_rate = _tail(config)
    cached = config.cached_views * train + held_out if fine_tuned and boundary else 0
    looks = tta_count(config.horizontal_flip, config.tta_shift) if config.tta else 1
    # Features of plain images come from their cached activations, which takes little.
    shared = bool(cached) and not (config.augment or config.use_mixup)
    passes = (0 if shared else train + held_out) + held_out * looks + cached
    seconds = 30 + (passes / TRUNK_RATE + epochs * (train + held_out / 3) / tail_rate) / rate
    scale = config.image_size**2 / REFERENCE_PIXELS * max(1.0, config.alpha)
    disk = images * 3 * config.stored_size**2 + 2 * 1280 * (train + held_out) + cached * boundary * scale
    return seconds, disk, 1.2e9 + 0.3 * min(disk, 2e9)


def _tail(config: RunConfig) -> tuple[int, int]:
    """Return the bytes of an image at the freeze boundary, 0 where nothing is cached, and images trained a second."""
    if config.views and config.n_unfreeze >= 0:
        for layers, size, images_a_second in TAILS:
            if config.n_unfreeze <= layers:
                return size, images_a_second
    return 0, WHOLE_RATE
