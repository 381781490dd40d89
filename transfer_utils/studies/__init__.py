"""Studies of many runs: their declaration, their estimated cost, and the sweep that runs them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cost": ["Forecast", "estimate"],
        "spec": ["Study", "find_run", "load_study"],
        "sweep": ["run_sweep"],
    },
)
