"""The tables of the README, made from the options, the presets and the recorded runs: ``make tables``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from transfer_utils.config import PRESET_PURPOSE, PRESETS, RunConfig, preset
from transfer_utils.errors import UserError
from transfer_utils.evaluation import summarise_seeds
from transfer_utils.records import RECORD_NAME, Run, RunRecord, load_runs
from transfer_utils.studies.spec import question

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "results"
SPEED = ("trunk", "head", "stage2_epoch", "end_to_end", "end_to_end_all", "single_image")


def results_table(runs: list[Run]) -> str:
    """Return one row a preset: data, network, accuracies over the seeds on record, command and minutes of the first."""
    rows = [
        "| data | network | seeds | validation | test | test, averaged views | minutes | command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    newest: dict[str, dict[int, Run]] = {}
    for run in runs:
        if run.path.name == RECORD_NAME and run.record.status == "completed" and _is_a_preset(run.record.config):
            newest.setdefault(repr(_beyond_seed(run.record.config)), {})[run.record.config.get("seed", 0)] = run
    for seeds in newest.values():
        first = seeds[min(seeds)]
        configurations = [_data(first.record), _network(first), str(len(seeds)), *_accuracies(list(seeds.values()))]
        configurations += [f"{first.record.timing_sec['total'] / 60:.1f}", f"`{first.record.command}`"]
        rows.append("| " + " | ".join(configurations) + " |")
    return "\n".join(rows) + "\n"


def dashboard_table(measured: dict[str, Any]) -> str:
    """Return one row for each thing a reader of the dashboard does: the seconds until it is seen, and the aim."""
    rows = [
        f"| over {measured['runs']} runs, on {measured['cores']} cores | median | slowest | aim |",
        "|---|---|---|---|",
    ]
    for kind, aim in measured["targets"].items():
        found = {name: seconds for name, seconds in measured.items() if name.startswith(kind)}
        rows += [
            f"| {name} | {seconds['median']:.2f} s | {seconds['slowest']:.2f} s | {aim:g} s |"
            for name, seconds in found.items()
        ]
    return "\n".join(rows) + "\n"


def speed_table(measured: list[dict[str, Any]]) -> str:
    """Return one row a comparison of ``benchmarks``: both rates, how many times faster with the spread, and the aim."""
    rows = [
        "| what | against | plain Keras | this package | times faster | aim | validation accuracy, plain and ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (row for file in measured for row in file["rows"]):
        times, accuracy = row["ratio"], row.get("val_accuracy")
        means = [f"{100 * mean(accuracy[side]):.1f} %" for side in ("plain", "ours")] if accuracy else []
        configurations = [
            row["what"],
            row["against"],
            *(_rate(row[side], row["unit"]) for side in ("plain", "ours")),
            f"{times['median']:.1f} ({times['low']:.1f}–{times['high']:.1f})",
            f"{row['target']:g}" if row["target"] else "–",
            ", ".join(means) or "–",
        ]
        rows.append("| " + " | ".join(configurations) + " |")
    return "\n".join(rows) + "\n"


def _rate(rate: float, unit: str) -> str:
    return f"{1 / rate:.0f} s" if unit == "runs/s" else f"{rate:,.0f} {unit}"


def options_table() -> str:
    """Return the Markdown table of all options that stands in the README."""
    rows = ["| option | default | unit | limits | what it does |", "|---|---|---|---|---|"]
    for name, field in RunConfig.model_fields.items():
        default = "(empty)" if field.default == "" else f"`{field.default}`"
        unit = field.json_schema_extra["unit"]
        rows.append(f"| `--{name}` | {default} | {unit} | {_limits(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def presets_table() -> str:
    """Return the Markdown table of the presets and the options each one sets."""
    rows = ["| preset | for | what it sets |", "|---|---|---|"]
    for name, options in PRESETS.items():
        listed = ", ".join(f"`{key}={value}`" for key, value in options.items())
        rows.append(f"| `{name}` | {PRESET_PURPOSE[name]} | {listed} |")
    return "\n".join(rows) + "\n"


def with_fresh_tables(text: str, runs: list[Run]) -> str:
    """Return ``text`` with every table written anew between its markers, ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        UserError: a pair of markers is missing.
    """
    tables = {"results": results_table(runs), "presets": presets_table(), "options": options_table()}
    tables["dashboard"] = dashboard_table(json.loads((BENCHMARKS / "dashboard.json").read_text("utf-8")))
    measured = [BENCHMARKS / f"{name}.json" for name in SPEED]
    tables["speed"] = speed_table([json.loads(file.read_text("utf-8")) for file in measured if file.exists()])
    return with_tables(text, tables)


def with_tables(text: str, tables: dict[str, str]) -> str:
    """Return ``text`` with each table, by its name, in place of what stands between its markers.

    Raises:
        UserError: a pair of markers is missing.
    """
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, opened, rest = text.partition(start)
        _, closed, tail = rest.partition(end)
        if not opened or not closed:
            raise UserError(f"The table of {name} has no place: expected a line {start.strip()} and a line {end}.")
        text = head + start + table + end + tail
    return text


def _is_a_preset(config: dict[str, Any]) -> bool:
    """Say whether a run is a preset as it stands, of either model: what a study varies has tables of its own."""
    asked, model = _beyond_seed(config), config.get("model", "transfer")
    return any(asked == _beyond_seed(preset(name, model=model).model_dump()) for name in PRESETS)


def _beyond_seed(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in question(config).items() if name != "seed"}


def _data(record: RunRecord) -> str:
    labels = record.config.get("labels_per_class")
    return record.dataset["description"] + (f", {labels:,} labels per class" if labels else "")


def _network(run: Run) -> str:
    config = run.record.config
    if config["model"] == "baseline":
        return "CNN from scratch"
    tail = {0: "frozen", -1: "all layers unfrozen"}.get(config["n_unfreeze"], f"last {config['n_unfreeze']} unfrozen")
    width = f" {config['alpha']:g}" if config["backbone"] == "MobileNetV2" else ""
    return f"{config['backbone']}{width}, {config['weights']} weights, {tail}"


def _accuracies(runs: list[Run]) -> list[str]:
    """Return validation, test and averaged views: of one run with Wilson's interval, of several the mean with t's."""
    configurations = []
    for key, low, high in (
        ("val_end2end", "val_low", "val_high"),
        ("test_end2end", "test_low", "test_high"),
        ("test_tta", "test_tta_low", "test_tta_high"),
    ):
        found = [run.record.metrics.get(key) for run in runs]
        if None in found:
            configurations.append("–")
            continue
        over = summarise_seeds(found)
        ends = (over["low"], over["high"]) if len(runs) > 1 else (runs[0].record.metrics[name] for name in (low, high))
        configurations.append(f"{100 * over['mean']:.1f} % ({'–'.join(f'{100 * end:.1f}' for end in ends)})")
    return configurations


def _limits(field: Any) -> str:
    choices = getattr(field.annotation, "__args__", None)
    if choices:
        return ", ".join(str(choice) for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [(sign, getattr(limit, key, None)) for limit in field.metadata for key, sign in signs.items()]
    return ", ".join(f"{sign} {value:g}" for sign, value in found if value is not None)


if __name__ == "__main__":  # python -m transfer_utils.report.readme README.md runs
    page, recorded = map(Path, sys.argv[1:])
    page.write_text(with_fresh_tables(page.read_text("utf-8"), load_runs(recorded).runs), "utf-8")
