"""A copy of the course to work in, for an installation without a checkout."""

from __future__ import annotations

from pathlib import Path

from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.project import course_files, project_folder


def copy_course(folder: str | Path) -> tuple[int, int]:
    """Copy notebooks, exercises, solutions, studies and recorded runs into ``folder``; files that exist are kept.

    Returns:
        The number of copied files, and of files that existed.
    """
    files = course_files()
    missing = [path for path in files if not Path(folder, path).exists()]
    for path in missing:
        write_bytes(Path(folder, path), (project_folder() / path).read_bytes())
    return len(missing), len(files) - len(missing)
