"""A page of the recorded runs that needs neither Python nor a server: one HTML file with its data inside.

The table is plain HTML. A script sorts and filters it, draws the curves of the chosen runs, and lists the options in
which two of them differ. Everything that comes from a record is escaped, in the table as in the data.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from transfer_utils.dashboard.store import newest_first, read
from transfer_utils.errors import UserError
from transfer_utils.records.folder import check_folder
from transfer_utils.records.record import STATUSES, finite
from transfer_utils.report.rendering import environment
from transfer_utils.results.curves import STAGE_NAMES
from transfer_utils.results.formatting import duration
from transfer_utils.results.options import ORDER
from transfer_utils.results.progress import repeat_command
from transfer_utils.results.search import searched_text
from transfer_utils.results.table import STOPPED, Row
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.text import MAX_BLOCK, MISSING, as_text, command_line, counted

PAGE_TEMPLATES = Path(__file__).parent / "templates"
PAGE_NAME = "index.html"
QUANTITIES = ("accuracy", "val_accuracy", "loss", "val_loss")
DIGITS = 4  # of the values of curves: more than a chart can show
COLUMNS = ("Run", "Status", "Validation", "Test", "Network", "Unfrozen", "Augmented", "Labels", "Seed", "Time")
COLUMNS += ("Date (UTC)", "Data")


def export_page(runs_dir: str | os.PathLike, output_dir: str | os.PathLike) -> Path:
    """Write a static page of all runs of a folder as ``index.html`` into ``output_dir``, and return its path.

    The page loads nothing else, so any web server can hand it out, and a browser can open the file itself.

    Raises:
        UserError: ``runs_dir`` is not a folder, or ``output_dir`` is not one that can be written.
    """
    if Path(output_dir).is_file():
        raise UserError(f"{output_dir} is a file: name a folder for the page.")
    path = Path(output_dir) / PAGE_NAME
    write_bytes(path, _render("page.html.j2", runs_dir).encode())
    return path


def fragment(runs_dir: str | os.PathLike) -> str:
    """Return the content of the page, with its style and script, to be placed into the body of another page.

    Raises:
        UserError: ``runs_dir`` is not a folder.
    """
    return _render("runs.html.j2", runs_dir)


def _render(template: str, runs_dir: str | os.PathLike) -> str:
    templates = environment(PAGE_TEMPLATES, autoescape=True)
    templates.globals["counted"] = counted
    templates.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    return templates.get_template(template).render(_values(runs_dir))


def _values(runs_dir: str | os.PathLike) -> dict[str, Any]:
    check_folder(Path(runs_dir))
    root = Path(os.path.abspath(runs_dir))
    view = read(root)
    rows = [_without_folders(row) for row in newest_first(view.rows)]
    return {
        "columns": COLUMNS,
        "rows": [_cells(row) for row in rows],
        "statuses": [status for status in (*STATUSES, STOPPED) if any(row.status == status for row in rows)],
        "datasets": sorted({row.dataset for row in rows}),
        "unreadable": [
            (as_text(path.relative_to(root).as_posix()), as_text(why)) for path, why in view.unreadable.items()
        ],
        "data": {"runs": [_data(row) for row in rows], "order": list(ORDER), "stages": STAGE_NAMES},
    }


def _without_folders(row: Row) -> Row:
    """Return a run as it is published: of an absolute path to its images or weights, only the name is left."""
    values = {name: str(row.record.config.get(name) or "") for name in ("data_dir", "weights")}
    names = {name: PureWindowsPath(path).name for name, path in values.items() if PureWindowsPath(path).anchor}
    command = row.record.command
    # The longest first, as one may be the start of the other. The root has no name, and tells nothing.
    for name in sorted(filter(names.get, names), key=lambda name: -len(values[name])):
        for as_typed in (lambda path: command_line([path]), str):  # also in the quotes of a shell
            command = command.replace(as_typed(values[name]), as_typed(names[name]))
    record = row.record.model_copy(update={"config": row.record.config | names, "command": command})
    return replace(row, run=replace(row.run, record=record))


def _cells(row: Row) -> dict[str, Any]:
    """Return the row's name, the words that a search matches, and the text and sort key of each cell but the first."""
    seed = as_text(row.config.get("seed"), 20)
    cells = [
        (row.status, row.status),
        (row.accuracy("val"), row.metric("val_end2end")),
        (row.accuracy("test"), row.metric("test_end2end")),
        (row.network, row.network),
        (row.unfrozen, _number_or(row.config.get("n_unfreeze"), row.unfrozen)),
        (row.augmentation, row.augmentation),
        (row.labels, _number_or(row.config.get("labels_per_class"), row.labels)),
        (seed, _number_or(row.config.get("seed"), seed)),
        (duration(row.seconds), row.seconds),
        (row.created, row.created),
        (row.dataset, row.dataset),
    ]
    return {
        "name": row.name,
        "words": " ".join([searched_text(row), *(f"{name}={value}".lower() for name, value in row.options.items())]),
        "status": row.status,
        "dataset": row.dataset,
        "cells": [(text, "" if key is None or text == MISSING else key) for text, key in cells],
    }


def _number_or(value: Any, text: str) -> Any:
    """Return the sort key of an option: its number, with "all" after every number, or else its text."""
    if text == "all":
        return 1e12
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _data(row: Row) -> dict[str, Any]:
    """Return what the script needs of a run: its options as text, and its curves with null where a value is missing."""
    history = row.history
    points = history.points()
    curves = {
        name: finite([round(value, DIGITS) for value in history.values[name][points].tolist()]) for name in QUANTITIES
    }
    return {
        "name": row.name,
        "command": as_text(repeat_command(row.record), MAX_BLOCK),
        "options": row.options,
        "epochs": history.epochs[points].tolist(),
        "curves": {name: values for name, values in curves.items() if any(value is not None for value in values)},
        "starts": {as_text(stage, 20): start for stage, start in history.starts.items()},
    }
