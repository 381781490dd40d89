"""Build the site: put its sources together, run Sphinx over them, and check what came out. Called by ``make site``.

No notebook is executed; the pages show the outputs that are stored in them. Warnings of Sphinx are errors.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tools.site.check import check
from tools.site.stage import ROOT, Repository, StageError, stage

SOURCES, CACHE = ROOT / "build" / "site" / "sources", ROOT / "build" / "site" / "cache"
OUTSIDE = ROOT / "build" / "site" / "outside.txt"


def main() -> int:
    """Build and check the site; return the exit status."""
    parser = argparse.ArgumentParser(prog="make site")
    parser.add_argument("--repository", default="", help="address of the repository, for the buttons and links to it")
    parser.add_argument("--branch", default="main", help="its branch")
    parser.add_argument("--outside", action="store_true", help="check the links to other sites instead of building")
    options = parser.parse_args()
    from sphinx.cmd.build import main as sphinx

    if options.outside:
        return sphinx(["-q", "-b", "linkcheck", *_places(ROOT / "build" / "site" / "links", options)])
    try:
        # From nothing each time, so that no page of an earlier build stays.
        shutil.rmtree(SOURCES, ignore_errors=True)
        stage(ROOT, SOURCES, Repository(options.repository.rstrip("/"), options.branch))
    except StageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    site = ROOT / "site"
    shutil.rmtree(site, ignore_errors=True)
    status = sphinx(["-q", "-b", "html", "-j", "auto", "--fail-on-warning", "--keep-going", *_places(site, options)])
    if status:
        return status
    result = check(site)
    OUTSIDE.write_text("".join(f"{address}\n" for address in result.outside), "utf-8")
    for problem in result.problems:
        print(f"Error: {problem}", file=sys.stderr)
    if not result.problems:
        print(f"{result.pages} pages in {site}; open {site / 'index.html'}.")
        print(f"Their {len(result.outside)} links to other sites are listed in {OUTSIDE.relative_to(ROOT)}.")
    return bool(result.problems)


def _places(output: Path, options: argparse.Namespace) -> list[str]:
    repository = [f"-Dhtml_theme_options.repository_url={options.repository.rstrip('/')}"] if options.repository else []
    branch = f"-Dhtml_theme_options.repository_branch={options.branch}"
    configuration = str(ROOT / "docs" / "site")
    return ["-c", configuration, "-d", str(CACHE), *repository, branch, str(SOURCES), str(output)]


if __name__ == "__main__":
    sys.exit(main())
