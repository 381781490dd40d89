"""What a network is compiled with: the optimizer, the schedule of its learning rate, loss and metric."""

from __future__ import annotations

import keras

from transfer_utils.training import distribute
from transfer_utils.utils.keras_private import skip_gradient_sum

WARM_UP = 0.1  # share of all steps over which the cosine schedule rises to its learning rate


def build_optimizer(
    name: str, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule, weight_decay: float
) -> keras.optimizers.Optimizer:
    """Return one of Keras's optimizers.

    Args:
        name: ``AdamW`` (Loshchilov & Hutter 2019, arXiv 1711.05101), ``Adam`` (Kingma & Ba 2015, arXiv 1412.6980), or
            ``SGD``, with Nesterov momentum 0.9 (Sutskever et al. 2013, ICML).
        learning_rate: a number above 0, or a schedule over the steps.
        weight_decay: the decoupled weight decay of AdamW; the others ignore it.
    """
    if name == "AdamW":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    if name == "Adam":
        return keras.optimizers.Adam(learning_rate)
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


def warm_up_and_cosine(
    learning_rate: float, steps: int, warm_up: float = WARM_UP
) -> keras.optimizers.schedules.CosineDecay:
    """Return a linear rise to ``learning_rate``, then half a cosine down to zero.

    The cosine is that of Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5, without restarts. The rise starts at
    zero, so a stage of a few steps, whose first one must count, has none.

    Args:
        warm_up: share of ``steps`` over which the rate rises.
    """
    rise = round(warm_up * steps)
    if not rise:
        return keras.optimizers.schedules.CosineDecay(learning_rate, max(1, steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=learning_rate, warmup_steps=rise
    )


def compile_model(model: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float) -> None:
    """Compile ``model`` for one-hot labels (n, classes), the only place that does; ``trainable`` takes effect after it.

    The loss is the cross-entropy in nats, with label smoothing (Szegedy et al. 2016, arXiv 1512.00567) of the share
    ``label_smoothing``, from 0 to less than 1; the metric is the accuracy.
    """
    if distribute.replicas(model) == 1:
        skip_gradient_sum(optimizer)
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # TensorFlow makes graphs without XLA, which is several times slower for depthwise convolutions on a CPU. Other
        # backends have their own way; with False, JAX would run each operation of a step by itself.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
