"""The report of a study: figures, article, HTML page and the README's tables of results, from run records alone.

The same records always give the same bytes. If a number is missing, the error names the command that produces it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from transfer_utils.evaluation.percent import percent, points
from transfer_utils.records.folder import Listing, check_folder, load_runs
from transfer_utils.report import facts, sides
from transfer_utils.report.figures import draw_figures, figures_of
from transfer_utils.report.readme import results_table, with_tables
from transfer_utils.report.rendering import environment, tidy
from transfer_utils.results import claims, formatting
from transfer_utils.results.curves import collapsed, dip, first_reaching
from transfer_utils.results.summary import OPPONENTS, Results, collect, difference
from transfer_utils.results.timing import comparable
from transfer_utils.studies.spec import load_study
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import counted, data_uri, enumerated

STUDY = "studies/six_stages.yaml"
ARTICLE, PAGE, README = "report/blog_post.md", "report/blog_post.html", "README.md"
MEDIUM = "report/medium"
FIGURE = r"\]\(\.\./figures/(.+)\.png\)"


def write_report(
    study: str = STUDY,
    runs: str = "runs",
    output_dir: str = ".",
    *,
    medium: bool = False,
    log: Callable[[str], None] = print,
) -> list[Path]:
    """Write the figures, the article, its HTML page and the README's tables of results; return the paths.

    Sentences of the article that the records do not bear out are left out and logged.

    Args:
        study: the study's YAML file.
        runs: folder of run records.
        output_dir: the folder that contains figures/, report/ and README.md.
        medium: also write ``report/medium``: the article without tables, and its figures as numbered files.

    Raises:
        UserError: the study cannot be read, or a run that the article needs is missing.
    """
    results, listing = read_results(study, runs)
    unsupported: list[str] = []
    root, text = Path(output_dir), article(results, unsupported.append, study)
    texts = {ARTICLE: text, PAGE: page(text)}
    own = (root / README).read_text("utf-8") if (root / README).is_file() else ""
    if "<!-- results -->" in own:
        texts[README] = readme(own, results, listing)
    elif own:
        log(f"{root / README} has no line <!-- results --> for the tables, so they were not written.")
    alts = draw_figures(results, root / "figures")  # after all texts, so that an error in them leaves no files
    written = [root / "figures" / f"{name}.png" for name in alts]
    for name, content in texts.items():
        write_bytes(root / name, content.encode())
        written.append(root / name)
    if medium:
        written += _write_medium(text, root)
    log(f"{root / ARTICLE}: {results.recorded} of {results.planned} planned runs, {len(alts)} figures.")
    for line in listing.left_out():
        log(line)
    for sentence in unsupported:
        log(f"Left out, because the records do not bear it out: {sentence}")
    if results.missing:
        folder = ["--output_dir", runs] if runs != "runs" else []
        command = sides.command(results, "sweep", study, "--groups", ",".join(results.missing), *folder)
        log(f"Left out, because runs are missing: {', '.join(results.missing)}. Run `{command}`.")
    if results.elsewhere:
        log(f"Left out, because they are on another copy of CIFAR-10: {counted(results.elsewhere, 'run')}.")
    return written


def read_results(study: str = STUDY, runs: str = "runs") -> tuple[Results, Listing]:
    """Return the results of a study from the runs in a folder, and all runs of that folder.

    Raises:
        UserError: as ``write_report``.
    """
    check_folder(Path(runs))
    listing = load_runs(runs)
    return collect(load_study(study), listing.runs), listing


def article(results: Results, unsupported: Callable[[str], None] | None = None, study: str = STUDY) -> str:
    """Return the article as Markdown.

    Args:
        unsupported: called with each sentence of the template that the numbers do not bear out; it is then left out.
        study: how the command line names the study of the results.

    Raises:
        UserError: a run or a number is missing or, without ``unsupported``, the numbers do not bear out a sentence.
    """
    templates = environment()
    templates.tests["collapsed"], templates.filters["dip"] = collapsed, dip
    return tidy(templates.get_template("blog_post.md.j2").render(study=study, **_values(results, unsupported)))


def page(markdown: str) -> str:
    """Convert Markdown to a complete HTML page; only the figures are separate files."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    title = markdown.splitlines()[0].removeprefix("# ")
    template = environment(keep_trailing_newline=True).get_template("page.html.j2")
    return template.render(title=title, body=body.strip())  # markdown-it has escaped the body


def readme(text: str, results: Results, listing: Listing) -> str:
    """Return the README with its tables of results regenerated from the records."""
    tables = {
        "headline": "\n".join(f"- {sentence}" for sentence in facts.headline(results)),
        "opponents": formatting.markdown_table(*facts.label_table(results)),
        "study": formatting.markdown_table(facts.SETTING_COLUMNS, facts.setting_rows(results)),
        "verdicts": formatting.markdown_table(facts.CLAIM_COLUMNS, facts.claim_rows(claims.evaluate_claims(results))),
    }
    return with_tables(text, {"results": results_table(listing.runs)} | {name: f"{tables[name]}\n" for name in tables})


def _write_medium(text: str, root: Path) -> list[Path]:
    """Write the article for editors such as those of Medium and LinkedIn: one page, and the figures as numbered files.

    These editors have no tables, so a table becomes a list. They may drop images from pasted text, so the file name
    stands above each figure, and the figures are embedded, because an editor cannot fetch them from the author's disk.
    """
    text = re.sub(r"(?m)^\|.*\|\n(?:\|.*\|\n)+", lambda table: _as_list(table[0].splitlines()), text)
    names = re.findall(FIGURE, text)
    files = {name: f"figure-{number:02d}-{name}.png" for number, name in enumerate(names, 1)}
    text = re.sub(FIGURE, lambda match: f"]({files[match[1]]})", text)
    html = page(re.sub(r"(?m)^!\[.*\]\((.*)\)$", r"**[Insert \1 here]**\n\n\g<0>", text))
    for name, file in files.items():
        content = (root / "figures" / f"{name}.png").read_bytes()
        write_bytes(root / MEDIUM / file, content)
        html = html.replace(f'src="{file}"', f'src="{data_uri(content, "png")}"')
    write_bytes(root / MEDIUM / "blog_post.html", html.encode())
    return [*(root / MEDIUM / file for file in files.values()), root / MEDIUM / "blog_post.html"]


def _as_list(table: Sequence[str]) -> str:
    """Return the lines of a Markdown table as a list, an item for each row."""
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in table)
    cells = (("; ".join(map(": ".join, zip(columns[1:], row[1:], strict=True))), row[0]) for row in rows)
    return "".join(f"- **{first}** – {others}\n" for others, first in cells)


def _values(results: Results, unsupported: Callable[[str], None] | None) -> dict[str, Any]:
    """Return the values and functions that the template uses."""
    alts = figures_of(results)
    compared, evaluated = sides.sides(results), claims.evaluate_claims(results)
    verdicts = [each.verdict for each in evaluated]
    formats = (percent, points, formatting.rate, formatting.duration, formatting.layers, formatting.seeds)
    return {function.__name__: function for function in formats} | {
        "figure": lambda name, caption: (
            f"![{alts[name]}](../figures/{name}.png)\n\n*Figure {list(alts).index(name) + 1}. {caption}*"
        ),
        "number": lambda name: list(alts).index(name) + 1,  # they are declared in the order of the article
        "table": formatting.markdown_table,
        "enumerated": enumerated,
        "facts": facts,
        "sides": sides,
        "holds": functools.partial(facts.holds, unsupported=unsupported),
        "difference": difference,
        "first_reaching": first_reaching,
        "comparable": comparable,
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
