"""The files of the course that are not code: in a checkout beside the package, and in a wheel inside of it."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# setup.py reads these patterns and puts the files into the wheel.
COURSE_FILES = (
    "notebooks/*.ipynb",
    "notebooks/exercises/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "studies/*.yaml",
    "runs/*/run.json",
    "runs/*/comparison.md",
)
DASHBOARD_FILES = ("dashboard.py", ".streamlit/config.toml")


def project_folder() -> Path:
    """Return the folder that contains ``notebooks``, ``studies``, ``runs`` and ``dashboard.py``."""
    inside = PACKAGE / "project"
    return inside if inside.is_dir() else PACKAGE.parent


def course_files() -> list[Path]:
    """Return the paths of the course's notebooks, studies and records, relative to ``project_folder``."""
    folder = project_folder()
    return sorted(path.relative_to(folder) for pattern in COURSE_FILES for path in folder.glob(pattern))
