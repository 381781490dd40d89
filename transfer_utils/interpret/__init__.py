"""Analysis of a network: activations, architecture, similarity, corruptions, label efficiency, suspect pictures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "activations": [
            "Probe",
            "feature_maps",
            "grad_cam",
            "liveliest_channels",
            "pooled_activations",
            "probe_by_depth",
            "settle_batch_norm",
        ],
        "architecture": ["cost_by_block", "multiply_adds", "receptive_field"],
        "corruptions": ["SEVERITIES", "corrupt"],
        "label_efficiency": ["measure_label_efficiency"],
        "suspects": ["doubtful_labels", "unlike_all_others"],
        "similarity": ["cka_matrix", "linear_cka", "neighbour_agreement"],
    },
)
