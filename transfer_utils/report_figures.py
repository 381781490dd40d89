"""The figures of the report, each from the runs of a group of the study; which are drawn follows from what it asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from transfer_utils import label_efficiency, plotting, study_plots
from transfer_utils.comparison import draw_comparison
from transfer_utils.evidence import HEADLINE, Cell, Evidence, estimate
from transfer_utils.label_efficiency import Measured
from transfer_utils.palette import MODEL_NAMES
from transfer_utils.plotting.study import plot_option_effects
from transfer_utils.records import RunRecord
from transfer_utils.verdicts import frozen_features
from transfer_utils.wording import layers, rate

# The two that `transfer-utils compare` draws as well, with what stands in for the picture where it cannot be seen.
COMPARED = {
    "model_comparison": "Accuracy and loss of transfer learning and of the CNN from scratch, epoch by epoch",
    "accuracy_comparison": "Validation and test accuracy of transfer learning and of the CNN from scratch",
}
# Options with a handful of values and no order among them: they share a picture.
CHOICES = {
    "optimizers": ("optimizer_stage1", "optimizer of the head, nothing unfrozen", str),
    "mixup": ("use_mixup", "Mixup", {True: "on", False: "off"}.get),
    "batch_norm": ("batch_norm", "BatchNorm of the unfrozen layers", str),
    "head_start": ("head_start", "head at the start of fine-tuning", {"convex": "solved", "random": "random"}.get),
}


class Drawing(NamedTuple):
    """A figure of the report: the groups it needs one of, what it shows in words, and what draws it."""

    groups: tuple[str, ...]
    alt: str
    draw: Callable[[Evidence], Figure]


def draw_figures(evidence: Evidence, folder: Path) -> dict[str, str]:
    """Write every figure that the study has runs for into ``folder`` as ``<name>.png``; return the alt text by name."""
    draw_comparison(*(next(iter(cell.runs.values())) for cell in headline(evidence)), folder)
    alts = figures_of(evidence)
    for name in alts:
        if name not in COMPARED:
            plotting.save_figure(DRAWINGS[name].draw(evidence), folder / f"{name}.png", alts[name])
    return alts


def figures_of(evidence: Evidence) -> dict[str, str]:
    """Return the figures that the study has runs for: their alt text by name."""
    asked = {name: drawing.alt for name, drawing in DRAWINGS.items() if any(one in evidence for one in drawing.groups)}
    return COMPARED | asked


def headline(evidence: Evidence) -> tuple[Cell, Cell]:
    """Return the runs of transfer learning and those of the baseline with all labels."""
    return tuple(evidence.cell(HEADLINE, model=model) for model in ("transfer", "baseline"))


def depths(evidence: Evidence) -> dict[str, Cell]:
    """Return the runs by how many layers were unfrozen, none first and all last."""
    cells = [*evidence.cells.get("depth", []), *evidence.cells.get("depth_all", [])]
    order = sorted(cells, key=lambda cell: cell.config.n_unfreeze if cell.config.n_unfreeze >= 0 else np.inf)
    return {layers(cell.config.n_unfreeze): cell for cell in order}


def _first(evidence: Evidence) -> tuple[RunRecord, RunRecord]:
    return tuple(cell.first for cell in headline(evidence))


def _confusion(evidence: Evidence) -> Figure:
    record, _ = _first(evidence)
    return plotting.plot_confusion_matrix(record.confusion_matrix, record.dataset["class_names"])


def _reliability(evidence: Evidence) -> Figure:
    records = zip(MODEL_NAMES.values(), _first(evidence), strict=True)
    return plotting.plot_reliability({name: record.calibration for name, record in records})


def _depth(evidence: Evidence) -> Figure:
    return _by_setting(depths(evidence), "layers unfrozen in stage 2", "How deep to fine-tune")


def _learning_rate(evidence: Evidence) -> Figure:
    cells = {rate(cell.config.learning_rate_stage2): cell for cell in evidence.cells["learning_rate"]}
    return _by_setting(cells, "learning rate of stage 2", "How fast to fine-tune")


def _by_setting(cells: dict[str, Cell], setting: str, title: str) -> Figure:
    metrics = {"validation": "val_end2end", "test": "test_end2end"}
    found = {split: {name: cell.accuracy(metric) for name, cell in cells.items()} for split, metric in metrics.items()}
    return plotting.plot_accuracy_by_setting(found, setting, title)


def _forgetting(evidence: Evidence) -> Figure:
    cells = evidence.cells["aggressive"]
    curves = {f"learning rate {rate(cell.config.learning_rate_stage2)}": _mean_curve(cell) for cell in cells}
    if evidence.cell("depth", n_unfreeze=0):
        level = estimate(frozen_features(evidence, cells[0])).mean
        curves["frozen features, solved head"] = [level] * max(map(len, curves.values()))
    return study_plots.plot_fine_tunings(curves)


def _mean_curve(cell: Cell) -> list[float]:
    """Return the validation accuracy before fine-tuning and after each of its epochs, the mean over the runs.

    As far as all of them went: a run that diverged ends early.
    """
    curves = [
        [record.curves["stage1"]["val_accuracy"][-1], *record.curves.get("stage2", {}).get("val_accuracy", [])]
        for record in cell.records
    ]
    numbers = [[value for value in curve if value is not None] for curve in curves]
    shortest = min(map(len, numbers))
    return np.mean([curve[:shortest] for curve in numbers], axis=0).tolist()


def _label_efficiency(evidence: Evidence) -> Figure:
    measured = [
        Measured(cell.config.model, cell.config.labels_per_class, seed, one.value)
        for cell in evidence.cells["label_efficiency"]
        for seed, one in cell.measured("test_end2end").items()
    ]
    return study_plots.plot_label_efficiency(label_efficiency.summarise(measured))


def _image_size(evidence: Evidence) -> Figure:
    cells = {cell.config.image_size: cell for cell in evidence.cells["image_size"]}
    return plotting.plot_size_and_time(
        {size: cell.accuracy() for size, cell in cells.items()},
        {size: cell.milliseconds() for size, cell in cells.items()},
    )


def _choices(evidence: Evidence) -> Figure:
    effects = {}
    for group, (option, title, word) in CHOICES.items():
        if group in evidence:
            cells = evidence.cells[group]
            effects[title] = {word(getattr(cell.config, option)): cell.records for cell in cells}
    return plot_option_effects(effects)


DRAWINGS = {
    "accuracy_over_time": Drawing(
        (HEADLINE,),
        "Validation accuracy over the seconds since the start, for transfer learning and the CNN from scratch",
        lambda evidence: study_plots.plot_accuracy_over_time(*_first(evidence)),
    ),
    "confusion_matrix": Drawing(
        (HEADLINE,), "Which classes transfer learning takes for which, in percent of each true class", _confusion
    ),
    "reliability": Drawing(
        (HEADLINE,), "How often each model is right, by how sure it says it is; the diagonal is perfect", _reliability
    ),
    "head_overfitting": Drawing(
        ("frozen",),
        "Accuracy and loss of the head on frozen features over its epochs, on training and on validation images",
        lambda evidence: plotting.plot_curves(evidence.cells["frozen"][0].first),
    ),
    "choices": Drawing(
        tuple(CHOICES),
        "Validation accuracy of each run, by optimizer, Mixup, BatchNorm and start of the head",
        _choices,
    ),
    "unfreezing_depth": Drawing(("depth",), "Accuracy by the number of unfrozen layers, with 95 % intervals", _depth),
    "learning_rate": Drawing(
        ("learning_rate",), "Accuracy by the learning rate of fine-tuning, with 95 % intervals", _learning_rate
    ),
    "forgetting": Drawing(
        ("aggressive",),
        "Validation accuracy over the epochs of an aggressive fine-tuning, at a standard and a very low learning rate",
        _forgetting,
    ),
    "label_efficiency": Drawing(
        ("label_efficiency",),
        "Test accuracy by labelled images per class, for transfer learning and the CNN from scratch, bands over seeds",
        _label_efficiency,
    ),
    "image_size": Drawing(
        ("image_size",), "Validation accuracy by image size, and by the time to classify one image", _image_size
    ),
}
