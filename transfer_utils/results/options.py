"""The options of runs: today's names for those of old logs, their order, and how a reader would say them."""

from __future__ import annotations

import math
from typing import Any

from transfer_utils.config import ALL_LAYERS, PLACES, RunConfig
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import as_text, finite_number

OLD_NAMES = {"base_model": "backbone"}
OLD_WORDS = {"true": True, "false": False, "none": None, "null": None}
NOW_WORDS = {"preset", "export", "strategy"}  # options of today whose value "none" is a word like any other

# Options that say where a run is kept, or repeat it: two runs that differ only in these have the same configuration.
NOT_COMPARED = {*PLACES, "preset"}
REPEATS = {"seed"}

# The options that say most about a run are named first, the others in the order of their declaration.
TELLING = ("model", "backbone", "n_unfreeze", "augment", "use_mixup", "learning_rate_stage2", "labels_per_class")
ORDER = {name: place for place, name in enumerate(dict.fromkeys((*TELLING, *RunConfig.model_fields)))}

# The number that means "all of them", for the options that have one.
ALL = {"n_unfreeze": ALL_LAYERS, "labels_per_class": 0}


def normalised(config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of any log under today's names, with ``"True"`` and ``"30"`` as what they stand for."""
    return {
        as_text(OLD_NAMES.get(name, name), 60): value if name in NOW_WORDS else _meant(value)
        for name, value in config.items()
    }


def said(name: str, value: Any) -> str:
    """Return the value of an option as text; the number that means all of them is ``all``."""
    return "all" if _is_all(name, value) else as_text(value, 40)


def phrase(name: str, value: Any) -> str:
    """Return an option as a reader would say it: ``last 30 layers unfrozen``, ``augmented``, ``dropout 0.3``."""
    words = said(name, value)
    match name, value:
        case "model", "transfer" | "baseline":
            return MODEL_NAMES[value]
        case "backbone", str():
            return words
        case "n_unfreeze", 0:
            return "backbone frozen"
        case "n_unfreeze", int():
            return "all layers unfrozen" if words == "all" else f"last {words} layers unfrozen"
        case "augment", bool():
            return "augmented" if value else "not augmented"
        case "use_mixup", bool():
            return "Mixup" if value else "no Mixup"
        case "learning_rate_stage2", float():
            return f"learning rate {words}"
        case "labels_per_class", int():
            return f"{words} labels" + ("" if words == "all" else " per class")
        case "optimizer_stage1", str():
            return f"{words} on the head"
        case "optimizer_stage2", str():
            return f"{words} in fine-tuning"
        case "image_size", int():
            return f"{words} px"
    return f"{as_text(name, 40)} {words}"


def sort_key(name: str, value: Any) -> tuple[int, float, str]:
    """Order the values of an option: numbers by size, then "all", then words."""
    size = math.inf if _is_all(name, value) else finite_number(value)
    return (1, 0.0, as_text(value)) if size is None else (0, size, "")


def _is_all(name: str, value: Any) -> bool:
    return name in ALL and not isinstance(value, bool) and value == ALL[name]


def _meant(value: Any) -> Any:
    """Read the words of an old log: "True", "None", "30", "1e-5"; everything else stays as it is."""
    if not isinstance(value, str) or len(value) > 30:
        return value
    if value.lower() in OLD_WORDS:
        return OLD_WORDS[value.lower()]
    for kind in (int, float):
        try:
            converted = kind(value)
        except ValueError:
            continue
        return converted if math.isfinite(converted) else value
    return value


# As text, since that is what options are compared by.
DEFAULTS = {name: said(name, field.default) for name, field in RunConfig.model_fields.items()}
