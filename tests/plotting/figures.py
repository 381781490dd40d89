"""Records, images and one call of every plot function, and what can be read from a figure."""

import io
from unittest.mock import patch

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from transfer_utils import plotting
from transfer_utils.evaluation.metrics import calibration
from transfer_utils.records.record import RunRecord

STAGE1 = {"loss": [1.1, 0.9, 0.8], "accuracy": [0.6, 0.7, 0.75], "val_loss": [0.9, 0.8, 0.7]}
STAGE2 = {"loss": [0.9, 0.7], "accuracy": [0.7, 0.8], "val_loss": [0.65, 0.6], "val_accuracy": [0.81, 0.83]}
TRANSFER = RunRecord(
    dataset={"description": "CIFAR-10, JPEG copy"},
    curves={"stage1": {**STAGE1, "val_accuracy": [0.7, None, 0.8]}, "stage2": STAGE2},
    metrics={
        "val_end2end": 0.88, "val_low": 0.87, "val_high": 0.89,
        "test_end2end": 0.87, "test_low": 0.86, "test_high": 0.88,
        "test_tta": 0.885, "test_tta_low": 0.875, "test_tta_high": 0.895,
    },
)  # fmt: skip
BASELINE = RunRecord(
    curves={
        "baseline": {"loss": [2.0, 1.5], "accuracy": [0.3, 0.5], "val_loss": [1.9, 1.6], "val_accuracy": [0.4, 0.45]}
    },
    metrics={"val_end2end": 0.7, "val_low": 0.69, "val_high": 0.71, "test_end2end": 0.69},
)
EMPTY = RunRecord()
OLD = RunRecord(curves={"accuracy": [0.6, 0.7], "val_accuracy": [0.65, 0.7]}, metrics={"val_end2end": 0.9228})
GAPS = RunRecord(curves={"stage1": {"loss": [None, None], "val_accuracy": []}, "stage2": {}, "stage3": {"loss": [1.0]}})

PROBABILITIES = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8]])
LABELS = np.array([0, 1, 1, 0])
NAMES = ["cat", "dog"]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
VIEWS = np.stack([IMAGES[:, ::-1], IMAGES[:, :, ::-1]], axis=1)
CALIBRATION = calibration(PROBABILITIES, LABELS)

DRAW = {
    "plot_model_comparison": lambda: plotting.plot_model_comparison(TRANSFER, BASELINE),
    "plot_accuracy_comparison": lambda: plotting.plot_accuracy_comparison(TRANSFER, BASELINE),
    "plot_curves": lambda: plotting.plot_curves(TRANSFER),
    "plot_confusion_matrix": lambda: plotting.plot_confusion_matrix([[5, 1], [2, 6]], NAMES),
    "plot_reliability": lambda: plotting.plot_reliability({"before": CALIBRATION, "after": CALIBRATION}),
    "plot_class_balance": lambda: plotting.plot_class_balance({"training": {"cat": 40, "dog": 3}, "test": {"cat": 9}}),
    "plot_class_grid": lambda: plotting.plot_class_grid(IMAGES, LABELS, NAMES),
    "plot_augmented": lambda: plotting.plot_augmented(IMAGES, VIEWS),
    "plot_mistakes": lambda: plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES),
    "plot_accuracy_by_setting": lambda: plotting.plot_accuracy_by_setting(
        {"none": (0.7, 0.69, 0.71), "10": (0.8, 0.78, 0.82)}, "layers unfrozen", "Accuracy by depth"
    ),
    "plot_size_and_time": lambda: plotting.plot_size_and_time(
        {96: (0.7, 0.69, 0.71), 160: (0.8, 0.78, 0.82)}, {96: 1.1, 160: 3.0}
    ),
    "plot_option_effects": lambda: plotting.plot_option_effects(
        {"layers unfrozen": {"none": [BASELINE], "30": [TRANSFER, TRANSFER]}, "Mixup": {"off": [TRANSFER, EMPTY]}}
    ),
}


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40, metadata={"Software": None})
    return file.getvalue()


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Draw a figure and return every text that was drawn, tick labels among them, with its box in pixels."""
    texts, draw = [], Text.draw

    def record(text: Text, renderer: RendererBase) -> None:
        draw(text, renderer)
        if text.get_text() and text.get_visible():
            texts.append((text.get_text(), text.get_window_extent(renderer)))

    with patch.object(Text, "draw", record):
        figure.draw_without_rendering()
    return texts


def words(figure: Figure) -> list[str]:
    return [text for text, _ in drawn_texts(figure)]


def lines_by_label(figure: Figure) -> dict:
    return {line.get_label(): line for line in figure.axes[0].get_lines()}
