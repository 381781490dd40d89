"""Transfer learning from config to recorded run: the package behind the course.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
import os

# TensorFlow's C++ log otherwise opens every command with lines about absent GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

_ROOMS = {
    "config": ("RunConfig", "preset"),
    "data": ("Dataset", "load_and_prepare_data", "load_dataset", "preprocess_data"),
    "experiment": ("run_experiment",),
    "features": ("BoundaryCache", "extract_features"),
    "model_files": ("load_model", "save_model"),
    "models": (
        "build_backbone",
        "build_baseline_cnn",
        "build_feature_extractor",
        "build_full_model",
        "build_top_classifier",
        "split_at_freeze_boundary",
        "unfreeze_model_tail",
    ),
    "records": ("RunRecord", "load_runs", "read_record", "save_results_as_json"),
    "training": ("run_stage1_training", "run_stage2_finetuning", "train_baseline"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [*_ROOM_OF]


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'transfer_utils' has no attribute {name!r}")
    return getattr(importlib.import_module(f"transfer_utils.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOM_OF])
