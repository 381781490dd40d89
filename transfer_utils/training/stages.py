"""The two stages and the baseline: one epoch loop, resumable to the bit, with Keras's own optimizers and callbacks.

Every random choice of an epoch follows from the seed and the epoch's number, and everything that changes from epoch to
epoch is in the checkpoint; so a run that was killed and started again ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.data.augment import draw_view, epoch_order, training_view
from transfer_utils.data.splits import Split
from transfer_utils.errors import Diverged
from transfer_utils.features import BoundaryCache
from transfer_utils.training import distribute
from transfer_utils.training.checkpoints import Curves, restore_checkpoint, save_checkpoint

WARM_UP = 0.1  # share of all steps over which the cosine schedule rises to its learning rate

VALIDATION_BATCH = 128  # images at least, or a small network waits for Python more than it computes

Batch = tuple[np.ndarray, np.ndarray]


@dataclass
class Stage:
    """One training phase: what it is called and how it goes about it.

    Attributes:
        schedule: ``plateau`` halves the learning rate when ``val_loss`` stalls, ``cosine`` warms up and decays to 0.
        patience: epochs without a better ``val_loss`` before ``plateau`` stops; 0 never stops. ``cosine`` has all its
            epochs: much of what it learns comes late, at the low rates. The best weights are kept either way.
        checkpoint: the file it resumes from; None keeps none.
        on_begin: called before the first epoch, but not when the stage resumes.
        on_epoch_end: called after each epoch with its number and the curves so far.
        on_step_end: called after each step with (title, done, total).
    """

    name: str
    epochs: int
    optimizer: str
    learning_rate: float
    schedule: str
    patience: int
    batch_size: int
    weight_decay: float
    label_smoothing: float
    seed: int
    strategy: str
    checkpoint: Path | None = None
    on_begin: Callable[[], None] | None = None
    on_epoch_end: Callable[[int, Curves], None] | None = None
    on_step_end: Callable[[str, int, int], None] | None = None


def run_stage1_training(head: keras.Model, train: Batch, validation: Batch, config: RunConfig, **hooks) -> Curves:
    """Train the head on features that were computed once, with the backbone frozen.

    Args:
        head: features (n, d) to probabilities (n, classes).
        train, validation: features (n, d) and one-hot labels (n, classes).
        hooks: ``checkpoint``, ``on_begin``, ``on_epoch_end`` and ``on_step_end`` of ``Stage``.

    Returns:
        One number an epoch for loss, accuracy, val_loss, val_accuracy, learning_rate and seconds.

    Raises:
        Diverged: the loss became NaN or infinite.
    """
    stage = _stage("stage1", config, config.epochs_stage1, "plateau", **hooks)
    return _fit(head, lambda epoch: train, len(train[1]), validation, stage)


def run_stage2_finetuning(
    model: keras.Model, train: Split | BoundaryCache, validation: Batch, config: RunConfig, **hooks
) -> Curves:
    """Fine-tune the unfrozen tail and the head at a low learning rate.

    Args:
        model: compiled by nobody yet; its trainable layers are those that ``unfreeze_model_tail`` left trainable. Takes
            boundary activations when ``train`` is a ``BoundaryCache``, else pixels, augmented anew each epoch.
        validation: inputs of ``model`` and one-hot labels (n, classes).

    Returns, raises and hooks: as ``run_stage1_training``.
    """
    stage = _stage("stage2", config, config.epochs_stage2, config.schedule, **hooks)
    if isinstance(train, BoundaryCache):
        return _fit(model, lambda epoch: train.view(epoch % train.views), train.size, validation, stage)
    return _fit(model, _images(train, validation[1].shape[1], config), len(train), validation, stage)


def train_baseline(model: keras.Model, train: Split, validation: Batch, config: RunConfig, **hooks) -> Curves:
    """Train the small CNN from scratch on the same images with the same augmentation, and keep its best epoch.

    It gets every chance: all of its epochs, by default as many as both stages have, and a learning rate that decays to
    zero over them.
    """
    epochs = config.baseline_epochs
    stage = _stage("baseline", config, epochs, "cosine", **hooks)
    return _fit(model, _images(train, validation[1].shape[1], config), len(train), validation, stage)


def build_optimizer(name: str, learning_rate: float, weight_decay: float) -> keras.optimizers.Optimizer:
    """Return AdamW, Adam, or SGD with Nesterov momentum 0.9; only AdamW takes the weight decay."""
    if name == "AdamW":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    if name == "Adam":
        return keras.optimizers.Adam(learning_rate)
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


def compile_model(model: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float) -> None:
    """Compile for one-hot labels. The only place that does: ``trainable`` takes effect here."""
    if distribute.replicas(model) == 1:
        # One device has nothing to sum over, and TensorFlow never lets go of a graph in which it was done.
        optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,  # XLA is several times slower for these networks on a CPU
    )


def _stage(name: str, config: RunConfig, epochs: int, schedule: str, **hooks) -> Stage:
    second = name == "stage2"
    return Stage(
        name=name,
        epochs=epochs,
        optimizer=config.optimizer_stage2 if second else config.optimizer_stage1,
        learning_rate=config.learning_rate_stage2 if second else config.learning_rate_stage1,
        schedule=schedule,
        patience=config.patience if schedule == "plateau" else 0,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        seed=config.seed,
        strategy=config.strategy,
        **hooks,
    )


def _fit(
    model: keras.Model,
    epoch_data: Callable[[int], Batch | Callable[[np.ndarray], Batch]],
    n: int,
    validation: Batch,
    stage: Stage,
) -> Curves:
    """Train for ``stage.epochs`` or until ``val_loss`` stalls, from the checkpoint on; keep the best weights."""
    with distribute.scope_of(model):
        compile_model(
            model, build_optimizer(stage.optimizer, stage.learning_rate, stage.weight_decay), stage.label_smoothing
        )
        model.optimizer.build(model.trainable_variables)
    distribute.start(model, validation, stage.strategy)
    callbacks = _callbacks(model, stage)
    curves: Curves = {}
    first = restore_checkpoint(model, callbacks, curves, stage.checkpoint)
    stop = callbacks[0]
    if not first:
        if stage.on_begin:
            stage.on_begin()
        # Where the stage begins counts as its first candidate: it never ends with weights worse than it was given.
        stop.best, stop.best_weights = _validate(model, validation, stage.batch_size)["val_loss"], model.get_weights()
    elif stage.on_epoch_end:
        # A run that was interrupted between the checkpoint and the report has not recorded this epoch yet.
        stage.on_epoch_end(first - 1, curves)
    steps = math.ceil(n / stage.batch_size)
    for epoch in range(first, stage.epochs):
        if stop.stopped_epoch:
            break
        started = time.monotonic()
        means = _Means()
        for step, (x, y) in enumerate(_batches(epoch_data(epoch), epoch_order(n, stage.seed, epoch), stage.batch_size)):
            if stage.schedule == "cosine":
                model.optimizer.learning_rate.assign(_cosine(epoch * steps + step, stage.epochs * steps, stage))
            model.reset_metrics()
            logs = model.train_on_batch(*distribute.shares(model, x, y), return_dict=True)
            means.add(logs, len(y))
            _refuse_divergence("loss", float(logs["loss"]), epoch, stage)
            if stage.on_step_end:
                stage.on_step_end(f"{stage.name}, epoch {epoch + 1} of {stage.epochs}", step + 1, steps)
        row = means.row()
        row |= _validate(model, validation, stage.batch_size)
        _refuse_divergence("validation loss", row["val_loss"], epoch, stage)
        row["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        row["seconds"] = time.monotonic() - started
        for name, value in row.items():
            curves.setdefault(name, []).append(value)
        for callback in callbacks:
            callback.on_epoch_end(epoch, row)
        save_checkpoint(model, callbacks, curves, stage.checkpoint)
        if stage.on_epoch_end:
            stage.on_epoch_end(epoch, curves)
    if stop.best_weights is not None:
        model.set_weights(stop.best_weights)
    distribute.finish(model)
    return curves


def _refuse_divergence(what: str, loss: float, epoch: int, stage: Stage) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"The {what} of {stage.name} became {loss} in epoch {epoch + 1}: "
            f"lower its learning rate, {stage.learning_rate:g}."
        )


def _batches(data: Batch | Callable[[np.ndarray], Batch], order: np.ndarray, size: int) -> Iterator[Batch]:
    """Yield the shuffled batches of an epoch; the next one is prepared while the model learns from this one."""

    def make(at: np.ndarray) -> Batch:
        if callable(data):
            return data(at)
        # Sorted positions read a memory map from front to back; within a batch the order does not matter.
        at = np.sort(at)
        return np.asarray(data[0][at], "float32"), data[1][at]

    pieces = [order[i : i + size] for i in range(0, len(order), size)]
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, pieces[0])
        for piece in pieces[1:]:
            ready, ahead = ahead, pool.submit(make, piece)
            yield ready.result()
        yield ahead.result()


def _images(split: Split, n_classes: int, config: RunConfig) -> Callable[[int], Callable[[np.ndarray], Batch]]:
    """Return, for an epoch, what draws its batches: every epoch is a view of its own."""

    def of_epoch(epoch: int) -> Callable[[np.ndarray], Batch]:
        drawn = draw_view(len(split), config, epoch)

        def batch(positions: np.ndarray) -> Batch:
            images, labels = training_view(split, positions, config, epoch, n_classes, drawn)
            return images.astype("float32"), labels

        return batch

    return of_epoch


def _validate(model: keras.Model, validation: Batch, batch_size: int) -> dict[str, float]:
    """Return the mean loss and accuracy over the whole validation split."""
    inputs, labels = validation
    means, size = _Means(), batch_size * math.ceil(VALIDATION_BATCH / batch_size)  # a multiple can be shared as well
    for i in range(0, len(labels), size):
        x, y = np.asarray(inputs[i : i + size], "float32"), labels[i : i + size]
        model.reset_metrics()
        means.add(model.test_on_batch(*distribute.shares(model, x, y), return_dict=True), len(y))
    return means.row("val_")


class _Means:
    """Loss and accuracy averaged over the images of many batches, of which the last may be smaller."""

    def __init__(self) -> None:
        self._sums, self._n = {"loss": 0.0, "accuracy": 0.0}, 0

    def add(self, logs: dict[str, float], n: int) -> None:
        self._n += n
        for name in self._sums:
            self._sums[name] += n * float(logs[name])

    def row(self, prefix: str = "") -> dict[str, float]:
        return {prefix + name: total / self._n for name, total in self._sums.items()}


def _cosine(step: int, steps: int, stage: Stage) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017)."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _callbacks(model: keras.Model, stage: Stage) -> list[keras.callbacks.Callback]:
    """Return Keras's early stopping, which also keeps the best weights, and its plateau rule."""
    stop = keras.callbacks.EarlyStopping(
        monitor="val_loss", mode="min", patience=stage.patience or stage.epochs + 1, restore_best_weights=True
    )
    found: list[keras.callbacks.Callback] = [stop]
    if stage.schedule == "plateau":
        # Two tries at a lower rate before early stopping gives up.
        patience = max(1, (stage.patience or 5) // 2)
        found.append(keras.callbacks.ReduceLROnPlateau(monitor="val_loss", mode="min", factor=0.5, patience=patience))
    for callback in found:
        callback.set_model(model)
        callback.on_train_begin()
    return found
