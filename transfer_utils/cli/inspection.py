"""``transfer-utils inspect``: look at a folder of pictures, print what was found, and write a page that shows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transfer_utils.data.image_folder import check_image_folder
from transfer_utils.data.images import decode_image, encode_image
from transfer_utils.data.inspection import FEW, Inspection, Picture, across_classes, across_splits, inspect_folder
from transfer_utils.errors import UserError
from transfer_utils.report.rendering import environment
from transfer_utils.utils.disk import check_writable
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress
from transfer_utils.utils.text import counted, data_uri, first_named, printable

MAX_NAMED, MAX_IN_LINE = 10, 4  # files or groups that are printed, and pictures of a group
MAX_GROUPS, MAX_SHOWN = 100, 8  # groups on the page, and pictures of each
MAX_SUSPECTS = 60  # pictures of each kind on the page
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80
NO_WEIGHTS = "none"

PAGE_SUFFIXES = (".html", ".htm")

COPIES = "Files with the same content. One is enough; in two splits they make the test too easy, and in two classes at "
COPIES += "least one label is wrong."
SIMILAR = "Pictures that look alike but are different files, such as two shots of one scene. Keep them in one split. "
SIMILAR += "Mirrored copies are not found, nor are most that are cropped by more than a few per cent."
LABELS = "A head that learned from the other pictures contradicts these labels, the surest first. It makes mistakes of "
LABELS += "its own, and more of them on classes that look alike: look at each picture and decide."
UNUSUAL = "To the network these are unlike all others, the most unlike first: foreign pictures, scans, covers, or rare "
UNUSUAL += "cases that are worth more examples."
TOO_SMALL = "Labels are judged in classes of at least five different pictures, and only if there are two such classes. "
TOO_SMALL += "These have fewer: "


class Suspects(NamedTuple):
    """What the features of a pretrained network doubt."""

    labels: Sequence[tuple[Picture, str]] = ()  # in doubt, each with a sentence, the most doubtful first
    unusual: Sequence[Picture] = ()  # unlike all others, the most unlike first
    problem: str = ""  # what was not looked for, and why; empty if everything was


def write_inspection(
    folder: Path,
    output: Path,
    *,
    weights: str = NO_WEIGHTS,
    cache_dir: str = "",
    progress: Progress | None = None,
    log: Log = print,
) -> None:
    """Look at an image folder, log what was found, and write the page ``output``.

    Args:
        weights: of the network whose features find wrong labels and unusual pictures: ``imagenet``, ``letters``, or
            ``none`` not to look for them.

    Raises:
        UserError: ``folder`` is not a usable image folder, or ``output`` is a folder or ends in neither .html nor .htm.
    """
    check_image_folder(folder, "FOLDER")
    if output.is_dir():
        raise UserError(f"output_file must be a file, got {str(output)!r}, which is a folder.")
    if output.suffix.lower() not in PAGE_SUFFIXES:
        raise UserError(f"output_file must end in {' or '.join(PAGE_SUFFIXES)}, got {str(output)!r}.")
    check_writable("output_file", output.parent)
    inspection = inspect_folder(folder, progress)
    suspects = Suspects() if weights == NO_WEIGHTS else _find_suspects(inspection, folder, weights, cache_dir, progress)
    page = environment(autoescape=True).get_template("inspection.html.j2")
    write_bytes(output, page.render(_view(inspection, suspects)).encode())
    for sentence in [*_summary(inspection, suspects), *inspection.notes]:
        log(sentence)
    _log_names(inspection.unreadable, log)
    _log_names([f"Label in doubt: {picture.name}, {doubt}" for picture, doubt in suspects.labels], log)
    _log_names([f"Unlike all others: {picture.name}" for picture in suspects.unusual], log)
    for title, groups in (("Same content", inspection.copies), ("Look alike", inspection.similar)):
        _log_names([f"{title}: {_first_of(group)}" for group in groups], log)
    log(f"The pictures are shown in {printable(str(output))}.")


def _find_suspects(
    inspection: Inspection, folder: Path, weights: str, cache_dir: str, progress: Progress | None
) -> Suspects:
    from transfer_utils.interpret.suspects import doubtful_labels, folder_features, not_judged, unlike_all_others

    try:
        features, labels, paths = folder_features(os.fspath(folder), weights, cache_dir, progress)
    except UserError as error:
        return Suspects(problem=f"Wrong labels and unusual pictures were not looked for: {error}")
    pictures, names = {picture.path: picture for picture in inspection.pictures}, inspection.class_names
    groups = inspection.groups_of(paths)
    doubts = [
        (pictures[paths[doubt.at]], f"looks like {names[doubt.suggested]} ({100 * doubt.probability:.0f} %)")
        for doubt in doubtful_labels(features, labels, groups)
        if paths[doubt.at] in pictures
    ]
    unusual = [pictures[paths[at]] for at, _ in unlike_all_others(features) if paths[at] in pictures]
    small = [names[label] for label in not_judged(labels, groups)]
    return Suspects(doubts, unusual, TOO_SMALL + first_named(small, MAX_NAMED) if small else "")


def _log_names(lines: Sequence[str], log: Log) -> None:
    for line in lines[:MAX_NAMED]:
        log(f"  {line}")
    if len(lines) > MAX_NAMED:
        log(f"  and {len(lines) - MAX_NAMED:,} more")


def _first_of(group: Sequence[Picture]) -> str:
    names, more = ", ".join(picture.name for picture in group[:MAX_IN_LINE]), len(group) - MAX_IN_LINE
    return f"{names} and {more:,} more" if more > 0 else names


def _summary(inspection: Inspection, suspects: Suspects) -> list[str]:
    n, classes = len(inspection.pictures), len(inspection.class_names)
    sentences = [f"{counted(n, 'picture')} in {classes} classes can be read."]
    if inspection.unreadable:
        sentences.append(f"{counted(len(inspection.unreadable), 'file')} cannot be read.")
    small, needed = inspection.small_classes(), inspection.needed_per_class()
    refused = [f"{name} ({n})" for name, n in small.items() if n < needed]
    few = [f"{name} ({n})" for name, n in small.items() if n >= needed]
    for short, limit, what in ((refused, needed, ", so that train refuses the folder"), (few, FEW, " to train on")):
        if short:
            have = counted(len(short), "class has", "classes have")
            sentences.append(f"{have} fewer than {counted(limit, 'picture')}{what}: {first_named(short, MAX_NAMED)}")
    for groups, one, many in (
        (inspection.copies, "group of files has the same content", "groups of files have the same content"),
        (inspection.similar, "group of pictures looks alike", "groups of pictures look alike"),
    ):
        if groups:
            splits, labels = sum(map(across_splits, groups)), sum(map(across_classes, groups))
            spread = f"{splits:,} across splits and {labels:,} across classes"
            sentences.append(f"{counted(len(groups), one, many)}, {spread}.")
    if suspects.labels:
        sentences.append(f"{counted(len(suspects.labels), 'label is', 'labels are')} in doubt.")
    if suspects.unusual:
        sentences.append(f"{counted(len(suspects.unusual), 'picture is', 'pictures are')} unlike all others.")
    return [*sentences, suspects.problem] if suspects.problem else sentences


def _view(inspection: Inspection, suspects: Suspects) -> dict[str, Any]:
    """Return what the page shows."""
    counts, splits, width_height = inspection.counts(), inspection.splits(), inspection.sizes()
    sides = (("width", width_height[:, 0]), ("height", width_height[:, 1]), ("shorter side", width_height.min(axis=1)))
    return {
        "folder": inspection.folder,
        "summary": _summary(inspection, suspects),
        "notes": inspection.notes,
        "unreadable": inspection.unreadable,
        "counts": [
            ["class", *(splits if len(splits) > 1 else ["pictures"])],
            *([name, *(f"{counts[s][i]:,}" for s in splits)] for i, name in enumerate(inspection.class_names)),
        ],
        "sizes": [
            ["pixels", "smallest", "median", "largest"],
            *([name, *(f"{int(f(side)):,}" for f in (np.min, np.median, np.max))] for name, side in sides),
        ],
        "modes": [["mode", "pictures"], *([mode, f"{n:,}"] for mode, n in inspection.modes().most_common())],
        "sections": _sections(inspection, suspects),
    }


def _sections(inspection: Inspection, suspects: Suspects) -> list[dict[str, Any]]:
    """Return the parts of the page that show pictures, in groups, each picture with its place or with the doubt."""
    n_splits, names, sections = len(inspection.splits()), inspection.class_names, []

    def placed(pictures: Sequence[Picture]) -> list[tuple[Picture, str]]:
        return [(each, f"{each.split}, " * (n_splits > 1) + f"{each.width} x {each.height}") for each in pictures]

    doubts = [(picture, f"{names[picture.label]}, {doubt}") for picture, doubt in suspects.labels]
    for title, text, groups, limit in (
        ("Copies", COPIES, [placed(group) for group in inspection.copies], MAX_SHOWN),
        ("Pictures that look alike", SIMILAR, [placed(group) for group in inspection.similar], MAX_SHOWN),
        ("Labels in doubt", LABELS, [doubts], MAX_SUSPECTS),
        ("Pictures unlike all others", UNUSUAL, [placed(suspects.unusual)], MAX_SUSPECTS),
    ):
        if len(groups) > MAX_GROUPS:
            text += f" The first {MAX_GROUPS} of {len(groups):,} groups are shown."
        if any(groups):
            shown = [_pictures(group, limit) for group in groups[:MAX_GROUPS]]
            sections.append({"title": title, "text": text, "groups": shown})
    return sections


def _pictures(pictures: Sequence[tuple[Picture, str]], limit: int) -> dict[str, Any]:
    """Return the first pictures of a group, each with a line of text, and the number of the others."""
    shown = [
        {"name": picture.name, "place": text, "image": _thumbnail(picture.path)} for picture, text in pictures[:limit]
    ]
    return {"pictures": shown, "more": len(pictures) - len(shown)}


def _thumbnail(path: str) -> str:
    """Return a small JPEG of a picture as a data URI; empty if the file has vanished meanwhile."""
    try:
        pixels = decode_image(path, THUMBNAIL_SIDE)
    except UserError:
        return ""
    content = encode_image(pixels, "JPEG", quality=THUMBNAIL_QUALITY)
    return data_uri(content, "jpeg")
