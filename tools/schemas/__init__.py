"""Check the files that other tools read, and that no test can run here, against their schemas: part of ``make lint``.

Nothing is downloaded: check-jsonschema brings the schemas of GitHub and of the citation format; the others lie here.
"""

from pathlib import Path

from check_jsonschema import main
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CHECKS = {
    ".github/workflows/*.yml": ("--builtin-schema", "vendor.github-workflows"),
    "CITATION.cff": ("--builtin-schema", "vendor.citation-file-format"),
    ".devcontainer/devcontainer.json": ("--schemafile", str(HERE / "devcontainer.json")),
    "environment.yml": ("--schemafile", str(HERE / "environment.json")),
    ".pre-commit-config.yaml": ("--schemafile", str(HERE / "pre-commit.json")),
}


def problems(root: Path) -> list[str]:
    """Return a report on every kind of file below ``root`` that does not agree with its schema."""
    reports = []
    for pattern, schema in CHECKS.items():
        files = [str(path) for path in sorted(root.glob(pattern))]
        done = CliRunner().invoke(main, [*schema, "--default-filetype", "yaml", *files])
        if done.exit_code:
            reports.append(done.output or str(done.exception))
    return reports
