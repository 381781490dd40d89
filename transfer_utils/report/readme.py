"""The README's table of presets, and what writes tables between their markers in a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.formatting import markdown_table
from transfer_utils.results.options import model_name, repeating_preset
from transfer_utils.results.summary import Configuration, configurations
from transfer_utils.utils.text import MISSING


def results_table(runs: Sequence[Run]) -> str:
    """Return a row for each preset: mean accuracies over the seeds, the time of the typical one, and the command.

    A diverged seed counts as guessing; a preset of which no run was completed has no row.
    """
    ended = [run for run in runs if run.has_folder and run.record.status in ("diverged", "completed")]
    rows = []
    for configuration in configurations(ended):
        first = configuration.first
        config = repeating_preset(first.config)
        if not config or all(record.status == "diverged" for record in configuration.records):
            continue
        data_dir = {"data_dir": first.config.get("data_dir", "")}
        rows.append(
            [
                _data(first),
                _network(first),
                str(len(configuration.runs)),
                *(_accuracy(configuration, metric) for metric in ("val_end2end", "test_end2end", "test_tta")),
                MISSING if math.isnan(configuration.seconds) else f"{configuration.seconds / 60:.1f}",
                # Not the recorded command: the preset may have had another name when the run was made.
                f"`{config.model_copy(update=data_dir).command()}`",
            ]
        )
    columns = ["data", "network", "seeds", "validation", "test", "test, averaged views", "minutes", "command"]
    return markdown_table(columns, rows) + "\n"


def with_tables(text: str, tables: dict[str, str]) -> str:
    """Return ``text`` with the tables, by name, between their markers, ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        UserError: a pair of markers is missing.
    """
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, opened, rest = text.partition(start)
        _, closed, tail = rest.partition(end)
        if not opened or not closed:
            raise UserError(f"The page must have the lines {start.strip()} and {end} around the table {name!r}.")
        text = head + start + table + end + tail
    return text


def _data(record: RunRecord) -> str:
    labels = record.config.get("labels_per_class")
    return record.dataset["description"] + (f", {labels:,} labels per class" if labels else "")


def _network(record: RunRecord) -> str:
    config = record.config
    if config["model"] == "baseline":
        return model_name(config)
    tail = {0: "frozen", -1: "all layers unfrozen"}.get(config["n_unfreeze"], f"last {config['n_unfreeze']} unfrozen")
    width = f" {config['alpha']:g}" if config["backbone"] == "MobileNetV2" else ""
    return f"{config['backbone']}{width}, {config['weights']} weights, {tail}"


def _accuracy(configuration: Configuration, metric: str) -> str:
    """Return a mean accuracy with its interval; a mean over a part of the seeds would mislead."""
    completed = [record for record in configuration.records if record.status == "completed"]
    complete = all(record.metrics.get(metric) is not None for record in completed)
    return percent(configuration.accuracy(metric)) if complete else MISSING
