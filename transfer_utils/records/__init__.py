"""What a run leaves behind: its record, predictions and thumbnails; and a folder of such runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "folder": ["Listing", "Run", "load_runs"],
        "predictions": ["Predictions", "load_predictions"],
        "record": ["RunRecord", "pack_bits", "read_record", "save_results_as_json", "unpack_bits"],
        "salvage": ["UnreadableRecord"],
    },
)
