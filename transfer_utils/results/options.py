"""How the options of recorded runs are shown, sorted and grouped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from transfer_utils.config.options import ALL_LAYERS, RunConfig, preset
from transfer_utils.config.presets import BASELINE_OPTIONS, PRESETS
from transfer_utils.config.recorded import Identity, current_names, identity
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import as_text, finite_number

OLD_VALUES = {"true": True, "false": False, "none": None, "null": None}
# The options that are text: their types are str, or Literal, which has its values as arguments.
TEXT_OPTIONS = {
    name for name, field in RunConfig.model_fields.items() if field.annotation is str or get_args(field.annotation)
}

REPEATS = {"seed"}  # runs that differ only in these options repeat each other

# The options that describe a run best come first, the others in the order of their declaration.
IMPORTANT = ("model", "baseline", "backbone", "n_unfreeze", "augment", "use_mixup")
IMPORTANT += ("learning_rate_stage2", "labels_per_class")
ORDER = {name: index for index, name in enumerate(dict.fromkeys((*IMPORTANT, *RunConfig.model_fields)))}

# The number that means "all", for the options that have one.
ALL = {"n_unfreeze": ALL_LAYERS, "labels_per_class": 0}

# How the value of an option of this type is described.
DESCRIPTIONS = {
    "backbone": (str, "{}"),
    "baseline": (str, "{}"),
    "learning_rate_stage2": (float, "learning rate {}"),
    "optimizer_stage1": (str, "{} on the head"),
    "optimizer_stage2": (str, "{} in fine-tuning"),
    "weights": (str, "{} weights"),
    "image_size": (int, "{} px"),
    "epochs_stage1": (int, "{} epochs of the head"),
    "epochs_stage2": (int, "{} epochs of fine-tuning"),
    "epochs_baseline": (int, "{} epochs from scratch"),
    "schedule": (str, "{} schedule"),
    "head": (str, "{} head"),
}

Item = TypeVar("Item")


def repeating_preset(options: RunConfig | Mapping[str, Any]) -> RunConfig | None:
    """Return the options of the preset that repeats this configuration, whatever its name was; None if none does."""
    return _presets().get(identity(options, ignoring=REPEATS))


@cache
def _presets() -> dict[Identity, RunConfig]:
    kinds = [{"model": "transfer"}, *({"model": "baseline", "baseline": kind} for kind in BASELINE_OPTIONS)]
    configs = [preset(name, **kind) for name in PRESETS for kind in kinds]
    # Presets that differ in the transfer model alone have the same baseline: it goes by the name of the first.
    return {identity(config, ignoring=REPEATS): config for config in reversed(configs)}


def normalised(config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of any log under their current names, with text such as ``"True"`` and ``"30"`` converted.

    The value of an option that is text, such as ``selection="none"``, stays as it is.
    """
    return {
        as_text(name, 60): value if name in TEXT_OPTIONS else _converted(value)
        for name, value in current_names(config).items()
    }


def model_kind(options: Mapping[str, Any]) -> str:
    """Return ``transfer``, ``random`` for the same network without its pretraining, or which CNN from scratch.

    Records that are older than the choice of CNN have that of the tutorials.
    """
    if options.get("model") == "baseline":
        return as_text(options.get("baseline", "tutorial"), 20)
    return "random" if options.get("weights") == "random" else "transfer"


def model_name(options: Mapping[str, Any]) -> str:
    """Return the name of the model for tables and legends."""
    kind = model_kind(options)
    return MODEL_NAMES.get(kind, f"{kind} CNN")


def value_text(name: str, value: Any) -> str:
    """Return the value of an option as text; a number that means all is ``all``."""
    return "all" if _is_all(name, value) else as_text(value)


def option_text(name: str, value: Any) -> str:
    """Describe an option and its value: ``last 30 layers unfrozen``, ``augmented``, ``dropout 0.3``."""
    text = value_text(name, value)
    match name, value:
        case "model", "transfer" | "baseline":
            return MODEL_NAMES[value]
        case "n_unfreeze", 0:
            return "backbone frozen"
        case "n_unfreeze", int():
            return "all layers unfrozen" if text == "all" else f"last {text} layers unfrozen"
        case "image_size_start", int():
            return f"from {text} px on" if value else "one side throughout"
        case "augment" | "augment_baseline", bool():
            return "augmented" if value else "not augmented"
        case "tta", bool():
            return f"{'' if value else 'no '}test-time augmentation"
        case "use_mixup", bool():
            return "Mixup" if value else "no Mixup"
        case "labels_per_class", int():
            return f"{text} labels" + ("" if text == "all" else " per class")
        case "head_start", "convex" | "random":
            return "solved head" if value == "convex" else "head from random weights"
        case "batch_norm", "frozen" | "trained":
            return f"BatchNorm {text}"
    kind, description = DESCRIPTIONS.get(name, ((), ""))
    return description.format(text) if isinstance(value, kind) else f"{as_text(name, 40)} {text}"


def sort_key(name: str, value: Any) -> tuple[int, float, str]:
    """Return a key that sorts the values of an option: numbers by size, then "all", then text."""
    size = math.inf if _is_all(name, value) else finite_number(value)
    return (1, 0.0, as_text(value)) if size is None else (0, size, "")


def _is_all(name: str, value: Any) -> bool:
    return name in ALL and not isinstance(value, bool) and value == ALL[name]


def _converted(value: Any) -> Any:
    """Convert text of an old log, such as "True", "None", "30" or "1e-5"; return any other value unchanged."""
    if not isinstance(value, str) or len(value) > 30:
        return value
    if value.lower() in OLD_VALUES:
        return OLD_VALUES[value.lower()]
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        return number if math.isfinite(number) else value
    return value
