"""Arrays and run records in, one Matplotlib ``Figure`` out: returned, never shown, in one style.

Figures are built without pyplot, so none lingers in memory and no window opens. What a record lacks leaves a gap that
says "not recorded". Images are arrays of pixels in 0-255; names come from the reader's folders and are shown as text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from transfer_utils.errors import UserError
from transfer_utils.files import replacing
from transfer_utils.palette import (
    GRID,
    INK,
    MODEL_COLOURS,
    MODEL_NAMES,
    NOTE,
    PAPER,
    SEQUENTIAL,
    SERIES,
    SPLIT_DASHES,
)
from transfer_utils.records import RunRecord

DPI = 144  # of saved pictures: sharp on a screen of twice the usual density
WIDTH = 9.0  # inches of a full-width figure; letters of 10 points are then read easily in a README
MISSING = "not recorded"
MOST_CLASSES_DRAWN = 20  # a grid with more rows is no longer looked at

STYLE = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class called "$x" is a name, not a formula
    "axes.edgecolor": NOTE,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
styled = matplotlib.style.context(STYLE, after_reset=True)  # decorates every function that draws

MARKERS = {"transfer": "o", "baseline": "s"}
HATCHES = {"transfer": "", "baseline": "//"}


@styled
def plot_model_comparison(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw accuracy and loss over the epochs of both models, training dashed and validation solid.

    The stages of the transfer model stand one after the other on one axis, a dotted line where the next begins.
    """
    title = _titled("Transfer learning and a CNN from scratch, epoch by epoch", transfer)
    return _curves({"transfer": transfer, "baseline": baseline}, title)


@styled
def plot_curves(record: RunRecord) -> Figure:
    """Draw accuracy and loss of one run over its epochs, its stages joined, training dashed and validation solid."""
    model = "baseline" if record.config.get("model") == "baseline" or "baseline" in record.curves else "transfer"
    return _curves({model: record}, _titled(f"{MODEL_NAMES[model].capitalize()}, epoch by epoch", record))


@styled
def plot_accuracy_comparison(transfer: RunRecord, baseline: RunRecord) -> Figure:
    """Draw bars of both models' validation and test accuracy, with 95 % intervals and the numbers written above.

    A third group shows the test accuracy with test-time augmentation when either record has it.
    """
    records = {"transfer": transfer, "baseline": baseline}
    groups = {"validation": ("val_end2end", "val_low", "val_high"), "test": ("test_end2end", "test_low", "test_high")}
    if any(record.metrics.get("test_tta") is not None for record in records.values()):
        groups["test, with TTA"] = ("test_tta", "test_tta_low", "test_tta_high")
    figure, axes = _canvas(WIDTH * 0.45 + WIDTH * 0.15 * len(groups), 4.4)
    for side, (model, record) in zip((-0.2, 0.2), records.items(), strict=True):
        style = {"color": MODEL_COLOURS[model], "hatch": HATCHES[model], "edgecolor": PAPER}
        heights = [_number(record.metrics, keys[0]) for keys in groups.values()]
        axes.bar(np.arange(len(groups)) + side, np.nan_to_num(heights), 0.37, label=MODEL_NAMES[model], **style)
        for place, keys in enumerate(groups.values()):
            _write_accuracy(axes, place + side, *(_number(record.metrics, key) for key in keys))
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.18)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(False, axis="x")
    axes.set_ylabel("accuracy")
    axes.set_title(_titled("Accuracy of the final models, with 95 % intervals", transfer))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_confusion_matrix(
    matrix: Sequence[Sequence[int]], class_names: Sequence[str], normalise: bool = True
) -> Figure:
    """Draw a confusion matrix, rows true and columns predicted.

    Args:
        matrix: counts of shape (classes, classes).
        class_names: one name a class, in the order of the rows.
        normalise: write the percentage of each row instead of the count; the colours always show the row's share.

    Raises:
        UserError: the matrix is not square, or the names are not as many as its rows.
    """
    counts = np.asarray(matrix, float)
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise UserError(f"matrix must have shape {(classes, classes)}, one row a class name, got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    side = float(np.clip(0.55 * classes + 1.6, 4.5, 13))
    figure, axes = _canvas(side + 0.9, side)
    # The square root brings out the few mistakes beside the many right answers.
    picture = axes.imshow(shares, cmap=SEQUENTIAL, norm=PowerNorm(0.5, 0, 1))
    bar = figure.colorbar(picture, shrink=0.8, format=PercentFormatter(1), ticks=[0, 0.02, 0.1, 0.25, 0.5, 1])
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    if classes <= MOST_CLASSES_DRAWN:
        for row, column in np.argwhere(counts > 0):
            share = shares[row, column]
            text = f"{100 * share:.1f}" if normalise else f"{counts[row, column]:.0f}"
            colour = PAPER if share > 0.35 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    names = [_short(name) for name in class_names]
    size = 9 if classes <= MOST_CLASSES_DRAWN else 6
    axes.set_xticks(range(classes), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    _bare(axes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title("Confusion matrix, " + ("per cent of each true class" if normalise else "number of images"))
    return figure


@styled
def plot_reliability(calibrations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw reliability diagrams (Guo et al. 2017, figure 1) over each other, and below how often each confidence occurs.

    Args:
        calibrations: by label, what ``evaluation.calibration`` returned; an empty one is listed as not recorded.
    """
    figure = Figure((6.2, 6.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=NOTE, linestyle=":", linewidth=1.2, label="perfectly calibrated")
    for place, (label, found) in enumerate(calibrations.items()):
        look = {"color": SERIES[place % len(SERIES)]}
        if not found:
            axes.plot([], [], label=f"{_short(label)}: {MISSING}", **look)
            continue
        marker = "osD^vP*"[place % 7]
        label = f"{_short(label, 40)}: ECE {100 * found['ece']:.1f} %"
        confidence, accuracy = (np.array(found[key], float) for key in ("confidence", "accuracy"))
        filled = ~np.isnan(confidence)
        axes.plot(confidence[filled], accuracy[filled], marker=marker, markersize=5, label=label, **look)
        counts = np.asarray(found["count"])
        below.stairs(counts / counts.sum(), found["edges"], linewidth=1.8, **look)
    for panel in (axes, below):
        _ruled(panel)
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    below.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title="How often the model is right when it is this sure")
    below.set(xlabel="confidence (largest probability)", ylabel="images")
    axes.legend(loc="upper left")
    return figure


@styled
def plot_class_balance(counts_by_split: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw the number of images of each class, one panel a split.

    Args:
        counts_by_split: by split, by class name, a count; a class that a split lacks counts as 0 there.

    Raises:
        UserError: there is no split.
    """
    if not counts_by_split:
        raise UserError("counts_by_split must hold at least one split, got none")
    classes = list(dict.fromkeys(name for counts in counts_by_split.values() for name in counts))
    figure = Figure((WIDTH, max(2.2, 0.28 * len(classes) + 1)), layout="constrained")
    panels = figure.subplots(1, len(counts_by_split), sharey=True, squeeze=False)[0]
    for axes, (split, counts), colour in zip(panels, counts_by_split.items(), SERIES * len(panels), strict=False):
        numbers = [int(counts.get(name, 0)) for name in classes]
        bars = axes.barh(range(len(classes)), numbers, 0.72, color=colour)
        axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, fontsize=8)
        axes.set_xlim(0, 1.28 * max([*numbers, 1]))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        _ruled(axes)
        axes.grid(False, axis="y")
        axes.set_title(f"{_short(split)}: {sum(numbers):,}")
        axes.set_xlabel("images")
    panels[0].set_yticks(range(len(classes)), [_short(name) for name in classes])
    panels[0].invert_yaxis()
    return figure


@styled
def plot_class_grid(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], per_class: int = 8) -> Figure:
    """Draw the first images of each class, one row a class.

    Args:
        images: shape (n, height, width, 3), pixels in 0-255.
        labels: shape (n,), integers that index ``class_names``.
        class_names: one name a class; the first 20 are drawn.
        per_class: images a row; a class with fewer leaves holes.

    Raises:
        UserError: images of another shape or range, or labels that are not as many.
    """
    images, labels = _pixels("images", images, 4), np.asarray(labels)
    _same_count("labels", labels, images)
    shown = list(class_names)[:MOST_CLASSES_DRAWN]
    rows = [list(images[np.flatnonzero(labels == index)[:per_class]]) for index in range(len(shown))]
    figure, axes = _tiled(rows, per_class, images.shape[1:3], [_short(name) for name in shown])
    more = "" if len(shown) == len(class_names) else f" (the first {len(shown)} of {len(class_names)} classes)"
    axes.set_title(f"Images of each class{more}")
    return figure


@styled
def plot_augmented(images: np.ndarray, views: np.ndarray) -> Figure:
    """Draw images beside their augmented views: one row an image, the original first.

    Args:
        images: shape (n, height, width, 3), pixels in 0-255.
        views: shape (n, v, height, width, 3), pixels in 0-255.

    Raises:
        UserError: another shape or range, or views of another number of images.
    """
    images, views = _pixels("images", images, 4), _pixels("views", views, 5)
    _same_count("views", views, images)
    rows = [[image, *of_it] for image, of_it in zip(images, views, strict=True)]
    figure, axes = _tiled(rows, 1 + views.shape[1], images.shape[1:3], [""] * len(rows))
    centres = images.shape[2] / 2 - 0.5 + (images.shape[2] + _gap(images.shape[1:3])) * np.arange(1 + views.shape[1])
    axes.set_xticks(centres, ["original", *(f"view {number + 1}" for number in range(views.shape[1]))])
    axes.xaxis.tick_top()
    return figure


@styled
def plot_mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], n: int = 12
) -> Figure:
    """Draw the wrong answers the model was surest of, the surest first.

    Args:
        images: shape (m, height, width, 3), pixels in 0-255.
        labels: shape (m,), integers that index ``class_names``.
        probabilities: shape (m, classes).
        class_names: one name a class.
        n: number of images at most.

    Raises:
        UserError: images of another shape or range, or labels or probabilities that are not as many.
    """
    images, labels, probabilities = _pixels("images", images, 4), np.asarray(labels), np.asarray(probabilities)
    _same_count("labels", labels, images)
    _same_count("probabilities", probabilities, images)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:n]
    columns = 6
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure((WIDTH, 1.95 * rows + 0.5), layout="constrained")
    figure.suptitle(
        "The wrong answers the model was surest of" if len(chosen) else "No wrong answer", x=0.01, ha="left"
    )
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, index in zip(figure.axes, chosen, strict=False):
        axes.imshow(images[index], interpolation="nearest")
        said, true = (_short(class_names[which], 14) for which in (predicted[index], labels[index]))
        axes.set_title(f"{said}, {100 * confidence[index]:.0f} %\ntruth: {true}", fontsize=9, fontweight="normal")
    return figure


@styled
def save_figure(figure: Figure, path: str | os.PathLike, alt: str) -> None:
    """Write a figure as PNG, all of it or nothing; the same figure always gives the same bytes.

    Args:
        figure: what a ``plot_*`` function returned.
        path: where to.
        alt: what the picture shows, for those who cannot see it; stored in the PNG as ``Description``.

    Raises:
        UserError: ``alt`` is blank.
    """
    if not alt.strip():
        raise UserError("alt must say what the picture shows, got an empty text")
    with replacing(path) as temporary:  # without "Software" the bytes do not depend on Matplotlib's version number
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None, "Description": alt})


def _curves(records: Mapping[str, RunRecord], title: str) -> Figure:
    figure = Figure((WIDTH, 4.1), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("accuracy", "loss"), strict=True):
        _draw_curves(axes, quantity, records)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    panels[0].set_ylabel("accuracy")
    panels[1].set_ylabel("loss (nats)")
    handles = [
        Line2D([], [], label=f"{MODEL_NAMES[model]}, {split}", **_look(model, split))
        for model, split in _lines(records)
    ]
    if any(_boundaries(record) for record in records.values()):
        handles.append(Line2D([], [], color=NOTE, linestyle=":", linewidth=1.2, label="stage 2 (fine-tuning) begins"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_curves(axes: Axes, quantity: str, records: Mapping[str, RunRecord]) -> None:
    missing = []
    for model, split in _lines(records):
        values = _joined(records[model], quantity if split == "training" else f"val_{quantity}")
        if np.isnan(values).all():
            missing.append(f"{MODEL_NAMES[model]}, {split}")
        # The marker keeps an epoch in sight that stands alone between gaps.
        axes.plot(
            np.arange(1, len(values) + 1), values, markersize=4 if len(values) <= 30 else 2, **_look(model, split)
        )
    for record in records.values():
        for epoch in _boundaries(record):
            axes.axvline(epoch + 0.5, color=NOTE, linestyle=":", linewidth=1.2)
    _ruled(axes)
    axes.set_title(quantity.capitalize())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    everything = len(missing) == 2 * len(records)
    if everything:
        axes.text(0.5, 0.5, MISSING, ha="center", va="center", color=NOTE, transform=axes.transAxes)
    notes = [] if everything else [f"{MISSING}: {line}" for line in missing]
    axes.set_xlabel("\n".join(["epoch", *notes]))


def _lines(records: Mapping[str, RunRecord]) -> list[tuple[str, str]]:
    return [(model, split) for model in records for split in SPLIT_DASHES]


def _look(model: str, split: str) -> dict[str, Any]:
    dash = {"dash": "--", "solid": "-"}[SPLIT_DASHES[split]]
    filled = MODEL_COLOURS[model] if split == "validation" else PAPER
    return {"color": MODEL_COLOURS[model], "linestyle": dash, "marker": MARKERS[model], "markerfacecolor": filled}


def _stages(record: RunRecord) -> Iterable[tuple[int, Mapping[str, list[float | None]]]]:
    """Yield each stage that ran with its number of epochs."""
    for stage in record.curves.values():
        epochs = max(map(len, stage.values()), default=0)
        if epochs:
            yield epochs, stage


def _joined(record: RunRecord, quantity: str) -> np.ndarray:
    """Return one quantity over the epochs of all stages, NaN where there is no number."""
    parts = []
    for epochs, stage in _stages(record):
        values = stage.get(quantity, [])
        parts.append(np.array([*values, *[None] * (epochs - len(values))], float))
    return np.concatenate(parts) if parts else np.array([])


def _boundaries(record: RunRecord) -> list[int]:
    """Return the last epoch of each stage that another one follows."""
    return np.cumsum([epochs for epochs, _ in _stages(record)])[:-1].tolist()


def _number(metrics: Mapping[str, float | None], key: str) -> float:
    value = metrics.get(key)
    return float("nan") if value is None else value


def _write_accuracy(axes: Axes, x: float, value: float, low: float, high: float) -> None:
    """Write a bar's number above it, and draw its interval where that is known."""
    if np.isnan(value):
        axes.text(x, 0.02, MISSING, rotation=90, ha="center", va="bottom", color=NOTE)
        return
    known = not np.isnan([low, high]).any()
    if known:
        axes.errorbar(x, value, [[value - low], [high - value]], color=INK, capsize=4, linewidth=1.2)
    interval = f"{100 * low:.1f}–{100 * high:.1f}" if known else f"interval\n{MISSING}"
    top = axes.annotate(
        interval, (x, high if known else value), (0, 4), textcoords="offset points", ha="center", fontsize=8, color=NOTE
    )
    axes.annotate(
        f"{100 * value:.1f} %",
        (0.5, 1),
        (0, 1),
        xycoords=top,
        textcoords="offset points",
        ha="center",
        fontweight="bold",
    )


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    _ruled(axes)
    return figure, axes


def _ruled(axes: Axes) -> None:
    # Said here, not in STYLE: ticks are made when the figure is drawn, which may be after the style is gone.
    axes.grid(True, color=GRID, linewidth=0.8)


def _bare(axes: Axes) -> None:
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _tiled(
    rows: Sequence[Sequence[np.ndarray]], columns: int, shape: tuple[int, int], names: Sequence[str]
) -> tuple[Figure, Axes]:
    """Lay images out in rows as one picture, which draws many times faster than one axes each."""
    (height, width), gap = shape, _gap(shape)
    sheet = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = image
    figure, axes = _canvas(0.75 * columns + 1.4, 0.75 * len(rows) * height / width + 0.5)
    axes.imshow(sheet, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks((height - 1) / 2 + (height + gap) * np.arange(len(rows)), names)
    _bare(axes)
    return figure, axes


def _gap(shape: tuple[int, int]) -> int:
    """Return the white pixels between two images: a sixteenth of their side."""
    return max(1, shape[0] // 16)


def _pixels(name: str, images: np.ndarray, dimensions: int) -> np.ndarray:
    """Return images as uint8, or say what is wrong with them."""
    images = np.asarray(images)
    if images.ndim != dimensions or images.shape[-1] != 3 or 0 in images.shape:
        shape = "(n, height, width, 3)" if dimensions == 4 else "(n, v, height, width, 3)"
        raise UserError(f"{name} must have shape {shape} and hold at least one image, got {images.shape}")
    if images.dtype == np.uint8:
        return images
    if 0 < images.max() <= 1 or images.min() < 0:
        raise UserError(f"{name} must have pixels in 0-255, got values from {images.min():.3g} to {images.max():.3g}")
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _same_count(name: str, values: np.ndarray, images: np.ndarray) -> None:
    if len(values) != len(images):
        raise UserError(f"{name} must be as many as images, got {len(values)} and {len(images)}")


def _short(name: Any, limit: int = 20) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _titled(title: str, record: RunRecord) -> str:
    name = record.dataset.get("name") or record.config.get("dataset")
    return f"{title}: {_short(name, 30)}" if name else title
