"""Put the sources of the site together, from files of the repository alone, so that Sphinx finds them in one folder.

A file keeps its path where it can: links between notebooks, documents and figures then stay as they are.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import jinja2

from tools.site.classifier import ClassifierPage
from tools.site.links import Links, Repository, StageError
from tools.site.notebooks import CHAPTERS, EXERCISES, SOLUTIONS, Chapter, chapters, glossary, staged_notebook
from tools.site.reference import reference_pages
from tools.site.sources import abstract_sources, figure_sources, table_sources
from transfer_utils.dashboard.export import fragment
from transfer_utils.records.folder import Run
from transfer_utils.report.article import ARTICLE, read_results
from transfer_utils.results.formatting import markdown_table

ROOT = Path(__file__).parents[2]
OWN_PAGES = "docs/site"
RUNS_PAGE = "runs.md"
GLOSSARY = "glossary.md"
CLASSIFIER_PAGE = "classifier.md"
TRY_IT = f"[Try a trained network]({CLASSIFIER_PAGE}) on your own handwriting first: it runs in your browser."
# The section of the README that is a page among the results; the other two are on the front page.
RESULTS = "What we measured"
NOT_IN_GUIDE = (RESULTS, "The course", "Licence")


def stage(root: Path, folder: Path, repository: Repository, classifier: ClassifierPage) -> None:
    """Write all sources of the site into ``folder``; the page of the classifier only if its files are there.

    Raises:
        StageError: a source is missing or not as it must be.
    """
    course = chapters(root)
    sections = readme_sections(repository.filled((root / "README.md").read_text("utf-8")))
    documents = ["CONTRIBUTING.md", ARTICLE, *_names(root, "docs/*.md")]
    notebooks = [path for each in (CHAPTERS, EXERCISES, SOLUTIONS) for path in _names(root, f"{each}/[0-9]*.ipynb")]
    pages = {path: path for path in (*documents, *notebooks)} | {"README.md": "index.md", "runs": RUNS_PAGE}
    in_guide = [title for title in sections if title not in NOT_IN_GUIDE]
    staged = [*in_guide, RESULTS]
    pages |= {f"README.md#{slug(title)}": _guide(title) if title in staged else "index.md" for title in sections}
    if missing := [title for title in NOT_IN_GUIDE if title not in sections]:
        raise StageError(f"README.md has no section {', '.join(missing)}.")
    links = Links(root, pages, repository)

    for path in notebooks:
        text = staged_notebook((root / path).read_text("utf-8"), path, links, _children(root, path))
        _write(folder / path, text)
    for path in documents:
        _write(folder / path, links.moved((root / path).read_text("utf-8"), path, path))
    results, _ = read_results(str(root / "studies" / "six_stages.yaml"), str(root / "runs"))
    sources = abstract_sources(results), figure_sources(results), table_sources(results)
    _write(folder / ARTICLE, with_sources((folder / ARTICLE).read_text("utf-8"), *sources))
    for title in staged:
        _write(folder / _guide(title), links.moved(sections[title], "README.md", _guide(title)))
    _write(folder / GLOSSARY, glossary(root, course, links, GLOSSARY))
    for name, text in reference_pages(root).items():
        _write(folder / "reference" / f"{name}.rst", text)
    _write(folder / "runs-fragment.html", fragment(root / "runs"))
    values = {"chapters": chapter_table(course), "hours": f"{sum(each.minutes for each in course) / 60:.0f} hours"}
    values["start"] = f"[{in_guide[0]}]({_guide(in_guide[0])})"
    values |= {"course": _tree(each.path for each in course), "guide": _tree(_guide(title) for title in in_guide)}
    values |= {"documents": _tree(path for path in documents if path.startswith("docs/"))}
    shown = bool(classifier.files)
    values |= {"classifier": Path(CLASSIFIER_PAGE).stem if shown else "", "try_it": TRY_IT if shown else ""}
    if shown:
        _write(folder / "classifier-fragment.html", classifier.fragment)
    for path in sorted((root / OWN_PAGES).glob("*.md")):
        if shown or path.name != CLASSIFIER_PAGE:
            _write(folder / path.name, filled(path.read_text("utf-8"), values))
    for picture in links.pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / picture, folder / picture)


def readme_sections(text: str) -> dict[str, str]:
    """Return each section of the README as a page, by title, with headings one level up."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    pages = zip(parts[1::2], parts[2::2], strict=True)
    return {title: f"# {title}\n{re.sub('^###', '##', body, flags=re.MULTILINE)}" for title, body in pages}


def slug(title: str) -> str:
    """Return the anchor that a heading has on GitHub and on the site."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def chapter_table(course: Iterable[Chapter]) -> str:
    """Return the table of chapters for the front page."""
    rows = ([f"[{each.title}]({each.path})", f"{each.minutes}\N{NO-BREAK SPACE}minutes"] for each in course)
    return markdown_table(["chapter", "to read"], rows)


def filled(text: str, values: dict[str, str]) -> str:
    """Replace each ``{{ name }}`` by its value.

    Raises:
        StageError: a name has no value.
    """
    try:
        return jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(values)
    except jinja2.UndefinedError as error:
        raise StageError(f"A page of {OWN_PAGES}: {error}; there are {', '.join(values)}.") from None


def with_sources(article: str, abstract: list[Run], figures: dict[str, list[Run]], tables: dict[str, list[Run]]) -> str:
    """Return the article with a link to the runs behind its abstract, each figure and each table, below these.

    Figures have their names, and tables the titles of their first columns.
    """

    def below_figure(match: re.Match) -> str:
        return f"{match[0]}\n\n{_runs_link(figures[match[1]], 'this figure')}"

    def below_table(match: re.Match) -> str:
        runs = tables.get(match[1])
        return f"{match[0]}\n{_runs_link(runs, 'this table')}\n" if runs else match[0]

    below_abstract = rf"\g<0>\n\n{_runs_link(abstract, 'these numbers')}"
    article = re.sub(r"^## Abstract\n\n.+$", below_abstract, article, flags=re.MULTILINE)
    article = re.sub(r"^!\[.*\]\(\.\./figures/(.+)\.png\)\n\n\*Figure .*\*$", below_figure, article, flags=re.MULTILINE)
    return re.sub(r"^\| (.+?) \|.*\n(?:\|.*\n)+", below_table, article, flags=re.MULTILINE)


def _runs_link(runs: list[Run], what: str) -> str:
    names, text = ",".join(run.name for run in runs), "The run" if len(runs) == 1 else f"The {len(runs)} runs"
    return f'<p class="sources"><a href="../runs.html#runs={names}">{text} behind {what}</a></p>'


def _children(root: Path, path: str) -> dict[str, str]:
    """Return the pages below a chapter: its exercises and their solutions."""
    if not re.fullmatch(rf"{CHAPTERS}/[^/]+", path):
        return {}
    below = {"Exercises": EXERCISES, "Solutions": SOLUTIONS}
    places = {title: f"{folder}/{Path(path).name}" for title, folder in below.items()}
    return {title: f"/{Path(place).with_suffix('')}" for title, place in places.items() if (root / place).is_file()}


def _guide(title: str) -> str:
    return f"guide/{slug(title)}.md"


def _names(root: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))


def _tree(paths: Iterable[str]) -> str:
    return "\n".join(str(Path(path).with_suffix("")) for path in paths)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
