"""Which runs have the same configuration, which options have an effect, and what those of older records mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transfer_utils.config.options import PATH_OPTIONS, STAGE2_ONLY, RunConfig, preset
from transfer_utils.utils.text import enumerated, without_surrogates

FORMER_NAMES = {"base_model": "backbone"}  # option names of old logs

_DEFAULTS = dict(RunConfig())

# The options that training a baseline does not read.
OF_TRANSFER = {name for name, field in RunConfig.model_fields.items() if field.json_schema_extra["group"] == "network"}
OF_TRANSFER |= {"learning_rate_stage1", "learning_rate_stage2", "optimizer_stage2", "weight_decay", "head_start"}
OF_TRANSFER |= {"n_unfreeze", "image_size_start", "schedule", "batch_norm", "views", "source_probe"}
OF_TRANSFER |= {"patience"}  # the schedule of the baseline is cosine, which never stops early

OF_BASELINE = {name for name in RunConfig.model_fields if "baseline" in name}
OF_BOTH = {"epochs_stage1", "epochs_stage2", "augment"}  # set for both models by compare and some presets
OF_STAGE2 = STAGE2_ONLY | {"epochs_stage2", "n_unfreeze"}  # what has no effect without a stage 2

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
    left_out = {"preset", *PATH_OPTIONS, *ignoring}
    if values["dataset"] == "cifar10":
        left_out.add("data_dir")
    if values["model"] == "transfer":
        left_out |= {name for name in values if "baseline" in str(name)}
    else:
        left_out |= OF_TRANSFER | ({"epochs_stage1", "epochs_stage2"} if values["epochs_baseline"] else set())
    return frozenset((name, _comparable(value)) for name, value in values.items() if name not in left_out)


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


def fine_tunes(options: Mapping[str, Any]) -> bool:
    """Return whether a run with these options has a stage 2, as far as its record tells."""
    return options.get("model") != "baseline" and options.get("n_unfreeze") != 0 and options.get("epochs_stage2") != 0


def ignored(options: Mapping[str, Any]) -> set[str]:
    """Return the names of the options that have no effect on a run with these options, under their current names.

    An option that the record lacks is unknown, so no other option is ignored because of it.
    """
    get = options.get
    from_scratch = get("model") == "baseline"
    names = set()
    if from_scratch:
        names |= OF_TRANSFER
        # Records from before the baseline had options of its own trained it with those of stage 1.
        names -= set() if "learning_rate_baseline" in options else {"learning_rate_stage1"}
        names -= set() if "weight_decay_baseline" in options else {"weight_decay"}
        both_stages = {"epochs_stage1", "epochs_stage2"}
        names |= both_stages if get("epochs_baseline") else {"epochs_baseline"}  # 0 means those of both stages
        names |= {"weight_decay_baseline"} if get("optimizer_stage1") in ("Adam", "SGD") else set()
    else:
        names |= {name for name in options if "baseline" in name}
        names |= {"optimizer_stage1", "learning_rate_stage1"} if get("epochs_stage1") == 0 else set()
        names |= {"epochs_stage2"} if get("n_unfreeze") == 0 else set()
        names |= {"n_unfreeze"} if get("n_unfreeze") and get("epochs_stage2") == 0 else set()
        names |= {"alpha"} if get("backbone", "MobileNetV2") != "MobileNetV2" else set()
        names |= {"hidden_units", "dropout"} if get("head") == "plain" else set()
        names |= {"head_start"} if get("head") == "plain" or get("hidden_units") else set()
        names |= set() if fine_tunes(options) else STAGE2_ONLY
        optimizers = [get("optimizer_stage1")] * (get("epochs_stage1") != 0)
        optimizers += [get("optimizer_stage2")] * fine_tunes(options)
        names |= {"weight_decay"} if not {None, "AdamW"} & set(optimizers) else set()
        names |= set() if optimizers else {"dropout"}  # a head that is only solved has no steps
        stops = get("epochs_stage1") != 0 or (fine_tunes(options) and get("schedule") != "cosine")
        names |= set() if stops else {"patience"}
    augmented = (from_scratch or fine_tunes(options)) and augments(options) is not False
    if from_scratch:  # either option does it
        names |= {"augment"} if get("augment_baseline") else {"augment_baseline"} if get("augment") is True else set()
    names |= set() if augmented else {"rotation", "zoom", "width_shift", "height_shift"}
    names |= set() if augmented or get("tta") is not False else {"horizontal_flip"}
    names |= {"mixup_alpha"} if get("use_mixup") is False or "use_mixup" in names else set()
    names |= {"tta_shift"} if get("tta") is False else set()
    names |= {"data_dir"} if get("dataset") in ("cifar10", "photo-digits") else set()
    return names


def without_effect(config: RunConfig) -> list[str]:
    """Return sentences on those of the options that were set which have no effect on the model of ``config``.

    Those of the other model, or set for both, are left out: ``compare`` gives all options to both.
    """
    transfer = config.model == "transfer"
    others = OF_BASELINE if transfer else OF_TRANSFER | OF_BOTH
    read = {"data_dir"} if config.dataset == "cifar10" else set()  # though it does not tell runs apart
    names = ignored(dict(config)) - others - read
    unused = [name for name in config.changes() if name in names and getattr(config, name)]
    of_stage2 = [name for name in unused if transfer and not config.fine_tunes and name in OF_STAGE2]
    zero = "epochs_stage2" if config.n_unfreeze else "n_unfreeze"
    reasons = {f"{zero} is 0, so there is no stage 2, and": of_stage2}
    reasons |= {"With these options,": [name for name in unused if name not in of_stage2]}
    model = "the transfer model" if transfer else "the baseline"
    return [
        f"{reason} {enumerated(names)} {'has' if len(names) == 1 else 'have'} no effect on {model}."
        for reason, names in reasons.items()
        if names
    ]


def augments(options: Mapping[str, Any]) -> bool | None:
    """Return whether a run augments the images that it trains on; None if that is not recorded."""
    of_baseline = options.get("model") == "baseline" and options.get("augment_baseline")
    return True if of_baseline else options.get("augment")
