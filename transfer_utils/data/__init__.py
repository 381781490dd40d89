"""Read, check, store, split and augment images and labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augment": ["apply_augmentation", "build_augmentation", "mixup", "training_view", "tta_views"],
        "dataset": ["Dataset", "Split"],
        "image_folder": ["list_image_folder"],
        "images": ["decode_image", "resize_images"],
        "photo_digits": ["render_digits"],
        "photo_letters": ["render_letters"],
        "sources": ["load_source"],
        "splits": ["draw_labels", "load_and_prepare_data", "load_dataset", "preprocess_data"],
    },
)
