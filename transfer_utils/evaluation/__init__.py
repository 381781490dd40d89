"""What predictions are worth: metrics, their intervals, and when a model answers "not sure"."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "intervals": ["Estimate", "difference_interval", "mcnemar", "summarise_seeds", "wilson_interval"],
        "metrics": ["apply_temperature", "calibration", "confusion_matrix", "evaluate", "fit_temperature"],
        "not_sure": ["auroc", "describe_not_sure", "not_sure_threshold"],
    },
)
