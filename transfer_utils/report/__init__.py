"""The report: figures, article and tables, generated from run records."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"article": ["write_report"], "comparison": ["analysis", "draw_comparison"]},
)
