"""The other side: what a competent user of Keras writes, with tuned batch sizes and no needless copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from transfer_utils.config.options import RunConfig
from transfer_utils.data.dataset import Split
from transfer_utils.models.networks import (
    build_backbone,
    build_feature_extractor,
    build_full_model,
    build_top_classifier,
    unfreeze_model_tail,
)
from transfer_utils.training.optimizers import build_optimizer, compile_model, warm_up_and_cosine

PREDICT_BATCHES = (16, 32, 64, 128, 256)  # that a careful user tries
TRAIN_BATCHES = (64, 128, 256, 512)
HEAD_BATCHES = (128, 512, 1024, 2048)
TRIAL_STEPS = 3
HEAD_EPOCHS = 5  # of the head, where the recipe leaves them out because our head is solved


def predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return the outputs of ``model``, by ``predict_on_batch``.

    At its end, ``model.predict`` may wait for the tuner of tf.data, whose pauses double: it then takes 2.55 seconds
    in all, for example, where the images need 1.8, or 5.11 where they need 2.6.
    """
    return np.concatenate(
        [model.predict_on_batch(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    )


def best_predict_batch(model: keras.Model, images: np.ndarray) -> int:
    """Return the batch size at which ``predict`` is fastest on these images."""
    return _fastest(PREDICT_BATCHES, lambda size: lambda: len(predict(model, images, size)))


def best_train_batch(split: Split, n_classes: int, config: RunConfig) -> int:
    """Return the batch size at which a step of the recipe's fine-tuning takes least time per image."""

    def of_size(size: int) -> Callable[[], int]:
        base, _ = build_backbone(config)
        model = with_new_head(base, n_classes, config)
        unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
        compile_model(model, build_optimizer(config.optimizer_stage2, 1e-6, 0.0), config.label_smoothing)
        x, y = split.take(np.arange(size)).astype("float32"), np.eye(n_classes, dtype="float32")[split.labels[:size]]

        def trial() -> int:
            for _ in range(TRIAL_STEPS):
                model.train_on_batch(x, y)
            return TRIAL_STEPS * size

        return trial

    return _fastest(TRAIN_BATCHES, of_size)


def best_head_batch(train: tuple[np.ndarray, np.ndarray], config: RunConfig) -> int:
    """Return the batch size at which an epoch of a linear head on features in memory takes least time."""

    def of_size(size: int) -> Callable[[], int]:
        head = build_top_classifier(train[0].shape[1], train[1].shape[1], config)
        compile_model(head, build_optimizer(config.optimizer_stage1, 1e-6, 0.0), config.label_smoothing)

        def trial() -> int:
            head.fit(*train, batch_size=size, verbose=0)
            return len(train[0])

        return trial

    return _fastest(HEAD_BATCHES, of_size)


def _fastest(sizes: Sequence[int], of_size: Callable[[int], Callable[[], int]]) -> int:
    """Return the batch size whose trial takes least time per image; a trial returns the number of its images."""
    seconds = {}
    for size in sizes:
        trial = of_size(size)
        trial()  # traced before it is timed
        started = time.perf_counter()
        images = trial()
        seconds[size] = (time.perf_counter() - started) / images
    return min(seconds, key=seconds.__getitem__)


def with_new_head(base: keras.Model, n_classes: int, config: RunConfig) -> keras.Model:
    """Return a backbone with a head that has not been trained, from pixels to probabilities."""
    return build_full_model(base, build_top_classifier(base.output.shape[-1], n_classes, config), config)


def train_head(head: keras.Model, train: tuple, validation: tuple, config: RunConfig, epochs: int) -> float:
    """Fit ``head`` on features in memory with Keras's own loop; return its best validation accuracy."""
    optimizer = build_optimizer(config.optimizer_stage1, config.learning_rate_stage1, config.weight_decay)
    compile_model(head, optimizer, config.label_smoothing)
    options = {"epochs": epochs, "batch_size": config.batch_size, "verbose": 0}
    return max(head.fit(*train, validation_data=validation, **options).history["val_accuracy"])


def training_images(split: Split, n_classes: int, config: RunConfig) -> tf.data.Dataset:
    """Return shuffled batches, with whole-pixel shifts and flips drawn anew every epoch where the recipe augments."""
    side = config.stored_size
    down, across = (round(share * side) for share in (config.height_shift, config.width_shift))

    def draw(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(image, [[down, down], [across, across], [0, 0]], mode="SYMMETRIC")
        image = tf.image.random_crop(padded, [side, side, 3])
        return (tf.image.random_flip_left_right(image) if config.horizontal_flip else image), label

    labels = split.one_hot(n_classes)
    data = tf.data.Dataset.from_tensor_slices((split.take(), labels)).shuffle(len(split), seed=config.seed)
    if config.augment:
        data = data.map(draw, num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(config.batch_size).prefetch(tf.data.AUTOTUNE)


def fine_tune(model: keras.Model, data: tf.data.Dataset, steps: int, config: RunConfig, epochs: int) -> list[float]:
    """Fit the unfrozen layers with Keras's own loop on the recipe's schedule; return the seconds of each epoch."""
    schedule = warm_up_and_cosine(config.learning_rate_stage2, steps * epochs)
    optimizer = build_optimizer(config.optimizer_stage2, schedule, config.weight_decay)
    compile_model(model, optimizer, config.label_smoothing)
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(data, epochs=epochs, verbose=0, callbacks=[clock], shuffle=False)  # the pipeline has shuffled
    return np.diff(ends).tolist()


def recipe(train: Split, validation: Split, n_classes: int, config: RunConfig, predict_batch: int) -> keras.Model:
    """Both stages, plainly: features by batches, the head by AdamW, then fine-tuning through the whole network."""
    base, _ = build_backbone(config)
    extractor = build_feature_extractor(config, base)
    head = build_top_classifier(extractor.output.shape[-1], n_classes, config)
    model = build_full_model(base, head, config)
    data = [
        (predict(extractor, split.take(), predict_batch), split.one_hot(n_classes)) for split in (train, validation)
    ]
    train_head(head, *data, config, config.epochs_stage1 or HEAD_EPOCHS)
    unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
    steps = -(-len(train) // config.batch_size)
    fine_tune(model, training_images(train, n_classes, config), steps, config, config.epochs_stage2)
    return model
