"""``transfer-utils inspect``: look at a folder of pictures, print what was found, and write a page that shows it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transfer_utils.data.images import decode_image
from transfer_utils.data.inspection import (
    FEW,
    Inspection,
    Picture,
    across_classes,
    across_splits,
    inspect_folder,
)
from transfer_utils.errors import UserError
from transfer_utils.report.inspection import inspection_page
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress
from transfer_utils.utils.text import counted, printable

MAX_NAMED = 10  # files or groups that are printed
MAX_GROUPS, MAX_SHOWN = 100, 8  # groups on the page, and pictures of each
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80

COPIES = "Files with the same content. One is enough; in two splits they make the test too easy, and in two classes at "
COPIES += "least one label is wrong."
SIMILAR = "Pictures that look alike but are different files, such as two shots of one scene. Keep them in one split. "
SIMILAR += "Copies that were mirrored, or cropped by more than a few per cent, are not found."


def write_inspection(folder: Path, output: Path, *, progress: Progress | None = None, log: Log = print) -> None:
    """Look at an image folder, log what was found, and write the page ``output``.

    Raises:
        UserError: ``folder`` is not a usable image folder, or ``output`` is a folder.
    """
    if not folder.expanduser().is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"FOLDER must be a folder of pictures, got {printable(str(folder))!r}, which {problem}.")
    if output.is_dir():
        raise UserError(f"output_file must be a file, got {str(output)!r}, which is a folder.")
    found = inspect_folder(folder, progress)
    write_bytes(output, inspection_page(_view(found)).encode())
    for sentence in [*_summary(found), *found.notes]:
        log(sentence)
    _log_names(found.unreadable, log)
    for title, groups in (("Same content", found.copies), ("Look alike", found.similar)):
        _log_names([f"{title}: {', '.join(picture.name for picture in group[:4])}" for group in groups], log)
    log(f"The pictures are shown in {printable(str(output))}.")


def _log_names(lines: Sequence[str], log: Log) -> None:
    for line in lines[:MAX_NAMED]:
        log(f"  {line}")
    if len(lines) > MAX_NAMED:
        log(f"  and {len(lines) - MAX_NAMED:,} more")


def _summary(found: Inspection) -> list[str]:
    n, classes = len(found.pictures), len(found.class_names)
    sentences = [f"{counted(n, 'picture')} in {classes} classes can be read."]
    if found.unreadable:
        sentences.append(f"{counted(len(found.unreadable), 'file')} cannot be read.")
    if small := found.small_classes():
        have = counted(len(small), "class has", "classes have")
        names = ", ".join(small[:MAX_NAMED]) + (", ..." if len(small) > MAX_NAMED else "")
        sentences.append(f"{have} fewer than {FEW} pictures to train on: {names}.")
    for groups, one, many in (
        (found.copies, "group of files has the same content", "groups of files have the same content"),
        (found.similar, "group of pictures looks alike", "groups of pictures look alike"),
    ):
        if groups:
            splits, labels = sum(map(across_splits, groups)), sum(map(across_classes, groups))
            spread = f"{splits:,} across splits and {labels:,} across classes"
            sentences.append(f"{counted(len(groups), one, many)}, {spread}.")
    return sentences


def _view(found: Inspection) -> dict[str, Any]:
    """Return what the page shows."""
    counts, splits = found.counts(), found.splits()
    width_height = found.sizes()
    sides = (("width", width_height[:, 0]), ("height", width_height[:, 1]), ("shorter side", width_height.min(axis=1)))
    sections = [
        {
            "title": title,
            "text": _with_limit(text, groups),
            "groups": [_group(group, len(splits)) for group in groups[:MAX_GROUPS]],
        }
        for title, text, groups in (
            ("Copies", COPIES, found.copies),
            ("Pictures that look alike", SIMILAR, found.similar),
        )
        if groups
    ]
    return {
        "folder": found.folder,
        "summary": _summary(found),
        "notes": found.notes,
        "unreadable": found.unreadable,
        "counts": [
            ["class", *(splits if len(splits) > 1 else ["pictures"])],
            *([name, *(f"{counts[s][i]:,}" for s in splits)] for i, name in enumerate(found.class_names)),
        ],
        "sizes": [
            ["pixels", "smallest", "median", "largest"],
            *([name, *(f"{int(f(side)):,}" for f in (np.min, np.median, np.max))] for name, side in sides),
        ],
        "modes": [["mode", "pictures"], *([mode, f"{n:,}"] for mode, n in found.modes().most_common())],
        "sections": sections,
    }


def _with_limit(text: str, groups: Sequence[Sequence[Picture]]) -> str:
    return text if len(groups) <= MAX_GROUPS else f"{text} The first {MAX_GROUPS} of {len(groups):,} groups are shown."


def _group(group: Sequence[Picture], n_splits: int) -> dict[str, Any]:
    shown = [
        {
            "name": picture.name,
            "place": f"{picture.split}, " * (n_splits > 1) + f"{picture.width} x {picture.height}",
            "image": _thumbnail(picture.path),
        }
        for picture in group[:MAX_SHOWN]
    ]
    return {"pictures": shown, "more": len(group) - len(shown)}


def _thumbnail(path: str) -> str:
    """Return a small JPEG of a picture as a data URI; empty if the file has vanished meanwhile."""
    try:
        pixels = decode_image(path, THUMBNAIL_SIDE)
    except UserError:
        return ""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
