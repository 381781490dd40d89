"""The other side: what a competent user of Keras writes, with tuned batch sizes and no needless copies."""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf

from transfer_utils.config import RunConfig
from transfer_utils.data.splits import Split
from transfer_utils.models.networks import (
    build_backbone,
    build_feature_extractor,
    build_full_model,
    build_top_classifier,
    unfreeze_model_tail,
)
from transfer_utils.training.stages import WARM_UP, build_optimizer, compile_model

BATCHES = (32, 64, 128, 256)  # that a careful user tries for predict


def best_batch(model: keras.Model, images: np.ndarray) -> int:
    """Return the batch size at which ``predict`` is fastest on these images."""
    seconds = {}
    for size in BATCHES:
        model.predict(images[:size], batch_size=size, verbose=0)  # traced before it is timed
        started = time.perf_counter()
        model.predict(images, batch_size=size, verbose=0)
        seconds[size] = time.perf_counter() - started
    return min(seconds, key=seconds.__getitem__)


def train_head(head: keras.Model, train: tuple, validation: tuple, config: RunConfig, epochs: int) -> float:
    """Fit ``head`` on features in memory with Keras's own loop; return its best validation accuracy."""
    compile_model(
        head,
        build_optimizer(config.optimizer_stage1, config.learning_rate_stage1, config.weight_decay),
        config.label_smoothing,
    )
    fitted = head.fit(
        *train, validation_data=validation, epochs=epochs, batch_size=config.batch_size, verbose=0, shuffle=True
    )
    return max(fitted.history["val_accuracy"])


def augmented(split: Split, n_classes: int, config: RunConfig) -> tf.data.Dataset:
    """Return shuffled batches with shifts and flips by Keras's layers, drawn anew every epoch, in parallel threads."""
    layers = [keras.layers.RandomTranslation(config.height_shift, config.width_shift, fill_mode="reflect")]
    if config.horizontal_flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    draw = keras.Sequential(layers)
    labels = np.eye(n_classes, dtype="float32")[split.labels]
    return (
        tf.data.Dataset.from_tensor_slices((split.take(), labels))
        .shuffle(len(split), seed=config.seed)
        .batch(config.batch_size)
        .map(lambda x, y: (draw(tf.cast(x, tf.float32), training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def fine_tune(model: keras.Model, data: tf.data.Dataset, steps: int, config: RunConfig, epochs: int) -> list[float]:
    """Fit the unfrozen layers with Keras's own loop on the recipe's schedule; return the seconds of each epoch."""
    warm = max(1, round(WARM_UP * steps * epochs))
    rate = config.learning_rate_stage2
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps * epochs - warm), warmup_target=rate, warmup_steps=warm
    )
    compile_model(
        model, build_optimizer(config.optimizer_stage2, schedule, config.weight_decay), config.label_smoothing
    )
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(data, epochs=epochs, verbose=0, callbacks=[clock], shuffle=False)  # the pipeline has shuffled
    return np.diff(ends).tolist()


def recipe(train: Split, validation: Split, n_classes: int, config: RunConfig, batch: int) -> keras.Model:
    """Both stages, plainly: features by ``predict``, the head by AdamW, then fine-tuning on augmented images."""
    base, _ = build_backbone(config)
    extractor = build_feature_extractor(config, base)
    head = build_top_classifier(extractor.output.shape[-1], n_classes, config)
    model = build_full_model(base, head, config)
    data = [
        (
            extractor.predict(split.take(), batch_size=batch, verbose=0),
            np.eye(n_classes, dtype="float32")[split.labels],
        )
        for split in (train, validation)
    ]
    train_head(head, *data, config, config.epochs_stage1)
    unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
    fine_tune(
        model, augmented(train, n_classes, config), -(-len(train) // config.batch_size), config, config.epochs_stage2
    )
    return model
