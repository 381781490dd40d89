"""One run, from its options to its record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluate": ["predict_probabilities"],
        "run": ["finished_run", "run_experiment"],
    },
)
