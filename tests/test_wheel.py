"""An installation from the wheel, without a checkout, has the whole course."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from transfer_utils.utils.project import course_files, project_folder

FOLDERS = ("transfer_utils", "notebooks", "studies", "runs", ".streamlit")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "dashboard.py")
UNTRACKED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.keras", "*.h5", "*.npy")
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return a folder with the content of the wheel, built from a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=UNTRACKED)
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    built = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    [wheel] = (copy / "dist").glob("*.whl")
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_the_wheel_has_the_course_the_dashboard_and_nothing_of_the_tests(site):
    inside = site / "transfer_utils" / "project"
    assert project_folder() == ROOT and len(course_files()) > 24
    for path in (*course_files(), Path("dashboard.py"), Path(".streamlit/config.toml")):
        assert (inside / path).read_bytes() == (ROOT / path).read_bytes(), path
    suffixes = (".py", ".j2", ".js", ".css", ".npz", ".typed")
    code = [path for path in (ROOT / "transfer_utils").rglob("*") if path.suffix in suffixes]
    assert [path for path in code if not (site / path.relative_to(ROOT)).exists()] == []
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"transfer_utils"}


TRY = """
from transfer_utils.cli.main import main
from transfer_utils.course import notebooks_folder
from transfer_utils.dashboard.launch import SCRIPT
print(notebooks_folder(), SCRIPT)
main(["notebooks", "mine"])
main(["sweep", "six_stages", "--preset", "offline", "--dry-run"])
"""


@pytest.mark.slow
def test_an_installation_without_a_checkout_finds_notebooks_studies_and_the_dashboard(site, tmp_path):
    mine = tmp_path / "mine" / "studies" / "six_stages.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("changed")
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    places, copied, start, *plan = done.stdout.splitlines()
    assert [Path(path).parent for path in places.split()] == [site / "transfer_utils" / "project"] * 2
    assert copied == f"Copied {len(course_files()) - 1} files to mine; 1 existed and was kept."
    assert mine.read_text() == "changed" and Path(start.partition("jupyter lab ")[2]).exists()
    assert "to do" in "".join(plan)
