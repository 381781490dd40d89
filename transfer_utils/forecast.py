"""How long runs take here, and how much disk: from the records of like runs, or else by the estimate of ``doctor``."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from transfer_utils.config import PLACES, RunConfig
from transfer_utils.doctor import IMAGES, estimate
from transfer_utils.machine import available_cores
from transfer_utils.records import Run

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
