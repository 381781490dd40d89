"""The misclassified test images: named at the end of a run, and kept in files beside its record, as thumbnails too."""

from __future__ import annotations

import csv
import io

import numpy as np

from transfer_utils.data.dataset import Split
from transfer_utils.experiment.session import RunSession
from transfer_utils.records.predictions import Predictions
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, save_thumbnails
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.text import printable, spreadsheet_text

MISTAKES_NAME = "mistakes.csv"
MAX_NAMED = 10


def name_mistakes(test: Predictions, session: RunSession) -> None:
    """Log at most ten misclassified test files, the most confident first, and write all of them to ``mistakes.csv``.

    Nothing is written if the images have no files.
    """
    if not test.names:
        return
    classes, confidence = session.record.dataset["class_names"], test.confidence()
    rows = [
        (printable(test.names[at]), classes[test.labels[at]], classes[test.predicted[at]], confidence[at])
        for at in test.mistakes()
    ]
    text = io.StringIO(newline="")
    cells = [(*map(spreadsheet_text, words), f"{p:.3f}") for *words, p in rows]
    csv.writer(text).writerows([("file", "class", "predicted", "probability"), *cells])
    # With a byte-order mark, without which Excel shows "Zoë" as "ZoÃ«".
    write_bytes(session.folder / MISTAKES_NAME, text.getvalue().encode("utf-8-sig", "backslashreplace"))
    session.record.files["mistakes"] = MISTAKES_NAME
    if not rows:
        return
    are = "is" if len(rows) == 1 else "are"
    session.log(f"{len(rows):,} of {len(test):,} test images {are} misclassified, the most confident mistakes first:")
    for file, name, predicted, probability in rows[:MAX_NAMED]:
        session.log(f"  {file}: {name}, predicted {predicted} ({100 * probability:.0f} %)")
    if len(rows) > MAX_NAMED:
        session.log(f"  All of them are listed in {session.folder / MISTAKES_NAME}.")


def keep_thumbnails(test: Predictions, split: Split, session: RunSession) -> None:
    """Write thumbnails beside the record: of the misclassified test images, then of the least sure of the others."""
    right = test.least_sure()
    right = right[test.predicted[right] == test.labels[right]]
    save_thumbnails(session.folder / THUMBNAILS_NAME, np.concatenate([test.mistakes(), right]), split.take)
    session.record.files["thumbnails"] = THUMBNAILS_NAME
