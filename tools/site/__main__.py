"""Build the site: put its sources together, run Sphinx over them, and check what came out. Called by ``make site``.

No notebook is executed; the pages show the outputs that are stored in them. Warnings of Sphinx are errors.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

from tools.site.check import check, link_report
from tools.site.classifier import classifier_page
from tools.site.links import Repository, StageError
from tools.site.stage import ROOT, stage
from tools.site.theme import mend_theme
from transfer_utils.errors import UserError

SITE, BUILD = ROOT / "site", ROOT / "build" / "site"
SOURCES, CACHE, PAGES = BUILD / "sources", BUILD / "cache", BUILD / "pages"
OUTSIDE, LINKS = BUILD / "outside.txt", BUILD / "links"


def main() -> int:
    """Build and check the site; return the exit status."""
    parser = argparse.ArgumentParser(prog="make site")
    parser.add_argument("--outside", action="store_true", help="check the links to other sites instead of building")
    options = parser.parse_args()
    from sphinx.cmd.build import main as sphinx

    repository = Repository.of_project(ROOT)
    os.environ |= {"SITE_REPOSITORY": repository.url, "SITE_BRANCH": repository.branch}  # read by conf.py
    try:
        # From nothing each time, so that no page of an earlier build stays.
        shutil.rmtree(BUILD, ignore_errors=True)
        classifier = classifier_page(ROOT)
        stage(ROOT, SOURCES, repository, classifier)
    except (StageError, UserError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if not classifier.files:
        print(f"The page with a classifier is left out. {classifier.missing}", file=sys.stderr)
    places = ["-q", "-j", "auto", "-c", str(ROOT / "docs" / "site"), "-d", str(CACHE), str(SOURCES)]
    if options.outside:
        # Without Sphinx's own words, which are a long paragraph for each link.
        status = sphinx(["-b", "linkcheck", "-Q", *places, str(LINKS)])
        answers = (LINKS / "output.json").read_text("utf-8").splitlines()
        report = link_report(json.loads(line) for line in answers)
        print(report, file=sys.stderr if status else sys.stdout)
        return status
    status = sphinx(["-b", "html", "--fail-on-warning", "--keep-going", *places, str(PAGES)])
    if status:
        return status
    for path in (PAGES / "_sources").rglob("*.ipynb"):  # what a reader downloads is the notebook as it is
        shutil.copyfile(ROOT / path.relative_to(PAGES / "_sources"), path)
    mend_theme(PAGES)
    classifier.write(PAGES)
    result = check(PAGES)
    OUTSIDE.write_text("".join(f"{address}\n" for address in result.outside), "utf-8")
    for problem in result.problems:
        print(f"Error: {problem}", file=sys.stderr)
    if not result.problems:
        shutil.rmtree(SITE, ignore_errors=True)
        PAGES.rename(SITE)
        print(f"{result.pages} pages; open {SITE / 'index.html'}.")
        print(f"Their {len(result.outside)} links to other sites are listed in {OUTSIDE.relative_to(ROOT)}.")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
