"""The report of a study: figures, article, HTML page and the README's tables of results, from run records alone.

The same records always give the same bytes. If a number is missing, the error names the command that produces it.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from transfer_utils.errors import UserError
from transfer_utils.records import Listing, load_runs
from transfer_utils.report import facts
from transfer_utils.report.figures import draw_figures, figures_of
from transfer_utils.report.readme import results_table, with_tables
from transfer_utils.results import claims, formatting
from transfer_utils.results.curves import collapsed, first_reaching, replay_patience
from transfer_utils.results.summary import OPPONENTS, Results, collect, difference
from transfer_utils.studies.spec import load_study
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.palette import MODEL_NAMES

STUDY = "studies/six_stages.yaml"
ARTICLE, PAGE, README = "report/blog_post.md", "report/blog_post.html", "README.md"
MEDIUM = "report/medium"
TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Writes the figures and tables of the article as Markdown.

    Args:
        alts: alt text by name of a figure.
        address: returns the address of a figure's file from its number and name.
    """

    def __init__(self, alts: dict[str, str], address: Callable[[int, str], str]):
        self.alts, self.address = alts, address
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of a figure; figures are numbered in the order of their first mention."""
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def figure(self, name: str, caption: str) -> str:
        """Return a figure with its number and caption."""
        n = self.number(name)
        return f"![{self.alts[name]}]({self.address(n, name)})\n\n*Figure {n}. {caption}*"

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        return formatting.markdown_table(columns, rows, rule=" --- |")


class PlainPages(Pages):
    """Writes tables as lists, and the file name above each figure.

    This is for editors such as those of Medium and LinkedIn, which have no tables and may drop images from pasted text.
    """

    def figure(self, name: str, caption: str) -> str:
        n = self.number(name)
        return f"**[Insert {Path(self.address(n, name)).name} here]**\n\n{super().figure(name, caption)}"

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        items = []
        for first, *others in rows:
            cells = "; ".join(f"{column}: {cell}" for column, cell in zip(columns[1:], others, strict=True))
            items.append(f"- **{first}** – {cells}")
        return "\n".join(items)


def write_report(
    study: str = STUDY,
    runs: str = "runs",
    output_dir: str = ".",
    *,
    medium: bool = False,
    log: Callable[[str], None] = print,
) -> list[Path]:
    """Write the figures, the article, its HTML page and the README's tables of results; return the paths.

    Args:
        study: the study's YAML file.
        runs: folder of run records.
        output_dir: the folder that contains figures/, report/ and README.md.
        medium: also write ``report/medium``: the article without tables, and its figures as numbered files.

    Raises:
        UserError: the study cannot be read, or a run that the article needs is missing.
    """
    results, listing = read_results(study, runs)
    root, text = Path(output_dir), article(results)  # before the figures, so that an error leaves no files
    alts = draw_figures(results, root / "figures")
    written = [root / "figures" / f"{name}.png" for name in alts]
    texts = {ARTICLE: text, PAGE: page(text)}
    if (root / README).is_file():
        texts[README] = readme((root / README).read_text("utf-8"), results, listing)
    else:
        log(f"{root / README} does not exist, so its tables were not written.")
    for name, content in texts.items():
        write_bytes(root / name, content.encode())
        written.append(root / name)
    if medium:
        written += _write_medium(results, root)
    log(f"{root / ARTICLE}: {results.recorded} of {results.planned} planned runs, {len(alts)} figures.")
    if results.missing:
        command = f"transfer-utils sweep {study} --groups {','.join(results.missing)}"
        log(f"Left out, because runs are missing: {', '.join(results.missing)}. Run `{command}`.")
    return written


def read_results(study: str = STUDY, runs: str = "runs") -> tuple[Results, Listing]:
    """Return the results of a study from the runs in a folder, and all runs of that folder.

    Raises:
        UserError: as ``write_report``.
    """
    if not Path(runs).is_dir():
        raise UserError(f"runs must name a folder of run records, got {runs!r}.")
    listing = load_runs(runs)
    return collect(load_study(study), listing.runs), listing


def article(results: Results, pages: Pages | None = None) -> str:
    """Return the article as Markdown.

    Raises:
        UserError: a run or a number is missing, or a sentence of the template no longer fits the numbers.
    """
    pages = pages or Pages(figures_of(results), lambda number, name: f"../figures/{name}.png")
    text = _environment().get_template("blog_post.md.j2").render(_values(results, pages))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"  # left over from parts that do not apply


def page(markdown: str) -> str:
    """Convert Markdown to a complete HTML page; only the figures are separate files."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    title = markdown.splitlines()[0].removeprefix("# ")
    return _environment().get_template("page.html.j2").render(title=title, body=body.strip())


def readme(text: str, results: Results, listing: Listing) -> str:
    """Return the README with its tables of results regenerated from the records."""
    table = Pages({}, lambda number, name: "").table
    tables = {
        "results": results_table(listing.runs),
        "opponents": table(*facts.label_table(results)) + "\n",
        "study": table(facts.SETTING_COLUMNS, facts.setting_rows(results)) + "\n",
        "verdicts": table(facts.CLAIM_COLUMNS, facts.claim_rows(claims.evaluate_claims(results))) + "\n",
    }
    return with_tables(text, tables)


def _write_medium(results: Results, root: Path) -> list[Path]:
    """Write the article for editors without tables: one page with embedded figures, and the figures as files."""
    files: dict[str, str] = {}

    def address(number: int, name: str) -> str:
        return files.setdefault(name, f"figure-{number:02d}-{name}.png")

    text = article(results, PlainPages(figures_of(results), address))
    html = page(text)
    written = []
    for name, file in files.items():
        content = (root / "figures" / f"{name}.png").read_bytes()
        write_bytes(root / MEDIUM / file, content)
        # Embedded, because an online editor cannot fetch a figure from the author's disk.
        html = html.replace(f'src="{file}"', f'src="data:image/png;base64,{base64.b64encode(content).decode()}"')
        written.append(root / MEDIUM / file)
    write_bytes(root / MEDIUM / "blog_post.html", html.encode())
    return [*written, root / MEDIUM / "blog_post.html"]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the article is Markdown; markdown-it escapes the HTML of the page
    )
    environment.tests["collapsed"] = collapsed
    return environment


def _values(results: Results, pages: Pages) -> dict[str, Any]:
    """Return the values and functions that the template uses."""
    compared, evaluated = facts.sides(results), claims.evaluate_claims(results)
    verdicts = [each.verdict for each in evaluated]
    names = ("percent", "points", "rate", "duration", "layers", "seeds", "listing")
    return {name: getattr(formatting, name) for name in names} | {
        "figure": pages.figure,
        "number": pages.number,
        "table": pages.table,
        "facts": facts,
        "holds": facts.holds,
        "difference": difference,
        "first_reaching": first_reaching,
        "replay": replay_patience,
        "optimizers": claims.optimizers,
        "ln": math.log,
        "names": MODEL_NAMES,
        "results": results,
        "groups": results.groups,
        "compared": compared,
        "absent": [f"the {MODEL_NAMES[kind]}" for kind in OPPONENTS if kind not in compared],
        "claims": evaluated,
        "counts": {word: verdicts.count(word) for word in (claims.CONFIRMS, claims.CONTRADICTS, claims.CANNOT_TELL)},
        "min_seeds": claims.MIN_SEEDS,
    }
