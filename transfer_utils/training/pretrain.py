"""The backbone of the offline preset, pretrained on letters from random weights."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path

import keras

from transfer_utils.data.photo_digits import SIDE
from transfer_utils.data.photo_letters import render_letters
from transfer_utils.models.networks import BATCH_NORM_MOMENTUM, batch_norms
from transfer_utils.models.weights import save_weights_npz
from transfer_utils.training.loop import Batch
from transfer_utils.training.optimizers import build_optimizer, compile_model, warm_up_and_cosine
from transfer_utils.utils import interrupts
from transfer_utils.utils.files import sha256_of, write_json
from transfer_utils.utils.machine import versions
from transfer_utils.utils.progress import Progress


def pretrain_backbone(
    output_dir: str | Path,
    *,
    n_letters: int = 80_000,
    epochs: int = 8,
    image_size: int = 64,
    alpha: float = 0.35,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict:
    """Train MobileNetV2 from random weights on `photo-letters` and write its backbone and a record of the run.

    AdamW (weight decay 0.05) with a linear warm-up over a twentieth of the steps, then a cosine to zero, smoothing 0.1,
    and BatchNorm momentum 0.9, since Keras's 0.999 would still hold the random start after so few steps. One letter in
    twenty is kept for validation. Only Keras is called, so any of its backends works. Images stay uint8, 32x32, so
    memory stays under 3 GB.

    Args:
        output_dir: where `letters_mobilenetv2_<alpha>.npz` and the record, `.json`, are written; made if missing.
        n_letters: images drawn, including validation, at least 40.
        epochs: passes over the training letters, at least 1.
        image_size: px that the 32 px images are resized to inside the model, at least 32.
        alpha: width of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), as `keras.applications` takes it.
        batch_size: letters per step, at least 1.
        learning_rate: at the peak of the schedule.
        seed: drives letters, initial weights and order; it becomes the global seed of Python, NumPy and Keras.
        progress: called with ("letters", done, n_letters), then ("steps", done, steps).

    Returns:
        The record, as in the file: options, numbers of letters, seconds, loss (nats) and accuracy (0-1) per epoch on
        both splits, versions, and the SHA-256 of the weights file.
    """
    options = {name: value for name, value in locals().items() if name not in ("output_dir", "progress")}
    start = time.perf_counter()
    data, class_names = _letters(n_letters, seed, progress)
    letters_seconds = time.perf_counter() - start
    keras.utils.set_random_seed(seed)
    base, model = _build(image_size, alpha, len(class_names))
    curves = _fit(model, *data, options, progress)
    weights = Path(output_dir) / f"letters_mobilenetv2_{alpha}.npz"
    save_weights_npz(base, weights)
    record = {
        "options": options,
        "letters": {"train": len(data[0][1]), "validation": len(data[1][1]), "classes": len(class_names)},
        "timing_sec": {"letters": letters_seconds, "total": time.perf_counter() - start},
        "curves": curves,
    }
    return _write_record(record, weights)


def _letters(n_letters: int, seed: int, progress: Progress | None) -> tuple[list[Batch], list[str]]:
    """Draw letters; return those to train on, one in twenty for validation, and the names of the classes."""
    images, labels, class_names = render_letters(n_letters, seed, progress)
    targets = keras.utils.to_categorical(labels, len(class_names))
    n_train = n_letters - n_letters // 20
    return [(images[part], targets[part]) for part in (slice(n_train), slice(n_train, None))], class_names


def _write_record(record: dict, weights: Path) -> dict:
    """Write a record beside its weights file, with what it was made by, and return it."""
    made_by = {"versions": versions() | {"backend": keras.backend.backend()}}
    record = {"task": "photo-letters", **record, **made_by}
    record["weights"] = {"file": weights.name, "sha256": sha256_of(weights)}
    write_json(weights.with_suffix(".json"), record)
    return record


def _build(image_size: int, alpha: float, n_classes: int) -> tuple[keras.Model, keras.Model]:
    """Return MobileNetV2 with random weights, and the classifier of 32 px images around it."""
    base = keras.applications.MobileNetV2((image_size, image_size, 3), alpha, include_top=False, weights=None)
    for layer in batch_norms(base):
        layer.momentum = BATCH_NORM_MOMENTUM
    layers = [
        keras.layers.Input((SIDE, SIDE, 3)),
        keras.layers.Rescaling(1 / 127.5, -1),
        keras.layers.Resizing(image_size, image_size),
        base,
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(n_classes, activation="softmax"),
    ]
    return base, keras.Sequential(layers)


def _fit(
    model: keras.Model, train: Batch, validation: Batch, options: dict, progress: Progress | None
) -> dict[str, list[float]]:
    """Train the classifier and return its curves; the options are those of ``pretrain_backbone``."""
    steps = options["epochs"] * math.ceil(len(train[0]) / options["batch_size"])
    schedule = warm_up_and_cosine(options["learning_rate"], steps, 0.05)
    compile_model(model, build_optimizer("AdamW", schedule, 0.05), 0.1)
    history = model.fit(
        *train,
        batch_size=options["batch_size"],
        epochs=options["epochs"],
        validation_data=validation,
        callbacks=[_after_steps(progress, steps)],
        verbose=0,
    ).history
    return {name: [float(value) for value in values] for name, values in history.items()}


def _after_steps(progress: Progress | None, steps: int) -> keras.callbacks.Callback:
    """Return a Keras callback that reports every step, and after which a signal may end the process."""
    done = itertools.count(1)

    def after_step(batch: int, logs: dict) -> None:
        interrupts.raise_pending()
        if progress:
            progress("steps", next(done), steps)

    return keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
