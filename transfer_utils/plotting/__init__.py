"""Figures from arrays and run records. Every ``plot_*`` function returns a ``Figure`` in one style.

Figures are built without pyplot, so none stays in memory and no window opens. Where a record lacks a value, the figure
says "not recorded". Images are arrays of pixels in 0-255. Names from folders and records are drawn as plain text.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "by_option": ["plot_accuracy_by_setting", "plot_label_efficiency", "plot_option_effects", "plot_size_and_time"],
        "curves": ["plot_accuracy_over_time", "plot_curves", "plot_fine_tunings", "plot_model_comparison"],
        "galleries": ["plot_augmented", "plot_blends", "plot_class_grid", "plot_mistakes"],
        "interpret": [
            "plot_cka",
            "plot_corruptions",
            "plot_costs",
            "plot_embedding",
            "plot_feature_maps",
            "plot_filters",
            "plot_grad_cam",
            "plot_image_rows",
            "plot_probes",
            "plot_receptive_field",
        ],
        "metrics": ["plot_accuracy_comparison", "plot_class_balance", "plot_confusion_matrix", "plot_reliability"],
        "style": ["STYLE", "save_figure"],
    },
)
