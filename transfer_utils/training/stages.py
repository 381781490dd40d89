"""The two stages and the baseline: what each of them trains on, and how."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from typing_extensions import Unpack

from transfer_utils.config.options import RunConfig
from transfer_utils.data.augment import draw_view, training_view
from transfer_utils.data.dataset import Split
from transfer_utils.features import BoundaryCache
from transfer_utils.models.fast_layers import with_fast_layers
from transfer_utils.training import distribute
from transfer_utils.training.checkpoints import Curves
from transfer_utils.training.loop import Batch, Hooks, Stage, fit


def run_stage1_training(
    head: keras.Model, train: Batch, validation: Batch, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Train the head on features that were computed once, with the backbone frozen.

    Args:
        head: features (n, d) to probabilities (n, classes).
        train, validation: features (n, d) and one-hot labels (n, classes).

    Returns:
        One number an epoch for loss, accuracy, val_loss, val_accuracy, learning_rate and seconds.

    Raises:
        Diverged: the loss became NaN or infinite.
    """
    optimizer, rate = config.optimizer_stage1, config.learning_rate_stage1
    stage = Stage("stage1", config, config.epochs_stage1, optimizer, rate, "plateau", hooks)
    return fit(head, lambda epoch: train, len(train[1]), validation, stage)


def run_stage2_finetuning(
    model: keras.Model, train: Split | BoundaryCache, validation: Batch, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Fine-tune the unfrozen tail and the head at a low learning rate.

    The weights of the epoch with the lowest ``val_loss`` are kept, unless that of the weights from before is no higher
    or their ``val_accuracy`` is higher. With ``selection="none"`` the last weights are kept.

    Args:
        model: not compiled yet; its trainable layers are those that ``unfreeze_model_tail`` left trainable. Takes
            boundary activations when ``train`` is a ``BoundaryCache``, else pixels, augmented anew each epoch.
        validation: inputs of ``model`` and one-hot labels (n, classes).

    Returns, raises: as ``run_stage1_training``.
    """
    optimizer, rate = config.optimizer_stage2, config.learning_rate_stage2
    stage = Stage("stage2", config, config.epochs_stage2, optimizer, rate, config.schedule, hooks, keeps_accuracy=True)
    if isinstance(train, BoundaryCache):
        n = stage.config.epoch_size(train.size, stage.epochs)
        return fit(model, lambda epoch: train.view(epoch % train.views), n, validation, stage)
    return _fit_images(model, train, validation, stage)


def train_baseline(
    model: keras.Model, train: Split, validation: Batch, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Train the CNN from scratch on the same images, and keep its best epoch.

    It is augmented where stage 2 is or ``augment_baseline`` is set, has as many epochs as both stages together unless
    ``epochs_baseline`` says otherwise, and a learning rate that decays to zero over them.
    """
    augment, decay = config.augment or config.augment_baseline, config.weight_decay_baseline
    config = config.model_copy(update={"augment": augment, "weight_decay": decay})
    optimizer, rate, epochs = config.optimizer_stage1, config.learning_rate_baseline, config.baseline_epochs
    stage = Stage("baseline", config, epochs, optimizer, rate, "cosine", hooks, config.warm_up_baseline)
    with distribute.scope_of(model):
        faster = with_fast_layers(model)
    return _fit_images(faster, train, validation, stage)


def _fit_images(model: keras.Model, train: Split, validation: Batch, stage: Stage) -> Curves:
    config, n_classes = stage.config, validation[1].shape[1]
    n = stage.config.epoch_size(len(train), stage.epochs)
    train = train.part(np.arange(n) % len(train))  # an image that is repeated in an epoch is augmented anew each time

    def of_epoch(epoch: int) -> Callable[[np.ndarray], Batch]:
        drawn = draw_view(n, config, epoch)  # every epoch is a view of its own

        def batch(positions: np.ndarray) -> Batch:
            images, labels = training_view(train, positions, config, epoch, n_classes, drawn)
            return images.astype("float32"), labels

        return batch

    return fit(model, of_epoch, n, validation, stage)
