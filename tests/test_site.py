"""The site of the course, without building it: its sources put together, and the check of a built site."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.site.check import check, link_report
from tools.site.classifier import ClassifierPage
from tools.site.links import Links, Repository, StageError
from tools.site.notebooks import chapters, glossary, staged_notebook
from tools.site.reference import MODULES, public_names, reference_pages
from tools.site.sources import abstract_sources, figure_sources, table_sources
from tools.site.stage import filled, readme_sections, slug, stage, with_sources
from tools.site.theme import FOLD, SCRIPT, mend_theme
from transfer_utils import plotting
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.report.article import read_results
from transfer_utils.report.figures import FIGURES, figures_of


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    stage(ROOT, folder, Repository("https://example.org/course"), ClassifierPage("<p>the classifier</p>", {"x": b""}))
    return folder


@pytest.fixture
def links(tmp_path):
    for name in ("docs/a.md", "docs/picture.png", "code/module.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    pages = {"docs/a.md": "docs/a.md", "README.md": "index.md", "README.md#how": "guide/how.md"}
    return Links(tmp_path, pages, Repository("https://example.org/course", "main"))


def notebook(*cells: tuple[str, str, list[str]]) -> str:
    """Return a notebook with cells of a type, a source and tags."""
    made = [{"cell_type": kind, "source": [source], "metadata": {"tags": tags}} for kind, source, tags in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(
    "before, after",
    [
        ("[a](docs/a.md)", "[a](../docs/a.md)"),
        ("[a](docs/a.md#part)", "[a](../docs/a.md#part)"),
        ("[how](README.md#how)", "[how](how.md)"),
        ("[start](README.md)", "[start](../index.md)"),
        ("[`module`](code/module.py)", "[`module`](https://example.org/course/blob/main/code/module.py)"),
        ("[code](code)", "[code](https://example.org/course/tree/main/code)"),
        ("![a picture](docs/picture.png)", "![a picture](../docs/picture.png)"),
        ("[![badge](https://example.org/b.svg)](docs/a.md)", "[badge](../docs/a.md)"),
        ("[out](https://example.org/x)", "[out](https://example.org/x)"),
        ("[here](#part)", "[here](#part)"),
        ("```\n[a](docs/none.md)\n```", "```\n[a](docs/none.md)\n```"),
    ],
)
def test_links_lead_to_the_same_place_from_a_page_as_from_its_source(links, before, after):
    assert links.moved(f"x\n{before}\ny", "README.md", "guide/start.md") == f"x\n{after}\ny"


def test_a_link_to_a_file_that_does_not_exist_is_an_error_that_names_it(links):
    with pytest.raises(StageError, match=r"docs/a\.md links to gone\.md"):
        links.moved("[gone](gone.md)", "docs/a.md", "docs/a.md")


def test_without_a_known_repository_a_link_to_a_file_becomes_text(links):
    links = Links(links.root, links.pages)
    assert links.moved("see [the `module`](code/module.py).", "README.md", "index.md") == "see the `module`."


def test_cells_that_serve_the_tests_are_hidden_and_solutions_are_folded_away(links):
    cells = [
        ("markdown", "# Exercises 1: Count", []),
        ("code", "answer = 42", ["solution"]),
        ("code", "check(answer == 42, 'No.')", ["check"]),
        ("markdown", "**Discussion.** It is 42.", ["solution"]),
        ("code", 'finish("01")', []),
        ("code", "print(answer)", ["nbval-ignore-output"]),
    ]
    path = "notebooks/solutions/01.ipynb"
    first, answer, test, discussion, end, plain = json.loads(staged_notebook(notebook(*cells), path, links))["cells"]
    assert first["source"] == "# Solutions 1: Count"
    assert "hide-input" in answer["metadata"]["tags"] and "solution" in answer["metadata"]["mystnb"]["code_prompt_show"]
    assert "hide-input" in test["metadata"]["tags"] and "check" in test["metadata"]["mystnb"]["code_prompt_show"]
    assert discussion["source"].startswith("<details>") and "It is 42." in discussion["source"]
    assert end["metadata"]["tags"] == ["remove-cell"]
    assert plain["metadata"]["tags"] == ["nbval-ignore-output"] and plain["source"] == "print(answer)"


def test_every_chapter_document_and_section_is_a_page_with_its_outputs(staged):
    for chapter in chapters(ROOT):
        before, after = (json.loads((folder / chapter.path).read_text("utf-8")) for folder in (ROOT, staged))
        outputs = [[cell.get("outputs") for cell in notebook["cells"]] for notebook in (before, after)]
        assert outputs[1][: len(outputs[0])] == outputs[0]
        tree = after["cells"][-1]["source"]
        name = Path(chapter.path).stem
        for folder in ("exercises", "solutions"):
            assert f"</notebooks/{folder}/{name}>" in tree and (staged / "notebooks" / folder).is_dir()
    front = (staged / "index.md").read_text("utf-8")
    assert re.search(r"about [4-9] hours", front) and "{{" not in front
    # A page that no table of contents names would be a warning of Sphinx, and so an error.
    trees = "\n".join(re.findall(r"```\{toctree\}.*?```", front, re.DOTALL))
    for path in staged.rglob("*.md"):
        name = path.relative_to(staged).with_suffix("").as_posix()
        assert name == "index" or re.search(f"^(.*<)?{re.escape(name)}>?$", trees, re.MULTILINE), name
    assert "# Glossary" in (staged / "glossary.md").read_text("utf-8")


def test_the_text_of_the_readme_is_on_the_site(staged):
    sections = readme_sections((ROOT / "README.md").read_text("utf-8"))
    commands = (staged / "guide" / f"{slug('Commands')}.md").read_text("utf-8")
    assert commands.startswith("# Commands") and "`transfer-utils compare --preset P`" in commands
    assert "## " not in sections["Commands"] and len(sections) >= 8
    for title in sections.keys() - {"The course", "Licence"}:  # those are on the front page
        assert (staged / "guide" / f"{slug(title)}.md").read_text("utf-8").startswith(f"# {title}\n"), title


def test_each_figure_and_table_of_the_article_links_to_runs_on_record(monkeypatch):
    results, listing = read_results(str(ROOT / "studies" / "six_stages.yaml"), str(ROOT / "runs"))
    figures, tables = figure_sources(results), table_sources(results)
    assert list(figures) == list(figures_of(results))
    names = {run.name for run in listing.runs}
    for runs in (abstract_sources(results), *figures.values(), *tables.values()):
        assert runs and {run.name for run in runs} <= names
    depth = {run.record.config["n_unfreeze"] for run in figures["unfreezing_depth"]}
    assert depth == {0, 10, 30, 60, -1}
    drawn = []
    monkeypatch.setattr(plotting, "plot_accuracy_over_time", lambda *records, models: drawn.extend(records))
    FIGURES["accuracy_over_time"][1](results)
    assert [run.record.run_id for run in figures["accuracy_over_time"]] == [record.run_id for record in drawn]


def test_the_links_to_runs_stand_below_figures_and_tables(staged):
    text = "# A\n\n## Abstract\n\nA number.\n\n![Alt](../figures/one.png)\n\n*Figure 1. One.*\n\n"
    text += "| model | b |\n|---|---|\n| c | d |\n\nEnd.\n"
    first, second, third, fourth = (Run(RunRecord(), Path(name, "run.json")) for name in ("1-a", "2-b", "3-c", "4-d"))
    linked = with_sources(text, [fourth], {"one": [first, second]}, {"model": [third]})
    assert re.search(r'A number\.\n\n<p class="sources">.*4-d">The run behind these numbers</a></p>\n\n!', linked)
    assert re.search(r'One\.\*\n\n<p class="sources"><a href="\.\./runs\.html#runs=1-a,2-b">The 2 runs', linked)
    assert re.search(r'\| c \| d \|\n\n<p class="sources">.*3-c">The run behind this table</a></p>\n\nEnd', linked)
    article = (staged / "report" / "blog_post.md").read_text("utf-8")
    tables = re.findall(r"^\|---.*$", article, re.MULTILINE)
    assert article.count('class="sources"') == 1 + article.count("*Figure ") + len(tables)


def test_the_reference_lists_the_public_names():
    pages = reference_pages(ROOT)
    assert set(pages) == {"index", *MODULES}
    assert "   load_dataset\n" in pages["data"] and "   RunConfig\n" in pages["config"]
    listed = [name for page in pages.values() for name in re.findall(r"^   (\w+)$", page, re.MULTILINE)]
    assert len(listed) == len(set(listed))
    about, names = public_names("transfer_utils.predict", ROOT)
    assert about and names == ["Prediction", "predict_images", "image_side", "check_side", "top_classes"]


def test_the_page_with_a_classifier_is_left_out_without_its_library(staged, tmp_path):
    stage(ROOT, tmp_path, Repository(), ClassifierPage("<p>the classifier</p>", {}, "no registry"))
    for folder, has_page in ((staged, True), (tmp_path, False)):
        assert (folder / "classifier.md").exists() == (folder / "classifier-fragment.html").exists() == has_page
        assert ("classifier" in (folder / "index.md").read_text("utf-8")) == has_page


def test_the_address_of_the_repository_is_one_setting_and_all_that_needs_it_derives_from_it(tmp_path, monkeypatch):
    pytest.importorskip("tomllib", reason="the site needs Python 3.11")
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'\n")
    assert Repository.of_project(tmp_path) == Repository("")
    assert Repository().filled("clone <address of this repository> x") == "clone <address of this repository> x"
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/course")
    assert Repository.of_project(tmp_path).url == "https://github.com/somebody/course"
    project.write_text("[project]\nname = 'x'\nurls = {Repository = 'https://example.org/course/'}\n")
    repository = Repository.of_project(tmp_path)
    assert repository.filled("clone <address of this repository> x") == "clone https://example.org/course x"
    assert repository.address("a.py", is_folder=False) == "https://example.org/course/blob/main/a.py"


def test_a_course_without_a_glossary_is_an_error(links):
    with pytest.raises(StageError, match="begins with '## Glossary'"):
        glossary(ROOT, chapters(ROOT)[:1], links, "glossary.md")


def test_without_a_built_site_there_is_nothing_to_look_at(tmp_path, monkeypatch, capsys):
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    from tools.site import look

    monkeypatch.setattr(look, "SITE", tmp_path)
    assert look.main() == 1 and "Run `make site` first." in capsys.readouterr().err


def test_a_page_that_asks_for_an_unknown_value_is_an_error():
    with pytest.raises(StageError, match="'minute'"):
        filled("{{ minute }}", {"minutes": "1"})


def test_the_theme_gets_drawn_icons_named_folds_and_silent_scripts(tmp_path):
    script = (
        'a={bars:[448,512,["navicon"],"f0c9","M1 2z"]},b={bars:[4,5,[],"f0c9","M3 4z"],"x-y":[6,7,[],"f0c8","M5 6z"]}'
    )
    (tmp_path / SCRIPT).parent.mkdir(parents=True)
    (tmp_path / SCRIPT).write_text(script)
    (tmp_path / SCRIPT).with_name("theme.js").write_text("console.log('hello', 1);")
    search = '<button class="btn search-button-field x" title="Search"{} data-x="1">Search Ctrl + K</button>'
    hidden = "<summary{}><p>Show the check</p></summary>"
    labels = [' aria-label="Search"', ' aria-label="Toggle hidden content"']
    other = FOLD + search.format(labels[0]) + hidden.format(labels[1]) + '<script>console.log("[PST]: x")</script>'
    (tmp_path / "other.html").write_text(other)
    page = tmp_path / "page.html"
    page.write_text(
        f'<script defer src="{SCRIPT}?digest=1"></script><i class="fa-solid fa-bars" title="Menu"></i><i></i>'
    )
    mend_theme(tmp_path)
    text = page.read_text()
    assert "<script" not in text and not (tmp_path / SCRIPT).exists() and text.endswith("</svg><i></i>")
    assert 'title="Menu"' in text and 'viewBox="0 0 4 5"' in text and 'd="M3 4z"' in text, "the solid icon comes last"
    other = (tmp_path / "other.html").read_text()
    assert other.startswith('<summary aria-label="Show')
    assert other.endswith(f'{search.format("")}{hidden.format("")}<script>void("[PST]: x")</script>')
    assert (tmp_path / SCRIPT).with_name("theme.js").read_text() == "void('hello', 1);"


def test_an_icon_that_the_theme_lacks_is_an_error(tmp_path):
    (tmp_path / SCRIPT).parent.mkdir(parents=True)
    (tmp_path / SCRIPT).write_text("a={}")
    (tmp_path / "page.html").write_text('<i class="fas fa-none"></i>')
    with pytest.raises(ValueError, match="no icon 'none'"):
        mend_theme(tmp_path)


def site(folder, index: str, other: str = "<p id='there'>"):
    for name, text in (("index.html", index), ("sub/other.html", other), ("_static/style.css", "")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return check(folder)


@pytest.mark.parametrize(
    "index, problem",
    [
        ('<a href="gone.html">', "gone.html, which does not exist"),
        ('<a href="sub/other.html#nowhere">', "no such place"),
        ('<a href="#nowhere">', "no such place"),
        ('<a href="sub/other.html#runs=0001-a,0002-b">', "does not show: 0002-b"),
        ('<script src="https://example.org/x.js">', "on another site"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "on another site"),
        ('<img src="gone.png">', "gone.png, which does not exist"),
        (f"<p>{'x' * 1_000_000}", "at most 1,000,000"),
    ],
)
def test_the_check_names_each_kind_of_problem(index, problem, tmp_path):
    (found,) = site(tmp_path, index, "<table><tr><th data-key='0001-a'>").problems
    assert "index.html" in found and problem in found


def test_the_check_passes_sound_links_and_lists_those_that_lead_outside(tmp_path):
    index = (
        '<link rel="stylesheet" href="_static/style.css?v=1"><a href="sub/other.html#there"><a href="#"><a id="here">'
        '<a href="#here"><a href="https://example.org"><a href="mailto:a@b.org"><img src="data:image/png;base64,">'
    )
    result = site(tmp_path, index, '<p id="there"><a href="../index.html#here"><a href="../sub/other.html">')
    assert result.problems == [] and result.pages == 2 and result.outside == ["https://example.org"]


def test_the_report_on_links_to_other_sites_names_the_broken_ones_or_a_missing_network():
    def answer(name, status):
        return {"uri": f"https://{name}.org", "status": status, "filename": "a.md", "lineno": 3, "info": "404"}

    good, moved, gone, own = (
        answer(*each) for each in (("a", "working"), ("b", "redirected"), ("c", "broken"), ("d", "local"))
    )
    assert link_report([good, moved, own]) == "2 of 2 links to other sites answered."
    assert link_report([good, gone, own]).splitlines() == [
        "a.md: https://c.org is broken: 404",
        "1 of 2 links to other sites answered.",
    ]
    assert "without a network" in link_report([gone, answer("e", "timeout"), own])
