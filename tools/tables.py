"""The tables of the README and the pages in docs, from the options, the presets, the records and the benchmarks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from transfer_utils.config.options import RunConfig
from transfer_utils.config.presets import PRESET_PURPOSE, PRESETS
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.folder import Run, load_runs
from transfer_utils.report.readme import results_table, with_tables
from transfer_utils.results.formatting import markdown_table
from transfer_utils.utils.text import MISSING

BENCHMARKS = Path(__file__).parents[1] / "benchmarks" / "results"
# The page of each table; the README's other tables are those of ``article.readme``.
PAGES = {
    "README.md": ("results",),
    "docs/options.md": ("presets", "options"),
    "docs/speed.md": ("speed", "growth", "dashboard"),
    "docs/not-sure.md": ("not_sure",),
}
SPEED = ("trunk", "head", "stage2_epoch", "batch_norm", "end_to_end", "end_to_end_all", "single_image")


def dashboard_table(measured: dict[str, Any]) -> str:
    """Return a row for each action in the dashboard: median and slowest time until the result shows, and the target.

    The title gives the number of processes that were ready to run when the measurement began.
    """
    rows = [
        [name, f"{seconds['median']:.2f} s", f"{seconds['slowest']:.2f} s", f"{target:g} s"]
        for action, target in measured["targets"].items()
        for name, seconds in measured.items()
        if name.startswith(action)
    ]
    memory, load = measured["memory of the server in MB"], measured["load average before"]
    rows.append(["memory of the server", f"{memory['measured']} MB", "", f"{memory['target']} MB"])
    title = f"over {measured['runs']:,} runs, on {measured['cores']} cores with a load average of {load:g}"
    return markdown_table([title, "median", "slowest", "aim"], rows) + "\n"


def speed_table(measured: list[dict[str, Any]]) -> str:
    """Return a row for each comparison in ``benchmarks``: both rates, their ratio with its range, and the target.

    The last column tells how many cores other processes kept busy when a round began, at most.
    """
    rows = []
    for row in (row for file in measured for row in file["rows"]):
        ratio, accuracy = row["ratio"], row.get("val_accuracy")
        means = [percent(mean(accuracy[side])) for side in ("plain", "ours")] if accuracy else []
        rows.append(
            [
                row["what"],
                row["against"],
                *(_rate(row[side], row["unit"]) for side in ("plain", "ours")),
                f"{ratio['median']:.1f} ({ratio['low']:.1f}–{ratio['high']:.1f})",
                f"{row['target']:g}" if row["target"] else MISSING,
                ", ".join(means) or MISSING,
                f"{max(row['load']):.1f}",
            ]
        )
    columns = ["what", "against", "plain Keras", "this package", "times faster", "aim"]
    return markdown_table([*columns, "validation accuracy, plain and ours", "busy cores"], rows) + "\n"


def growth_table(measured: dict[str, Any]) -> str:
    """Return a row for each number of training images: seconds, and the peak memory until the end of each phase.

    The last column is the process's own memory, without the pages of the files that it maps.
    """
    rows = [
        [
            f"{row['images']:,}",
            *(f"{row['seconds'][phase]:.1f} s, {peak:,} MiB" for phase, peak in row["peak_memory_mb_until"].items()),
            f"{sum(row['seconds'].values()):.0f} s",
            f"{row['peak_memory_mb']:,.0f} MiB",
            f"{row['peak_own_memory_mb']:,.0f} MiB",
        ]
        for row in measured["rows"]
    ]
    columns = ["training images", *measured["rows"][0]["seconds"], "together", "peak memory", "peak own memory"]
    return markdown_table(columns, rows) + "\n"


def not_sure_table(measured: dict[str, Any]) -> str:
    """Return a row for each kind of foreign pictures, with the AUROC of each score and the share that is not answered.

    Before them stands what the threshold of each score does to the test images.
    """
    rows = []
    for row in measured["rows"]:
        cells = [
            f"{percent(own['share'])}; {percent(own['right'])} of the others right" for own in row["test"].values()
        ]
        rows.append([row["data"], "none: its own test images", *cells])
        for kind, scores in row["foreign"].items():
            areas = [(*score["auroc"], percent(score["share"])) for score in scores.values()]
            cells = [f"{share}; AUROC {area:.3f} ({low:.3f}–{high:.3f})" for area, low, high, share in areas]
            rows.append([row["data"], kind, *cells])
    scores = [f"{score}: not sure" for score in measured["rows"][0]["test"]]
    return markdown_table(["trained on", "foreign pictures", *scores], rows) + "\n"


def options_table() -> str:
    """Return a row for each option of a run."""
    rows = []
    for name, field in RunConfig.model_fields.items():
        default = "(empty)" if field.default == "" else f"`{field.default}`"
        rows.append([f"`--{name}`", default, field.json_schema_extra["unit"], _limits(field), field.description])
    return markdown_table(["option", "default", "unit", "limits", "what it does"], rows) + "\n"


def presets_table() -> str:
    """Return a row for each preset with the options that it sets."""
    rows = [
        [f"`{name}`", PRESET_PURPOSE[name], ", ".join(f"`{key}={value}`" for key, value in options.items())]
        for name, options in PRESETS.items()
    ]
    return markdown_table(["preset", "for", "what it sets"], rows) + "\n"


def fresh_pages(root: Path, runs: Sequence[Run]) -> dict[str, str]:
    """Return the text of every page below ``root``, with its tables regenerated.

    Raises:
        UserError: a pair of markers is missing.
    """
    tables = fresh_tables(runs)
    return {
        page: with_tables((root / page).read_text("utf-8"), {name: tables[name] for name in names})
        for page, names in PAGES.items()
    }


def fresh_tables(runs: Sequence[Run]) -> dict[str, str]:
    """Return the tables of all pages by name."""
    measured = {path.stem: json.loads(path.read_text("utf-8")) for path in BENCHMARKS.glob("*.json")}
    return {
        "results": results_table(runs),
        "presets": presets_table(),
        "options": options_table(),
        "dashboard": dashboard_table(measured["dashboard"]),
        "growth": growth_table(measured["growth"]),
        "not_sure": not_sure_table(measured["not_sure"]),
        "speed": speed_table([measured[name] for name in SPEED]),
    }


def _rate(rate: float, unit: str) -> str:
    return f"{1 / rate:.0f} s" if unit == "runs/s" else f"{rate:,.0f} {unit}"


def _limits(field: Any) -> str:
    choices = getattr(field.annotation, "__args__", None)
    if choices:
        return ", ".join(str(choice) for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [(sign, getattr(limit, key, None)) for limit in field.metadata for key, sign in signs.items()]
    return ", ".join(f"{sign} {value:,.10g}" for sign, value in limits if value is not None)


if __name__ == "__main__":  # python -m tools.tables . runs
    folder, runs_folder = map(Path, sys.argv[1:])
    listing = load_runs(runs_folder)
    for line in listing.left_out():
        print(line)
    for name, content in fresh_pages(folder, listing.runs).items():
        (folder / name).write_text(content, "utf-8")
