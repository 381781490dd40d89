"""Figures of what a network computes: filters, feature maps, probes, embeddings, costs, Grad-CAM and corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transfer_utils.errors import UserError
from transfer_utils.plotting.style import DOTTED, MARKERS, PERCENT, WIDTH, bare, canvas, sanitize, styled
from transfer_utils.utils.palette import CLASSES, INK, PAPER, PERCEPTUAL, SEQUENTIAL, SERIES

LINESTYLES = ("-", "--", ":", "-.")
OVERLAY = 0.55  # opacity of a heatmap over its grey image


@styled
def plot_filters(kernel: np.ndarray) -> Figure:
    """Draw the filters of a first layer as images, each scaled to its own largest value; mid-grey is 0.

    Args:
        kernel: shape (h, w, 3, n), as ``layer.kernel`` of a ``Conv2D`` on RGB pixels.

    Raises:
        UserError: ``kernel`` has another shape.
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        raise UserError(f"kernel must have shape (h, w, 3, n), got {kernel.shape}")
    filters = np.moveaxis(kernel, -1, 0)
    largest = np.maximum(np.abs(filters).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    pictures = 0.5 + 0.5 * filters / largest
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure((WIDTH, 1.15 * rows + 0.4), layout="constrained")
    figure.suptitle(f"The {len(pictures)} filters of the first layer", x=0.01, ha="left")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        bare(axes)
        axes.set(xticks=[], yticks=[])
        if number < len(pictures):
            axes.imshow(pictures[number], interpolation="nearest")
            axes.set_xlabel(str(number), fontsize=8, labelpad=2)
    return figure


@styled
def plot_feature_maps(maps: Mapping[str, np.ndarray], image: np.ndarray | None = None) -> Figure:
    """Draw feature maps, one row per layer, each map scaled from its smallest (dark) to its largest value (bright).

    Args:
        maps: for each row name, the channels to draw, shape (h, w, k).
        image: shape (h, w, 3) uint8, drawn once, before the maps of the first row.
    """
    rows = list(maps.items())
    columns = max(values.shape[-1] for _, values in rows) + (image is not None)
    figure = Figure((WIDTH, 7.4 * len(rows) / columns + 0.7), layout="constrained")
    figure.suptitle("Feature maps, each from its smallest value (dark) to its largest (bright)", x=0.012, ha="left")
    lines = figure.subplots(len(rows), columns, squeeze=False)
    if image is not None:
        lines[0, 0].imshow(image, interpolation="nearest")
    for line, (name, values) in zip(lines, rows, strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            bare(axes)
        panels = line[image is not None :]
        for axes, channel in zip(panels, np.moveaxis(values, -1, 0), strict=False):
            axes.imshow(channel, cmap=PERCEPTUAL, interpolation="nearest")
        label = f"{name}\n{_size(values.shape[:2])}"
        line[0].set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
    return figure


@styled
def plot_image_rows(images: np.ndarray, names: Sequence[str], title: str, columns: Sequence[str] = ()) -> Figure:
    """Draw images in named rows.

    Args:
        images: shape (rows, n, side, side, 3) uint8.
        names: one per row.
        title: title of the figure.
        columns: one per column, written above it; optional.
    """
    side, gap = images.shape[3], max(1, images.shape[3] // 16)
    framed = np.pad(images, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in framed])
    figure, axes = canvas(0.75 * images.shape[1] + 1.6, 0.75 * len(images) + 0.7)
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks((side - 1) / 2 + (side + gap) * np.arange(len(images)), [sanitize(name, 30) for name in names])
    axes.set_xticks((side - 1) / 2 + (side + gap) * np.arange(len(columns)), columns)
    axes.xaxis.tick_top()
    bare(axes)
    axes.set_title(title)
    return figure


@styled
def plot_probes(probes: Mapping[str, Sequence[Any]], chance: float) -> Figure:
    """Draw the accuracy of linear probes by depth, with their 95 % intervals as bands.

    Args:
        probes: for each label, the result of ``interpret.probe_by_depth``; all for the same layers.
        chance: accuracy of guessing, a fraction.
    """
    figure, axes = canvas(WIDTH, 3.9)
    layers = [f"{probe.layer} ({probe.channels})" for probe in next(iter(probes.values()))]
    for place, (label, by_depth) in enumerate(probes.items()):
        style = {"color": SERIES[place], "linestyle": LINESTYLES[place % len(LINESTYLES)], "marker": MARKERS[place]}
        axes.plot(range(len(layers)), [probe.accuracy for probe in by_depth], label=sanitize(label, 40), **style)
        low, high = zip(*((probe.low, probe.high) for probe in by_depth), strict=True)
        axes.fill_between(range(len(layers)), low, high, color=SERIES[place], alpha=0.18, linewidth=0)
    axes.axhline(chance, label="guessing", **DOTTED)
    axes.set_xticks(range(len(layers)), layers, rotation=30, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel="layer (channels), from the input to the end", ylabel="validation accuracy")
    axes.set_title("Accuracy of a linear probe on each layer, with 95 % intervals")
    axes.legend(loc="upper left")
    return figure


@styled
def plot_embedding(points: Mapping[str, np.ndarray], labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw embeddings side by side, a colour and a marker for each class; the axes have no unit.

    Args:
        points: for each title, shape (n, 2), as returned by ``similarity.embed_2d``.
        labels: shape (n,), integers that index ``class_names``.
        class_names: one name per class; the first ten classes are drawn.
    """
    labels = np.asarray(labels)
    figure = Figure((WIDTH, WIDTH / 2 + 0.6 if len(points) > 1 else 6.2), layout="constrained")
    panels = figure.subplots(1, len(points), squeeze=False)[0]
    for axes, (title, embedding) in zip(panels, points.items(), strict=True):
        for index, name in enumerate(class_names[: len(MARKERS)]):
            style = {"color": CLASSES[index], "marker": MARKERS[index], "label": sanitize(name)}
            axes.scatter(*embedding[labels == index].T, s=14, linewidths=0, alpha=0.8, **style)
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2", title=title)
        axes.grid(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, markerscale=1.8)
    return figure


@styled
def plot_costs(costs: Sequence[Any]) -> Figure:
    """Draw parameters and multiply-adds of each block, as counted by ``interpret.cost_by_block``."""
    figure = Figure((WIDTH, 0.27 * len(costs) + 1.1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    quantities = {"parameters": "parameters (thousands)", "multiply_adds": "multiply-adds (millions)"}
    for axes, (field, label), scale, colour in zip(panels, quantities.items(), (1e3, 1e6), SERIES, strict=False):
        values = np.array([getattr(cost, field) for cost in costs]) / scale
        bars = axes.barh(range(len(costs)), values, 0.72, color=colour)
        axes.bar_label(bars, [f"{value:,.3g}" for value in values], padding=3, fontsize=8)
        axes.set_xlim(0, 1.2 * values.max())
        axes.grid(True, axis="x")
        axes.set(xlabel=label, title=f"{values.sum():,.1f} in all")
    panels[0].set_yticks(range(len(costs)), [f"{cost.block}  {_size(cost.shape)}" for cost in costs])
    panels[0].invert_yaxis()
    return figure


@styled
def plot_receptive_field(layers: Sequence[Any], sides: Sequence[int]) -> Figure:
    """Draw the receptive field of each layer, compared with the sides of input images.

    Args:
        layers: the result of ``interpret.receptive_field``.
        sides: of input images, in pixels, each drawn as a horizontal line.
    """
    figure, axes = canvas(WIDTH, 3.6)
    axes.plot([row.receptive_field for row in layers], color=SERIES[0], marker="o", markersize=4)
    for side, dash in zip(sides, LINESTYLES[1:], strict=False):
        axes.axhline(side, color=SERIES[1], linestyle=dash, linewidth=1.4, label=f"side of an image of {side} px")
    axes.set_xticks(range(len(layers)), [row.layer for row in layers], rotation=45, ha="right", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="layer", ylabel="receptive field (px)", title="How much of the image one position can see")
    axes.legend(loc="upper left")
    return figure


@styled
def plot_positions(image: np.ndarray, grids: Mapping[str, int]) -> Figure:
    """Draw an image divided into the positions of a network's last feature map.

    Args:
        image: shape (h, w, 3) uint8.
        grids: for each title, the number of positions along one side.
    """
    side = image.shape[0]
    figure = Figure((2.6 * len(grids), 2.9), layout="constrained")
    for axes, (title, n) in zip(figure.subplots(1, len(grids), squeeze=False)[0], grids.items(), strict=True):
        axes.imshow(image, interpolation="nearest")
        for edge in np.linspace(0, side, n + 1) - 0.5:
            axes.axhline(edge, color=SERIES[1], linewidth=1.6)
            axes.axvline(edge, color=SERIES[1], linewidth=1.6)
        axes.set(xticks=[], yticks=[], title=title)
        bare(axes)
    return figure


@styled
def plot_cka(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], labels: tuple[str, str]) -> Figure:
    """Draw the similarity of layers, as returned by ``similarity.cka_matrix``.

    Args:
        matrix: shape (rows, columns) in [0, 1].
        rows, columns: names of the layers.
        labels: labels of the vertical and the horizontal axis.
    """
    figure, axes = canvas(0.62 * len(columns) + 2.6, 0.5 * len(rows) + 2.2)
    picture = axes.imshow(matrix, cmap=SEQUENTIAL, vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        colour = PAPER if matrix[row, column] > 0.6 else INK
        axes.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    bare(axes)
    axes.set(ylabel=labels[0], xlabel=labels[1], title="Similarity of layers (linear CKA)")
    figure.colorbar(picture, shrink=0.8, label="linear CKA").outline.set_visible(False)
    return figure


@styled
def plot_grad_cam(images: np.ndarray, heatmaps: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Draw images, and below them their heatmaps over the image in grey; brighter pixels count more.

    Args:
        images: shape (n, h, w, 3) uint8.
        heatmaps: for each row name, shape (n, h, w) in [0, 1].
        titles: one per image, written above it.
    """
    figure = Figure((WIDTH, (len(heatmaps) + 1) * WIDTH / max(4, len(images)) + 0.7), layout="constrained")
    grid = figure.subplots(len(heatmaps) + 1, len(images), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        bare(axes)
    grey = images.mean(axis=-1, keepdims=True).repeat(3, axis=-1) / 255
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        grid[0, column].imshow(image, interpolation="nearest")
        grid[0, column].set_title(title, fontsize=8, fontweight="normal")
        for row, heat in enumerate(heatmaps.values(), start=1):
            colours = matplotlib.colormaps[PERCEPTUAL](heat[column])[..., :3]
            grid[row, column].imshow((1 - OVERLAY) * grey[column] + OVERLAY * colours, interpolation="nearest")
    for axes, name in zip(grid[:, 0], ["image", *heatmaps], strict=True):
        axes.set_ylabel(name)
    return figure


@styled
def plot_corruptions(accuracy: Mapping[str, Mapping[str, Sequence[float]]], severities: Sequence[int]) -> Figure:
    """Draw accuracy against the severity of each corruption, one panel per kind.

    Args:
        accuracy: for each kind and each model, a fraction for each severity.
        severities: 0 is the unchanged image.
    """
    figure = Figure((WIDTH, 3.3), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(accuracy), sharey=True, squeeze=False)[0]
    for axes, (kind, lines) in zip(panels, accuracy.items(), strict=True):
        for place, (label, values) in enumerate(lines.items()):
            style = {"color": SERIES[place], "linestyle": LINESTYLES[place], "marker": MARKERS[place], "markersize": 5}
            axes.plot(severities, values, label=label, **style)
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=kind, xlabel="severity", ylim=(0, 1))
    panels[0].yaxis.set_major_formatter(PERCENT)
    panels[0].set_ylabel("validation accuracy")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _size(shape: Sequence[int]) -> str:
    return " × ".join(str(number) for number in shape)
