"""The notebooks of the course: shared functions and execution."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "copy": ["copy_course"],
        "notebook": ["begin", "check", "finish", "show"],
        "run": ["choose_notebooks", "notebooks_folder", "publish", "run_course"],
    },
)
