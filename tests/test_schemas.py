"""The files for GitHub, conda, dev containers, hooks and citations agree with their schemas (``make lint``)."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# A likely mistake in each file.
MISTAKES = {
    ".github/workflows/ci.yml": ("runs-on:", "run-on:"),
    ".github/workflows/pages.yml": ("timeout-minutes: 30", "timeout-minutes: soon"),
    "CITATION.cff": ("family-names: Krizhevsky", "surname: Krizhevsky"),
    ".devcontainer/devcontainer.json": ('"postCreateCommand"', '"postcreatecommand"'),
    "environment.yml": ("channels:", "channel:"),
    ".pre-commit-config.yaml": ("rev:", "version:"),
}


def check(folder: Path) -> subprocess.CompletedProcess:
    command = ["sh", str(folder / "tools" / "schemas.sh"), sys.executable]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_files_agree_with_their_schemas_and_a_mistake_in_each_is_named(tmp_path):
    done = check(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name, (right, wrong) in MISTAKES.items():
        text = (ROOT / name).read_text("utf-8")
        assert right in text
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(right, wrong), "utf-8")
    done = check(tmp_path)
    assert done.returncode == 1
    assert [name for name in MISTAKES if name not in done.stdout + done.stderr] == []
