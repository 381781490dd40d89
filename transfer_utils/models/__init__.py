"""Build, freeze, save and load networks, and run them fast."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fast_layers": ["with_fast_layers"],
        "engine": ["Engine"],
        "litert": ["LiteRT", "convert", "load_exported"],
        "networks": [
            "build_backbone",
            "build_baseline_cnn",
            "build_compact_cnn",
            "build_feature_extractor",
            "build_full_model",
            "build_tail",
            "build_top_classifier",
            "build_trunk",
            "split_at_freeze_boundary",
            "unfreeze_model_tail",
        ],
        "saving": ["load_model", "names_and_threshold", "save_model"],
    },
)
