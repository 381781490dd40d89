"""The options of a run, the named sets of them, and the wording of errors in options."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["PATH_OPTIONS", "RunConfig", "preset", "tta_count"],
        "presets": ["PRESETS"],
        "recorded": ["identity", "recorded_config"],
    },
)
