"""Accuracy by the number of labels: the means over the draws, and what they say of the pretrained features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import enumerated


class LabelEfficiencyPoint(NamedTuple):
    """One model trained on one draw of labels.

    Attributes:
        model: ``transfer`` or ``baseline``.
        labels: labelled images per class; the mean over the classes if all labels are used.
        draw: number of the draw.
        accuracy: fraction of the images that measure it.
    """

    model: str
    labels: int
    draw: int
    accuracy: float


def summarise(measured: Sequence[LabelEfficiencyPoint]) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return the mean, lowest and highest accuracy, in [0, 1], over the draws, by model and labels per class."""
    accuracies: dict[str, dict[int, list[float]]] = {}
    for point in measured:
        accuracies.setdefault(point.model, {}).setdefault(point.labels, []).append(point.accuracy)
    return {
        model: {labels: (float(np.mean(draws)), min(draws), max(draws)) for labels, draws in sorted(by_labels.items())}
        for model, by_labels in accuracies.items()
    }


def verdict(measured: Sequence[LabelEfficiencyPoint]) -> str:
    """Describe how many labels the pretrained features are worth, and up to how many they are clearly ahead."""
    summary = summarise(measured)
    transfer, baseline = summary["transfer"], summary["baseline"]
    levels = list(transfer)
    name = f"the {MODEL_NAMES['baseline']}"
    fewest, most = (_lead(transfer[level][0] - baseline[level][0]) for level in (levels[0], levels[-1]))
    lead = f"With {levels[0]:,} labels per class, the frozen features are {fewest} {name}"
    lead += f"; with all {levels[-1]:,}, they are {most} it." if len(levels) > 1 else "."
    enough = next((level for level in levels if baseline[level][0] >= transfer[levels[0]][0]), None)
    if enough is None:
        match = f"With none of these numbers of labels does {name} match their accuracy with {levels[0]:,}."
    else:
        match = f"To match their accuracy with {levels[0]:,}, {name} needs {enough:,} labels per class."
    return f"{lead} {match} {_clear_lead(transfer, baseline)}"


def _lead(gap: float) -> str:
    return f"{abs(100 * gap):.1f} points {'ahead of' if gap >= 0 else 'behind'}"


def _clear_lead(transfer: Mapping[int, tuple], baseline: Mapping[int, tuple]) -> str:
    """State at which numbers of labels the worst draw of the features is above the best draw of the CNN."""
    levels = list(transfer)
    clear = [level for level in levels if transfer[level][1] > baseline[level][2]]
    rule = f"the worst draw of the frozen features is better than the best draw of the {MODEL_NAMES['baseline']}"
    if not clear:
        return f"There is no number of labels at which {rule}."
    if clear == levels:
        return f"At every number of labels, {rule}."
    if clear == levels[: len(clear)]:
        return f"Up to {clear[-1]:,} labels per class, {rule}; with more labels, it is not."
    numbers = enumerated([f"{level:,}" for level in clear])
    return f"With {numbers} labels per class, {rule}; with the other numbers, it is not."
