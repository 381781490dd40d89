"""The files for GitHub, conda, dev containers, hooks and citations agree with their schemas (``make lint``)."""

from tests.conftest import ROOT
from tools.schemas import CHECKS, problems

# A likely mistake in each file.
MISTAKES = {
    ".github/workflows/ci.yml": ("runs-on:", "run-on:"),
    ".github/workflows/pages.yml": ("timeout-minutes: 30", "timeout-minutes: soon"),
    "CITATION.cff": ("family-names: Krizhevsky", "surname: Krizhevsky"),
    ".devcontainer/devcontainer.json": ('"postCreateCommand"', '"postcreatecommand"'),
    "environment.yml": ("channels:", "channel:"),
    ".pre-commit-config.yaml": ("rev:", "version:"),
}


def test_the_files_agree_with_their_schemas():
    assert problems(ROOT) == []


def test_a_mistake_in_any_file_is_named(tmp_path):
    for name, (right, wrong) in MISTAKES.items():
        text = (ROOT / name).read_text("utf-8")
        assert right in text
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(right, wrong), "utf-8")
    reports = problems(tmp_path)
    assert len(reports) == len(CHECKS)
    assert [name for name in MISTAKES if name not in "".join(reports)] == []


def test_a_file_that_is_missing_is_a_problem(tmp_path):
    assert len(problems(tmp_path)) == len(CHECKS)
