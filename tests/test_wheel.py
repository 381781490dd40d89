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


def run(site: Path, *words: str) -> str:
    """Run Python with the content of the wheel, in the current folder; return its output."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_has_the_course_the_dashboard_and_nothing_of_the_tests(site):
    inside = site / "transfer_utils" / "project"
    assert project_folder() == ROOT and len(course_files()) > 24
    for path in (*course_files(), Path("dashboard.py"), Path(".streamlit/config.toml")):
        assert (inside / path).read_bytes() == (ROOT / path).read_bytes(), path
    code = [path for path in (ROOT / "transfer_utils").rglob("*") if path.suffix in (".py", ".j2", ".npz", ".typed")]
    assert [path for path in code if not (site / path.relative_to(ROOT)).exists()] == []
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"transfer_utils"}


@pytest.mark.slow
def test_an_installation_without_a_checkout_finds_notebooks_studies_and_the_dashboard(site, tmp_path):
    places = "from transfer_utils.course import notebooks_folder; from transfer_utils.dashboard.launch import SCRIPT"
    found = run(site, "-c", f"{places}; print(notebooks_folder()); print(SCRIPT)").split()
    assert [Path(path).parent for path in found] == [site / "transfer_utils" / "project"] * 2
    for _ in range(2):
        out = run(site, "-m", "transfer_utils", "notebooks", "mine")
        (tmp_path / "mine" / "studies" / "six_stages.yaml").write_text("changed")
    assert f"Copied 0 files to mine; {len(course_files())} existed and were kept." in out
    assert (tmp_path / "mine" / "studies" / "six_stages.yaml").read_text() == "changed"
    assert (tmp_path / "mine" / "notebooks" / "exercises" / "01_data_preparation.ipynb").exists()
    assert "to do" in run(site, "-m", "transfer_utils", "sweep", "six_stages", "--preset", "offline", "--dry-run")
