"""Which runs have the same configuration, and what the options of older records mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transfer_utils.config.options import PATH_OPTIONS, RunConfig, preset
from transfer_utils.utils.text import without_surrogates

FORMER_NAMES = {"base_model": "backbone"}  # option names of old logs

_DEFAULTS = dict(RunConfig())

# The options that training a baseline does not read.
OF_TRANSFER = {name for name, field in RunConfig.model_fields.items() if field.json_schema_extra["group"] == "network"}
OF_TRANSFER |= {"learning_rate_stage1", "learning_rate_stage2", "optimizer_stage2", "weight_decay", "head_start"}
OF_TRANSFER |= {"n_unfreeze", "image_size_start", "schedule", "batch_norm", "views", "source_probe"}
OF_TRANSFER |= {"patience"}  # the schedule of the baseline is cosine, which never stops early

Identity = frozenset[tuple[str, Any]]


def identity(options: RunConfig | Mapping[str, Any], ignoring: Iterable[str] = ()) -> Identity:
    """Return the (option, value) pairs that define a configuration; runs with equal identities compute the same.

    The preset and the path options do not count. ``data_dir`` does not count for CIFAR-10: neither its place nor
    whether it is the JPEG copy. The options of the baseline do not count for the transfer model, nor those of the
    transfer model for the baseline.

    Args:
        options: a config, or the ``config`` of any run record; an option that an older record lacks has its default.
        ignoring: further options that do not count, such as the seed.
    """
    values = _DEFAULTS | current_names(dict(options))
    ignored = {"preset", *PATH_OPTIONS, *ignoring}
    if values["dataset"] == "cifar10":
        ignored.add("data_dir")
    if values["model"] == "transfer":
        ignored |= {name for name in values if "baseline" in str(name)}
    else:
        ignored |= OF_TRANSFER | ({"epochs_stage1", "epochs_stage2"} if values["epochs_baseline"] else set())
    return frozenset((name, _comparable(value)) for name, value in values.items() if name not in ignored)


def current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of any log under their current names."""
    return {FORMER_NAMES.get(name, name): value for name, value in options.items()}


def _comparable(value: Any) -> Any:
    """Return a value as a record has it, in which text is Unicode; a damaged one may hold what a set cannot hold."""
    if isinstance(value, str):
        return without_surrogates(value)
    return repr(value) if isinstance(value, list | dict) else value


def recorded_config(options: Mapping[str, Any]) -> RunConfig | None:
    """Return the config of a run record, or None if its options are not valid in this version."""
    try:
        known = current_names(options).items()
        config = RunConfig(**{name: value for name, value in known if name in RunConfig.model_fields})
        preset(config.preset)
        return config
    except ValueError:
        return None
