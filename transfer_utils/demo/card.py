"""The model card of a page: what the run record says about a classifier, in a few rows."""

from __future__ import annotations

from pathlib import Path

from transfer_utils.records import Run, RunRecord
from transfer_utils.results.table import Row
from transfer_utils.utils.text import MISSING, as_text, counted, finite_number, format_bytes

USES = {"train": "training", "validation": "validation", "test": "the test"}  # of the splits


def facts(record: RunRecord | None, size: int, side: int, not_sure_below: float) -> list[tuple[str, str]]:
    """Return the rows of the card as pairs (what, value); without a record, what the file itself says.

    Args:
        size: of the model file, in bytes.
        side: of the images that it takes, in pixels.
        not_sure_below: the largest probability below which its answer is "not sure"; 0 if there is always an answer.
    """
    rows = [("Takes", f"pictures of {side} × {side} pixels: the largest square in the middle, resized")]
    if not_sure_below:
        rows.append(("Not sure", f"if the largest probability is below {100 * not_sure_below:.0f} %"))
    if record is not None:
        rows = [*_of_record(Row("", Run(record, Path()))), *rows]
    rows.append(("File", f"LiteRT, {format_bytes(size)}"))
    return [(what, value) for what, value in rows if value not in ("", MISSING)]


def _of_record(row: Row) -> list[tuple[str, str]]:
    # Not its command, which may name folders of the machine that trained it: the page is made to be published.
    record, images = row.record, row.record.dataset.get("images")
    counts = images if isinstance(images, dict) else {}
    numbers = {use: finite_number(counts.get(split)) for split, use in USES.items()}
    sizes = [f"{number:,.0f} for {use}" for use, number in numbers.items() if number]
    return [
        ("Learned from", as_text(record.dataset.get("description") or row.dataset)),
        ("Pictures", ", ".join(sizes)),
        ("Network", _network(row)),
        ("Right on test pictures", row.accuracy("test")),
        ("Right on validation pictures", row.accuracy("val")),
        ("Trained", as_text(record.created[:10])),
    ]


def _network(row: Row) -> str:
    if row.from_scratch:
        return row.network
    weights, parameters = as_text(row.config.get("weights"), 40), finite_number(row.record.network.get("parameters"))
    parts = [row.network, f"{weights} weights" if weights != MISSING else ""]
    parts.append(counted(round(parameters), "parameter") if parameters else "")
    return ", ".join(part for part in parts if part not in ("", MISSING))
