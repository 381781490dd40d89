"""Figures of what a network computes: filters, feature maps, probes, embeddings, costs, Grad-CAM and corruptions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transfer_utils.errors import UserError
from transfer_utils.plotting.galleries import tiled
from transfer_utils.plotting.style import (
    DOTTED,
    MARKERS,
    PERCENT,
    WIDTH,
    bare,
    canvas,
    draw_image,
    panels,
    sanitize,
    series,
    styled,
)
from transfer_utils.utils.palette import CLASS_COLOURS, INK, PAPER, PERCEPTUAL, SEQUENTIAL, SERIES

SIDE_STYLES = ("--", ":", "-.")  # of the sides that a receptive field is compared with
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
    figure, grid = panels(WIDTH, 1.15 * rows + 0.4, rows, columns, f"The {len(pictures)} filters of the first layer")
    for number, (axes, picture) in enumerate(itertools.zip_longest(grid.flat, pictures)):
        if picture is None:
            axes.set_axis_off()
        else:
            draw_image(axes, picture)
            axes.set_xlabel(str(number), fontsize=8, labelpad=2)
    return figure


@styled
def plot_feature_maps(maps: Mapping[str, np.ndarray], image: np.ndarray | None = None) -> Figure:
    """Draw feature maps, one row per layer, each map scaled from its smallest (dark) to its largest value (bright).

    Args:
        maps: for each row name, the channels to draw, shape (h, w, k).
        image: shape (h, w, 3) uint8, drawn once, before the maps of the first row.
    """
    columns = max(values.shape[-1] for values in maps.values()) + (image is not None)
    title = "Feature maps, each from its smallest value (dark) to its largest (bright)"
    figure, grid = panels(WIDTH, 7.4 * len(maps) / columns + 0.7, len(maps), columns, title)
    for row, (name, values) in zip(grid, maps.items(), strict=True):
        for axes in row:
            axes.set(xticks=[], yticks=[])
            bare(axes)
        for axes, channel in zip(row[image is not None :], np.moveaxis(values, -1, 0), strict=False):
            draw_image(axes, channel, cmap=PERCEPTUAL)
        label = f"{name}\n{_size(values.shape[:2])}"
        row[0].set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
    if image is not None:
        draw_image(grid[0, 0], image)
    return figure


@styled
def plot_image_rows(images: np.ndarray, names: Sequence[str], title: str, columns: Sequence[str] = ()) -> Figure:
    """Draw images, (rows, n, side, side, 3) uint8, with a name for each row and optionally for each column."""
    return tiled(images, [sanitize(name, 30) for name in names], columns, title=title)


@styled
def plot_probes(probes: Mapping[str, Sequence[Any]], chance: float) -> Figure:
    """Draw the accuracy of linear probes by depth, with their 95 % intervals as bands.

    ``probes`` holds, for each label, the result of ``interpret.probe_by_depth`` for the same layers. ``chance`` is the
    accuracy of guessing, in [0, 1].
    """
    figure, axes = canvas(WIDTH, 3.9)
    layers = [f"{probe.layer} ({probe.channels})" for probe in next(iter(probes.values()))]
    for place, (label, by_depth) in enumerate(probes.items()):
        style = series(place)
        axes.plot(range(len(layers)), [probe.accuracy for probe in by_depth], label=sanitize(label, 40), **style)
        low, high = zip(*((probe.low, probe.high) for probe in by_depth), strict=True)
        axes.fill_between(range(len(layers)), low, high, color=style["color"], alpha=0.18, linewidth=0)
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
        points: for each title, t-SNE coordinates, shape (n, 2) (van der Maaten & Hinton 2008, JMLR 9:2579-2605).
        labels: shape (n,), integers that index ``class_names``.
        class_names: one name per class; the first ten classes are drawn.
    """
    labels = np.asarray(labels)
    figure, [row] = panels(WIDTH, WIDTH / 2 + 0.6 if len(points) > 1 else 6.2, 1, len(points))
    for axes, (title, embedding) in zip(row, points.items(), strict=True):
        for index, name in enumerate(class_names[: len(MARKERS)]):
            style = {"color": CLASS_COLOURS[index], "marker": MARKERS[index], "label": sanitize(name)}
            axes.scatter(*embedding[labels == index].T, s=14, linewidths=0, alpha=0.8, **style)
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2", title=title)
    if len(class_names) > len(MARKERS):
        figure.suptitle(f"The first {len(MARKERS)} of {len(class_names):,} classes")
    columns = 5 if max(map(len, class_names)) <= 12 else 3
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, markerscale=1.8)
    return figure


@styled
def plot_costs(costs: Sequence[Any]) -> Figure:
    """Draw parameters and multiply-adds of each block, as counted by ``interpret.cost_by_block``."""
    figure, [[left, right]] = panels(WIDTH, 0.27 * len(costs) + 1.1, 1, 2, sharey=True)
    parameters = np.array([cost.parameters for cost in costs]) / 1e3
    multiply_adds = np.array([cost.multiply_adds for cost in costs]) / 1e6
    for axes, values, label, unit, colour in (
        (left, parameters, "parameters", "thousand", SERIES[0]),
        (right, multiply_adds, "multiply-adds", "million", SERIES[1]),
    ):
        bars = axes.barh(range(len(costs)), values, 0.72, color=colour)
        axes.bar_label(bars, [f"{value:,.3g}" for value in values], padding=3, fontsize=8)
        axes.set_xlim(0, 1.2 * values.max())
        axes.grid(True, axis="x")
        axes.set(xlabel=f"{label} ({unit}s)", title=f"{values.sum():,.1f} {unit} {label}")
    left.set_yticks(range(len(costs)), [f"{cost.block}  {_size(cost.shape)}" for cost in costs])
    left.invert_yaxis()
    return figure


@styled
def plot_receptive_field(layers: Sequence[Any], sides: Sequence[int]) -> Figure:
    """Draw the result of ``interpret.receptive_field``, and the sides of input images in px as horizontal lines."""
    figure, axes = canvas(WIDTH, 3.6)
    axes.plot([row.receptive_field for row in layers], color=SERIES[0], marker="o", markersize=4)
    for place, side in enumerate(sides):
        cycle, dash = divmod(place, len(SIDE_STYLES))
        style = {"color": SERIES[(1 + cycle) % len(SERIES)], "linestyle": SIDE_STYLES[dash], "linewidth": 1.4}
        axes.axhline(side, label=f"side of an image of {side} px", **style)
    axes.set_xticks(range(len(layers)), [row.layer for row in layers], rotation=45, ha="right", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="layer", ylabel="receptive field (px)", title="How much of the image one position can see")
    axes.legend(loc="upper left")
    return figure


@styled
def plot_cka(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], labels: tuple[str, str]) -> Figure:
    """Draw the similarity of layers: the result of ``interpret.cka_matrix``, shape (rows, columns) in [0, 1].

    ``rows`` and ``columns`` name the layers, and ``labels`` the vertical and the horizontal axis.
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
    """Draw images, and below them their heatmaps over the image in grey, from violet (0) to yellow (most).

    Args:
        images: shape (n, h, w, 3) uint8.
        heatmaps: for each row name, shape (n, h, w) in [0, 1].
        titles: one per image, written above it.
    """
    rows = len(heatmaps) + 1
    height = rows * WIDTH / max(4, len(images)) + 1
    figure, grid = panels(WIDTH, height, rows, len(images), "Grad-CAM: brighter pixels count more")
    grey = images.mean(axis=-1, keepdims=True).repeat(3, axis=-1) / 255
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        draw_image(grid[0, column], image)
        grid[0, column].set_title(title, fontsize=8, fontweight="normal")
        for row, heat in enumerate(heatmaps.values(), start=1):
            colours = matplotlib.colormaps[PERCEPTUAL](heat[column])[..., :3]
            draw_image(grid[row, column], (1 - OVERLAY) * grey[column] + OVERLAY * colours)
    for axes, name in zip(grid[:, 0], ["image", *heatmaps], strict=True):
        axes.set_ylabel(name)
    return figure


@styled
def plot_corruptions(accuracy: Mapping[str, Mapping[str, Sequence[float]]], severities: Sequence[int]) -> Figure:
    """Draw accuracy against severity, 0 for the unchanged image, one panel per kind of corruption.

    ``accuracy`` holds a fraction in [0, 1] for each kind, each model and each severity.
    """
    figure, [row] = panels(WIDTH, 3.3, 1, len(accuracy), sharey=True)
    for axes, (kind, lines) in zip(row, accuracy.items(), strict=True):
        for place, (label, values) in enumerate(lines.items()):
            axes.plot(severities, values, label=label, markersize=5, **series(place))
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=kind, xlabel="severity", ylim=(0, 1))
    row[0].yaxis.set_major_formatter(PERCENT)
    row[0].set_ylabel("validation accuracy")
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _size(shape: Sequence[int]) -> str:
    return " × ".join(str(number) for number in shape)
