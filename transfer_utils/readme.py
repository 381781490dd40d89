"""The tables of the README, made from the options, the presets and the recorded runs: ``make tables``."""

from __future__ import annotations

import sys
from pathlib import Path

from transfer_utils.config import options_table, presets_table
from transfer_utils.errors import UserError
from transfer_utils.records import RECORD_NAME, Run, load_runs


def results_table(runs: list[Run]) -> str:
    """Return one row a completed run: data, network, accuracies with their intervals, and the command."""
    rows = [
        "| data | network | validation | test | test, averaged views | command |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        record = run.record
        if run.path.name == RECORD_NAME and record.status == "completed":
            cells = [record.dataset["description"], _network(run), *_accuracies(run)]
            rows.append("| " + " | ".join([*cells, f"`{record.command}`"]) + " |")
    return "\n".join(rows) + "\n"


def with_fresh_tables(text: str, runs: list[Run]) -> str:
    """Return ``text`` with every table written anew between its markers, ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        UserError: a pair of markers is missing.
    """
    tables = {"results": results_table(runs), "presets": presets_table(), "options": options_table()}
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, opened, rest = text.partition(start)
        _, closed, tail = rest.partition(end)
        if not opened or not closed:
            raise UserError(f"The table of {name} has no place: expected a line {start.strip()} and a line {end}.")
        text = head + start + table + end + tail
    return text


def _network(run: Run) -> str:
    config = run.record.config
    if config["model"] == "baseline":
        return "CNN from scratch"
    tail = {0: "frozen", -1: "all layers unfrozen"}.get(config["n_unfreeze"], f"last {config['n_unfreeze']} unfrozen")
    width = f" {config['alpha']:g}" if config["backbone"] == "MobileNetV2" else ""
    return f"{config['backbone']}{width}, {config['weights']} weights, {tail}"


def _accuracies(run: Run) -> list[str]:
    metrics, cells = run.record.metrics, []
    for key, low, high in (
        ("val_end2end", "val_low", "val_high"),
        ("test_end2end", "test_low", "test_high"),
        ("test_tta", "test_tta_low", "test_tta_high"),
    ):
        if metrics.get(key) is None:
            cells.append("–")
        else:
            cells.append(f"{100 * metrics[key]:.1f} % ({100 * metrics[low]:.1f}–{100 * metrics[high]:.1f})")
    return cells


if __name__ == "__main__":  # python -m transfer_utils.readme README.md runs
    page, recorded = map(Path, sys.argv[1:])
    page.write_text(with_fresh_tables(page.read_text("utf-8"), load_runs(recorded).runs), "utf-8")
