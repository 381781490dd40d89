"""Puts the course and the dashboard into the wheel; everything else is declared in ``pyproject.toml``."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Run, not imported: the package needs others, which are not installed where the wheel is built.
FILES = runpy.run_path("transfer_utils/utils/project.py")


class BuildWithCourse(build_py):
    """Copies the code, and into ``transfer_utils/project`` the files that a checkout has beside it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for pattern in (*FILES["COURSE_FILES"], *FILES["DASHBOARD_FILES"]):
            for source in Path().glob(pattern):
                target = Path(self.build_lib, "transfer_utils", "project", source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithCourse})
