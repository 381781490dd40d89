"""Arrays and run records in, one Matplotlib ``Figure`` out: returned, never shown, in one style.

Figures are built without pyplot, so none lingers in memory and no window opens. What a record lacks leaves a gap that
says "not recorded". Images are arrays of pixels in 0-255; names come from the reader's folders and are shown as text.
"""

from transfer_utils.plotting.curves import plot_curves, plot_model_comparison
from transfer_utils.plotting.galleries import plot_augmented, plot_class_grid, plot_mistakes
from transfer_utils.plotting.results import (
    plot_accuracy_comparison,
    plot_class_balance,
    plot_confusion_matrix,
    plot_reliability,
)
from transfer_utils.plotting.settings import plot_accuracy_by_setting, plot_size_and_time
from transfer_utils.plotting.study import plot_option_effects
from transfer_utils.plotting.style import STYLE, save_figure, styled

__all__ = [
    "STYLE",
    "plot_accuracy_by_setting",
    "plot_accuracy_comparison",
    "plot_augmented",
    "plot_class_balance",
    "plot_class_grid",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_mistakes",
    "plot_model_comparison",
    "plot_option_effects",
    "plot_reliability",
    "plot_size_and_time",
    "save_figure",
    "styled",
]
