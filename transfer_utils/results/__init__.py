"""The results of recorded runs, read from their records only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "by_labels": ["summarise", "verdict"],
        "claims": ["evaluate_claims"],
        "curves": ["first_reaching", "mean_history", "timeline"],
        "groups": ["describe", "families", "group_by", "group_by_configuration"],
        "summary": ["collect", "difference"],
        "table": ["differing", "make_rows"],
    },
)
