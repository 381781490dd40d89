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
from transfer_utils.models.networks import at_side
from transfer_utils.training import distribute
from transfer_utils.training.checkpoints import Curves
from transfer_utils.training.loop import Batch, Hooks, Stage, Validation, fit


def run_stage1_training(
    head: keras.Model, train: Batch, validation: Batch, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Train the head on features that were computed once, with the backbone frozen.

    The weights with the lowest ``val_loss`` are kept, those from before included.

    Args:
        head: features (n, d) to probabilities (n, classes).
        train, validation: features (n, d) and one-hot labels (n, classes).
        config: the epochs, optimizer, learning rate, batch size, label smoothing and patience.
        hooks: see ``training.loop.Hooks``.

    Returns:
        For each of ``loss`` and ``val_loss`` (nats, with label smoothing), ``accuracy`` and ``val_accuracy`` (in
        [0, 1]), ``learning_rate`` and ``seconds``, a list of one number per epoch.

    Raises:
        Diverged: the training or validation loss became NaN or infinite.
        UserError: ``config.strategy`` asks for several devices, but the model was built for one.
    """
    optimizer, rate = config.optimizer_stage1, config.learning_rate_stage1
    stage = Stage("stage1", config, config.epochs_stage1, optimizer, rate, "plateau", hooks)
    return fit(head, lambda epoch: train, len(train[1]), validation, stage)


def run_stage2_finetuning(
    model: keras.Model, train: Split | BoundaryCache, validation: Validation, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Fine-tune the unfrozen tail and the fitted head (LP-FT, Kumar et al. 2022, arXiv 2202.10054).

    The epoch with the lowest ``val_loss`` is kept if it has a lower ``val_loss`` than the weights from before and no
    lower ``val_accuracy``; otherwise the weights from before are. With ``selection="none"`` the last weights are kept.

    Args:
        model: not compiled yet; its trainable layers are those that ``unfreeze_model_tail`` left trainable. Takes
            boundary activations when ``train`` is a ``BoundaryCache``, else pixels, augmented anew each epoch and
            resized to a side that grows from ``config.image_size_start`` on, if that is set (progressive resizing).
        validation: inputs of ``model``, or a split of images, and one-hot labels (n, classes).

    Returns, raises: as ``run_stage1_training``.
    """
    optimizer, rate = config.optimizer_stage2, config.learning_rate_stage2
    stage = Stage("stage2", config, config.epochs_stage2, optimizer, rate, config.schedule, hooks, keeps_accuracy=True)
    if isinstance(train, BoundaryCache):
        n = config.epoch_size(train.size, stage.epochs)
        return fit(model, lambda epoch: train.view(epoch % train.views), n, validation, stage)
    with distribute.scope_of(model):
        smaller = {side: at_side(model, side) for side in config.sides[:-1]}
    stage.learners = {epoch: smaller[side] for epoch, side in enumerate(config.side_by_epoch) if side in smaller}
    return _fit_images(model, train, validation, stage)


def train_baseline(
    model: keras.Model, train: Split, validation: Validation, config: RunConfig, **hooks: Unpack[Hooks]
) -> Curves:
    """Train the CNN from scratch, and keep the weights of lowest ``val_loss``, or with ``selection="none"`` the last.

    The random weights that it begins with are a candidate, too: they are kept if every epoch is worse.

    The images are augmented if ``augment`` or ``augment_baseline`` is set. The learning rate warms up and then follows
    a cosine to zero (Loshchilov & Hutter 2017, arXiv 1608.03983) over ``config.baseline_epochs`` epochs.

    Args:
        model: pixels (n, side, side, 3), 0-255, to probabilities (n, classes).
        train: the training images.
        validation: pixels (n, side, side, 3), 0-255, or a split, and one-hot labels (n, classes).

    Returns:
        As ``run_stage1_training``.

    Raises:
        Diverged, UserError: as ``run_stage1_training``.
    """
    augment, decay = config.augment or config.augment_baseline, config.weight_decay_baseline
    config = config.model_copy(update={"augment": augment, "weight_decay": decay})
    optimizer, rate, epochs = config.optimizer_stage1, config.learning_rate_baseline, config.baseline_epochs
    stage = Stage("baseline", config, epochs, optimizer, rate, "cosine", hooks, config.warm_up_baseline)
    with distribute.scope_of(model):
        faster = with_fast_layers(model)
    return _fit_images(faster, train, validation, stage)


def _fit_images(model: keras.Model, train: Split, validation: Validation, stage: Stage) -> Curves:
    config, n_classes = stage.config, validation[1].shape[1]
    n = config.epoch_size(len(train), stage.epochs)
    train = train.part(np.arange(n) % len(train))  # an image that is repeated in an epoch is augmented anew each time

    def of_epoch(epoch: int) -> Callable[[np.ndarray], Batch]:
        drawn = draw_view(n, config, epoch)  # every epoch is a view of its own

        def batch(positions: np.ndarray) -> Batch:
            images, labels = training_view(train, positions, config, epoch, n_classes, drawn)
            return images.astype("float32"), labels

        return batch

    return fit(model, of_epoch, n, validation, stage)
