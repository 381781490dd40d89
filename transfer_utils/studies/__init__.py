"""Many runs: what a study asks, what it will cost, and the sweep that does it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cost": ["Forecast", "estimate"],
        "spec": ["Study", "find_run", "load_study"],
        "sweep": ["run_sweep"],
    },
)
