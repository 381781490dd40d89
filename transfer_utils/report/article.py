"""The report of a study: figures, article, HTML page and the README's tables of results, from run records alone.

The same records always give the same bytes. If a number is missing, the error names the command that produces it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from transfer_utils.errors import UserError
from transfer_utils.records import Listing, load_runs
from transfer_utils.report import facts
from transfer_utils.report.figures import CHOICES, depths, draw_figures, figures_of, headline
from transfer_utils.report.readme import results_table, with_tables
from transfer_utils.results import claims, formatting
from transfer_utils.results.curves import first_reaching, timeline
from transfer_utils.results.summary import Results, collect, difference
from transfer_utils.studies.spec import load_study
from transfer_utils.utils.files import write_bytes

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
    root = Path(output_dir)
    alts = draw_figures(results, root / "figures")
    written = [root / "figures" / f"{name}.png" for name in alts]
    text = article(results)
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
    return written


def read_results(study: str = STUDY, runs: str = "runs") -> tuple[Results, Listing]:
    """Return the results of a study from the runs in a folder, and all runs of that folder.

    Raises:
        UserError: as ``write_report``.
    """
    if not Path(runs).is_dir():
        raise UserError(f"runs must name a folder of run records, got {runs!r}.")
    listing = load_runs(runs)
    return collect(load_study(study), listing.runs, study), listing


def article(results: Results, pages: Pages | None = None) -> str:
    """Return the article as Markdown."""
    pages = pages or Pages(figures_of(results), lambda number, name: f"../figures/{name}.png")
    text = _environment().get_template("blog_post.md.j2").render(_facts(results), **_functions(pages))
    text = re.sub(r"[ \t]+\n", "\n", text)  # left over from parts of the template that do not apply
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def page(markdown: str) -> str:
    """Convert Markdown to a complete HTML page; only the figures are separate files."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    title = markdown.splitlines()[0].removeprefix("# ")
    return _environment().get_template("page.html.j2").render(title=title, body=body.strip())


def readme(text: str, results: Results, listing: Listing) -> str:
    """Return the README with its tables of results regenerated from the records."""
    pages = Pages({}, lambda number, name: "")
    choices = [_choice_row(choice) for choice in facts.ranked_choices(results)]
    verdicts = _verdict_rows(claims.evaluate_claims(results))
    tables = {
        "results": results_table(listing.runs),
        "study": pages.table(["choice", "best", "worst", "validation, apart by"], choices) + "\n",
        "verdicts": pages.table(["", "published claim", "our runs", "verdict"], verdicts) + "\n",
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
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the article is Markdown; markdown-it escapes the HTML of the page
    )


def _functions(pages: Pages) -> dict[str, Any]:
    """Return the functions that the template calls."""
    names = ("percent", "points", "apart", "change", "rate", "duration", "layers", "seeds", "listing")
    return {name: getattr(formatting, name) for name in names} | {
        "figure": pages.figure,
        "number": pages.number,
        "table": pages.table,
        "headline": headline,
        "pairs": claims.pairs,
        "difference": difference,
        "depths": depths,
        "gain_over_baseline": claims.gain_over_baseline,
        "averaged_views": claims.averaged_views,
        "best_epoch": facts.best_epoch,
        "labels_worth": facts.labels_worth,
        "label_rows": facts.label_rows,
        "rows_of": facts.rows_of,
        "size_rows": facts.size_rows,
        "within_words": _within_words,
        "undone": facts.best_reverted_epoch,
    }


def _facts(results: Results) -> dict[str, Any]:
    """Return the values that the template uses."""
    transfer, baseline = (configuration.first for configuration in headline(results))
    if transfer.dataset["name"] != "cifar10":
        raise UserError(
            f"The study must use dataset cifar10, which the article is about, got {transfer.dataset['name']}."
        )
    preparing = sum(transfer.timing_sec.get(name) or 0.0 for name in ("boundary", "stage2"))
    best = max(value for value in baseline.curves["baseline"]["val_accuracy"] if value is not None)
    evaluated = claims.evaluate_claims(results)
    named = {
        word: [f"*{claim.name}*" for claim in evaluated if claim.verdict == word]
        for word in (claims.CONFIRMS, claims.CONTRADICTS, claims.CANNOT_TELL)
    }
    configurations = [configuration for group in results.configurations.values() for configuration in group]
    runs = [run for configuration in configurations for run in configuration.runs.values()]
    choices = facts.ranked_choices(results)
    return {
        "results": results,
        "claims": evaluated,
        "counts": {word: len(names) for word, names in named.items()},
        "named": named,
        "rules": claims.RULES,
        "claimed_gain": claims.GAIN,
        "verdict_rows": _verdict_rows(evaluated),
        "small": facts.starting_point(results),
        "seed_count": max(len(configuration.runs) for configuration in configurations),
        "diverged": len({run.path for run in runs if run.record.status == "diverged"}),
        "caught": first_reaching(transfer, best),
        "baseline_seconds": timeline(baseline)[-1].seconds,
        "classes": facts.classes(transfer),
        "confidence_gap": facts.confidence_gap(transfer),
        "fine_tuning_share": preparing / transfer.timing_sec["total"],
        "turned": choices,
        "turned_rows": [_choice_row(choice) for choice in choices],
        "choices": [facts.choice(results, name) for name in CHOICES if name in results],
        "depth_steps": facts.depth_steps(results),
        "all_gap": facts.all_gap(results),
        "forgets": facts.aggressive_fine_tuning(results),
        "stopping": facts.early_stopping(results),
    }


def _within_words(gain: Any) -> str:
    verdict = claims.within(gain, *claims.GAIN)
    side = "below" if gain.high < claims.GAIN[0] else "above"
    return {claims.CONFIRMS: "within", claims.CONTRADICTS: side}.get(verdict, "at the edge of")


def _verdict_rows(evaluated: list[claims.EvaluatedClaim]) -> list[list[str]]:
    return [[claim.name, claim.claim, claim.ours, f"**{claim.verdict}**"] for claim in evaluated]


def _choice_row(choice: facts.Choice) -> list[str]:
    gap = f"{formatting.apart(choice.gap)}, {formatting.seeds(choice.gap.n)}"
    return [choice.title, choice.best, choice.worst, gap]
