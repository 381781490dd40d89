"""Runs as rows of the table, without files."""

from pathlib import Path

from transfer_utils.config.options import RunConfig
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.table import Row


def made(name: str, *, val: float = 0.8, status: str = "completed", dataset: str = "cifar10", **options) -> Row:
    """Return the row of a run with these options, and with this accuracy on validation."""
    record = RunRecord(status=status, config=RunConfig(**options).model_dump(), dataset={"name": dataset})
    record.metrics = {"val_end2end": val}
    return Row(name, Run(record, Path(name, "run.json")))


def on_images(row: Row, description: str = "", test: int = 10) -> Row:
    """Return the row with images of this description and number."""
    row.record.dataset |= {"description": description, "images": {"train": 20, "validation": 5, "test": test}}
    return row
