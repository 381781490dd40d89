"""Transfer learning, from the configuration to the recorded run: the package of the course.

The names below are loaded on first use, which keeps ``import transfer_utils`` fast.
"""

import os

import lazy_loader

# Otherwise the C++ log of TensorFlow prints lines about missing GPUs at the start of every command.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

_EXPORTS = {
    "config": ["RunConfig", "preset"],
    "data": ["Dataset", "load_and_prepare_data", "load_dataset", "preprocess_data"],
    "experiment": ["run_experiment"],
    "features": ["BoundaryCache", "extract_features"],
    "models": [
        "build_backbone",
        "build_baseline_cnn",
        "build_feature_extractor",
        "build_full_model",
        "build_top_classifier",
        "load_model",
        "save_model",
        "split_at_freeze_boundary",
        "unfreeze_model_tail",
    ],
    "records": ["RunRecord", "load_runs", "read_record", "save_results_as_json"],
    "training": ["run_stage1_training", "run_stage2_finetuning", "train_baseline"],
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_EXPORTS)
