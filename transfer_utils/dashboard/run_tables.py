"""Tables of runs besides the one with a row per run: groups with the spread over their runs, CSV and LaTeX."""

from __future__ import annotations

import pandas as pd

from transfer_utils.evaluation.percent import percent
from transfer_utils.results.formatting import duration
from transfer_utils.results.groups import RunGroup, group_by, group_by_configuration
from transfer_utils.results.table import Row, differing
from transfer_utils.results.timing import timed_alike
from transfer_utils.utils.text import MISSING, as_text, finite_number, spreadsheet_text

SEEDS = "configuration (mean over seeds)"
LATEX_NOTE = "% needs \\usepackage{booktabs}\n"


def grouped(rows: list[Row], by: list[str]) -> list[RunGroup]:
    """Return the groups of runs that agree in these options, or, with ``SEEDS`` among them, in all but the seed."""
    return group_by_configuration(rows) if SEEDS in by else group_by(rows, *by)


def grouping_options(rows: list[Row]) -> list[str]:
    """Return what rows can be grouped by: ``SEEDS``, and the options in which they differ."""
    return [SEEDS, *(name for name in differing(rows) if name != "seed")]


def group_frame(groups: list[RunGroup]) -> pd.DataFrame:
    """Return a row for each group: the mean accuracies, their sample standard deviation, and their range.

    The time is that of the completed runs, as the others show only a part of it; runs with a GPU count only among
    themselves.
    """
    return pd.DataFrame(
        {
            "Group": [group.name for group in groups],
            "Runs": [group.size for group in groups],
            "Validation": [padded(group.shown("val_end2end")) for group in groups],
            "Validation from–to": [_range(group, "val_end2end") for group in groups],
            "Test": [padded(group.shown("test_end2end")) for group in groups],
            "Test from–to": [_range(group, "test_end2end") for group in groups],
            "Time": [_mean_time(group) for group in groups],
        }
    )


def padded(accuracy: str) -> str:
    """Return an accuracy with leading spaces: tables sort such a column as text, and so put 9.8 % below 84.4 %."""
    return "" if accuracy == MISSING else " " * (3 - len(accuracy.split(".")[0])) + accuracy


def _range(group: RunGroup, metric: str) -> str:
    values = group.values(metric)
    if len(values) < 2:
        return MISSING
    return f"{percent(min(values)).removesuffix(' %')}–{percent(max(values))}"


def _mean_time(group: RunGroup) -> str:
    timed = timed_alike([row.record for row in group.rows if row.status == "completed" and row.seconds is not None])
    if not timed:
        return MISSING
    mean = sum(record.timing_sec["total"] for record in timed) / len(timed)
    return duration(mean) + " on a GPU" * timed[0].on_gpu


def as_latex(table: pd.DataFrame) -> bytes:
    """Return a table as LaTeX with the rules of booktabs, UTF-8; every character special to LaTeX is escaped."""
    columns = "l" + "r" * (len(table.columns) - 1)
    text = table.map(lambda value: MISSING if pd.isna(value) else as_text(value).strip() or MISSING)
    return (LATEX_NOTE + text.to_latex(index=False, escape=True, column_format=columns)).encode("utf-8")


def as_csv(rows: list[Row]) -> bytes:
    """Return the rows with all metrics and options as CSV for spreadsheets, UTF-8 with a byte-order mark."""
    lines = [
        {
            "run": row.name,
            "status": row.status,
            "created": row.created,
            "seconds": row.seconds,
            **{f"metrics.{as_text(name)}": value for name, value in row.record.metrics.items()},
            **{f"config.{name}": value for name, value in row.config.items()},
        }
        for row in rows
    ]
    cells = [{name: _cell(value) for name, value in line.items()} for line in lines]
    return pd.DataFrame(cells, dtype=object).to_csv(index=False, lineterminator="\n").encode("utf-8-sig")


def _cell(value: object) -> object:
    if isinstance(value, bool) or finite_number(value) is not None:
        return value
    return "" if value is None else spreadsheet_text(as_text(value))
