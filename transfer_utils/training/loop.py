"""The epoch loop of every stage, resumable to the bit, with Keras's own optimizers and callbacks.

Every random choice of an epoch follows from the seed and the epoch's number, and everything that changes from epoch to
epoch is in the checkpoint. A run that is killed and resumed therefore ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from typing_extensions import TypedDict

from transfer_utils.config.options import RunConfig
from transfer_utils.data.augment import epoch_order
from transfer_utils.data.dataset import Split
from transfer_utils.errors import Diverged
from transfer_utils.evaluation.metrics import is_lower
from transfer_utils.training import distribute
from transfer_utils.training.checkpoints import Curves, restore_checkpoint, save_checkpoint
from transfer_utils.training.optimizers import WARM_UP, build_optimizer, compile_model, warm_up_and_cosine
from transfer_utils.utils import interrupts
from transfer_utils.utils.keras_private import trace_once
from transfer_utils.utils.progress import Log, Progress

MIN_VALIDATION_BATCH = 128  # images; on fewer, a small network waits for Python longer than it computes
MIN_LAST_BATCH = 4  # the last batch of an epoch has a quarter of the others' images, or all have almost as many

Batch = tuple[np.ndarray, np.ndarray]  # inputs and labels
Validation = tuple[np.ndarray | Split, np.ndarray]  # also a split, which is read batch by batch
EpochData = Callable[[int], Batch | Callable[[np.ndarray], Batch]]  # of an epoch: arrays, or what makes its batches


class Quality(NamedTuple):
    """How well a network does on the validation split."""

    val_loss: float
    val_accuracy: float


class Hooks(TypedDict, total=False):
    """What a stage reports to, and where it resumes from.

    Attributes:
        checkpoint: the file it resumes from; None keeps none.
        start: the quality of the weights it begins with, where it is known already.
        on_begin: called before the first epoch, but not when the stage resumes.
        on_epoch_end: called after each epoch with its number, from 0, and the curves so far.
        on_step_end: called after each step with (title, steps done, steps in all).
        on_fallback: called at the end if the stage was no better than the weights it began with, which are kept, with
            the quality of these and of its best epoch.
        log: called with a message if the checkpoint cannot be used.
    """

    checkpoint: Path | None
    start: Quality | None
    on_begin: Callable[[], None] | None
    on_epoch_end: Callable[[int, Curves], None] | None
    on_step_end: Progress | None
    on_fallback: Callable[[Quality, Quality], None] | None
    log: Log | None


@dataclass
class Stage:
    """One training phase.

    Attributes:
        schedule: ``plateau`` halves the learning rate when ``val_loss`` stalls, and then stops; ``cosine`` warms up and
            decays to 0 over all its epochs: much of what it learns comes late, at the low rates.
        warm_up: share of the steps in which ``cosine`` rises.
        keeps_accuracy: keep the weights it begins with also if its best epoch has a lower validation accuracy.
        learners: by the number of an epoch, the model that learns in it instead of the one that is fitted, whose
            weights it shares.
        rate_of_step: the learning rate of each step of the stage, from 0, where it changes within an epoch.
    """

    name: str
    config: RunConfig
    epochs: int
    optimizer: str
    learning_rate: float
    schedule: str
    hooks: Hooks
    warm_up: float = WARM_UP
    keeps_accuracy: bool = False
    learners: dict[int, keras.Model] = field(default_factory=dict)
    rate_of_step: keras.optimizers.schedules.LearningRateSchedule | None = None

    def models(self, fitted: keras.Model) -> list[keras.Model]:
        """Return all models that learn, the one that is fitted first."""
        return list(dict.fromkeys([fitted, *self.learners.values()]))

    def report(self, hook: str, *values: Any) -> None:
        """Call this hook, if there is one."""
        if call := self.hooks.get(hook):
            call(*values)


def fit(model: keras.Model, epoch_data: EpochData, n: int, validation: Validation, stage: Stage) -> Curves:
    """Train for ``stage.epochs`` or until ``val_loss`` stalls, from the checkpoint on; keep the best weights.

    With ``selection="none"`` the last weights are kept.
    """
    _compile(model, n, stage)
    for each in stage.models(model):
        distribute.spread(each, validation, stage.config.strategy)
    callbacks, curves = _callbacks(model, stage), {}
    first_epoch, start = _begin(model, callbacks, curves, validation, stage)
    early_stopping = callbacks[0]
    for epoch in range(first_epoch, stage.epochs):
        if early_stopping.stopped_epoch:
            break
        started = time.monotonic()
        row = _train_epoch(stage.learners.get(epoch, model), epoch_data(epoch), n, epoch, stage)
        row |= _validate(model, validation, stage.config.batch_size)
        _check_finite("validation loss", row["val_loss"], epoch, stage)
        row["seconds"] = time.monotonic() - started
        for name, value in row.items():
            curves.setdefault(name, []).append(value)
        for callback in callbacks:
            callback.on_epoch_end(epoch, row)
        save_checkpoint(model, callbacks, curves, stage.hooks.get("checkpoint"))
        stage.report("on_epoch_end", epoch, curves)
    if early_stopping.best_weights is not None and stage.config.selection == "validation":
        model.set_weights(early_stopping.best_weights)
        if curves:
            _fall_back(model, start, curves, stage)
    distribute.gather(model)
    return curves


def _compile(model: keras.Model, n: int, stage: Stage) -> None:
    config = stage.config
    if stage.schedule == "cosine" and stage.epochs:
        # Set before each step, not handed to the optimizer: Keras would compute it anew for every variable, and
        # TensorFlow would take up to twice as long to trace a step.
        steps = stage.epochs * math.ceil(n / config.batch_size)
        stage.rate_of_step = warm_up_and_cosine(stage.learning_rate, steps, stage.warm_up)
    with distribute.scope_of(model):
        optimizer = build_optimizer(stage.optimizer, stage.learning_rate, config.weight_decay)
        for each in stage.models(model):
            compile_model(each, optimizer, config.label_smoothing)
        optimizer.build(model.trainable_variables)
    if distribute.replicas(model) == 1 and keras.backend.backend() == "tensorflow":
        for each in stage.models(model):
            trace_once(each)


class _Start(NamedTuple):
    """The weights that a stage begins with, and their quality."""

    weights: list[np.ndarray]
    quality: Quality


def _begin(
    model: keras.Model, callbacks: list[keras.callbacks.Callback], curves: Curves, validation: Validation, stage: Stage
) -> tuple[int, _Start]:
    """Restore the checkpoint, or start the stage; return the number of the first epoch to train, and the start."""
    checkpoint = stage.hooks.get("checkpoint")
    if checkpoint and checkpoint.exists():
        start = _start(model, validation, stage)  # now: a checkpoint does not hold these weights
        if first_epoch := restore_checkpoint(model, callbacks, curves, checkpoint):
            # A run that was interrupted between the checkpoint and the report has not recorded this epoch yet.
            stage.report("on_epoch_end", first_epoch - 1, curves)
            return first_epoch, start
        damaged = f"The checkpoint of {stage.name} is damaged or from another version: {stage.name} starts again."
        stage.report("log", damaged)
    stage.report("on_begin")
    # The weights that the stage begins with are its first candidate, so that it never ends with worse ones.
    start, early_stopping = _start(model, validation, stage), callbacks[0]
    early_stopping.best, early_stopping.best_weights = start.quality.val_loss, start.weights
    return 0, start


def _start(model: keras.Model, validation: Validation, stage: Stage) -> _Start:
    known = stage.hooks.get("start")
    return _Start(model.get_weights(), known or Quality(**_validate(model, validation, stage.config.batch_size)))


def _fall_back(model: keras.Model, start: _Start, curves: Curves, stage: Stage) -> None:
    """Set the weights from before again if the best epoch costs accuracy; report it where they are kept."""
    epoch = int(np.argmin(curves["val_loss"]))
    before, best = start.quality, Quality(curves["val_loss"][epoch], curves["val_accuracy"][epoch])
    loses_accuracy = stage.keeps_accuracy and is_lower(best.val_accuracy, before.val_accuracy)
    if best.val_loss < before.val_loss and not loses_accuracy:
        return
    if loses_accuracy:
        model.set_weights(start.weights)
    stage.report("on_fallback", before, best)


def _train_epoch(
    model: keras.Model, data: Batch | Callable[[np.ndarray], Batch], n: int, epoch: int, stage: Stage
) -> dict[str, float]:
    """Train on ``n`` images, all of them at least once, in an order drawn by seed and epoch.

    Returns:
        The mean ``loss`` and ``accuracy``, and the ``learning_rate`` of the last step.
    """
    config, means, steps = stage.config, _Means(), math.ceil(n / stage.config.batch_size)
    batches = _batches(data, epoch_order(n, config.seed, epoch), config.batch_size)
    for step, (x, y) in enumerate(batches, start=1):
        if stage.rate_of_step:
            model.optimizer.learning_rate = stage.rate_of_step(epoch * steps + step - 1)
        model.reset_metrics()
        logs = model.train_on_batch(*distribute.shares(model, x, y), return_dict=True)
        means.add(logs, len(y))
        _check_finite("loss", float(logs["loss"]), epoch, stage)
        interrupts.raise_pending()
        stage.report("on_step_end", f"{stage.name}, epoch {epoch + 1} of {stage.epochs}", step, steps)
    return means.row() | {"learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))}


def _check_finite(what: str, loss: float, epoch: int, stage: Stage) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"The {what} of {stage.name} became {loss} in epoch {epoch + 1}: "
            f"lower its learning rate, {stage.learning_rate:g}."
        )


def _batches(data: Batch | Callable[[np.ndarray], Batch], order: np.ndarray, size: int) -> Iterator[Batch]:
    """Yield the batches of an epoch in this ``order``; the next one is prepared while the model learns from one."""

    def make(positions: np.ndarray) -> Batch:
        if callable(data):
            return data(positions)
        # Sorted positions read a memory map from front to back; within a batch the order does not matter.
        positions = np.sort(positions % len(data[1]))
        return np.asarray(data[0][positions], "float32"), data[1][positions]

    parts = [order[i : i + size] for i in range(0, len(order), size)]
    if MIN_LAST_BATCH * len(parts[-1]) < size:
        # A last batch of a few images would shift the moving statistics of BatchNorm just before they are used.
        parts = np.array_split(order, len(parts))
    with ThreadPoolExecutor(1) as pool:
        next_batch = pool.submit(make, parts[0])
        for part in parts[1:]:
            batch, next_batch = next_batch, pool.submit(make, part)
            yield batch.result()
        yield next_batch.result()


def _validate(model: keras.Model, validation: Validation, batch_size: int) -> dict[str, float]:
    """Return the mean loss and accuracy over the whole validation split."""
    inputs, labels = validation
    means = _Means()
    size = batch_size * math.ceil(MIN_VALIDATION_BATCH / batch_size)  # a multiple can be shared as well
    for i in range(0, len(labels), size):
        x, y = np.asarray(inputs[i : i + size], "float32"), labels[i : i + size]
        model.reset_metrics()
        means.add(model.test_on_batch(*distribute.shares(model, x, y), return_dict=True), len(y))
        interrupts.raise_pending()
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


def _callbacks(model: keras.Model, stage: Stage) -> list[keras.callbacks.Callback]:
    """Return Keras's early stopping, which also keeps the best weights, and where asked for its plateau rule."""
    patience = stage.config.patience if stage.schedule == "plateau" else 0
    stop_after = patience or stage.epochs + 1  # 0 never stops
    watched = {"monitor": "val_loss", "mode": "min"}
    callbacks = [keras.callbacks.EarlyStopping(**watched, patience=stop_after, restore_best_weights=True)]
    if stage.schedule == "plateau":
        # Half the patience, so that the rate is lowered before early stopping ends the stage. Not always: early
        # stopping counts from the loss at the start, this rule from that of the first epoch.
        lower_after = max(1, (patience or 5) // 2)
        callbacks.append(keras.callbacks.ReduceLROnPlateau(**watched, patience=lower_after, factor=0.5))
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    return callbacks
