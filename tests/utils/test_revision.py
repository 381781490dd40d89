"""A record says which source computed it: the commit, and whether the package was edited since."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from transfer_utils.records.folder import load_runs
from transfer_utils.utils.revision import source_revision


@pytest.fixture
def package(tmp_path):
    """Return the folder of a package in a repository of one commit."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


def test_the_commit_is_named_and_an_edit_of_the_package_is_noticed(package):
    head = subprocess.run(["git", "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert source_revision(package) == {"commit": head.stdout.strip(), "changed": False}
    (package.parent / "notes.txt").write_text("beside the package")
    assert source_revision(package)["changed"] is False
    (package / "__init__.py").write_text("x = 1\n")
    assert source_revision(package)["changed"] is True


def test_a_package_that_no_repository_tracks_has_no_revision(package, monkeypatch):
    other = package.parent / "site-packages"
    other.mkdir()
    (other / "__init__.py").write_text("")
    assert source_revision(other) == {}
    monkeypatch.setenv("PATH", "")
    assert source_revision(package) == {}


def test_git_leaves_the_standard_input_of_a_run_alone(tmp_path):
    """A supervised run reads it to notice the end of its starter; on Windows, git would wait for that read."""
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec /bin/cat\n")
    git.chmod(0o755)
    code = "import sys; from transfer_utils.utils.revision import source_revision as of; of(); print(sys.stdin.read())"
    command, environment = [sys.executable, "-c", code], os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(command, input="of the run", env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "of the run", done.stderr


def test_every_committed_record_names_the_unchanged_source_that_computed_it_and_no_path_of_a_machine():
    runs = load_runs(ROOT / "runs")
    assert runs.runs and not runs.unreadable
    for run in runs.runs:
        source = run.record.source
        assert re.fullmatch("[0-9a-f]{40}", str(source.get("commit"))) and source.get("changed") is False, run.path
        assert not re.search(r'[" =](/|[A-Z]:)', run.record.command), run.path
