"""Backbones, heads, freezing, and the baseline.

Every network takes raw 0-255 pixels at the stored size: resizing and the backbone's preprocessing are layers of the
model, so that its input cannot have the wrong range. The code works with every Keras backend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from transfer_utils.config.options import ALL_LAYERS, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.fast_layers import layer_inputs, layers_of, with_fast_layers
from transfer_utils.models.weights import load_weights
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import counted

# Keras's MobileNetV2 has momentum 0.999: after 1,000 steps with small batches its moving statistics still lag behind
# the weights, and the validation accuracy is far below the training accuracy.
BATCH_NORM_MOMENTUM = 0.9

# Mean colour of ImageNet in the channel order of ResNet50 and VGG16 (blue, green, red).
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


class Unfrozen(NamedTuple):
    """The number of layers and weights that ``unfreeze_model_tail`` made trainable."""

    layers: int
    weights: int

    def __str__(self) -> str:
        are = "is" if self.layers == 1 else "are"
        return f"{counted(self.layers, 'layer')} with {self.weights:,} weights {are} trainable"


def build_backbone(config: RunConfig, progress: Progress | None = None) -> tuple[keras.Model, dict[str, str]]:
    """Build the backbone without its classifier, for preprocessed images of ``image_size``, and load its weights.

    Random weights (``weights="random"``) depend on ``config.seed`` alone. The first use of ImageNet weights downloads
    them and reports to ``progress``.

    Returns:
        The model, (n, image_size, image_size, 3) float32 to (n, h, w, channels), and the source and SHA-256 of its
        weights.

    Raises:
        UserError: the weights are unavailable or do not fit.
    """
    application, side = getattr(keras.applications, config.backbone), config.image_size
    width = {"alpha": config.alpha} if config.backbone == "MobileNetV2" else {}
    base = application(include_top=False, weights=None, input_shape=(side, side, 3), **width)
    if config.weights == "random":
        _initialize(base, config.seed)
    return base, load_weights(base, config, progress)


def build_preprocessing(backbone: str, input_range: str = "backbone") -> list[layers.Layer]:
    """Return the layers that convert 0-255 RGB pixels to the input on which ``backbone`` was pretrained.

    MobileNetV2 and InceptionV3 expect [-1, 1]; ResNet50 and VGG16 expect BGR minus the mean colour of ImageNet; the
    EfficientNets contain their own rescaling (keras.io/api/applications). ``input_range="zero-one"`` ignores all that.
    """
    if input_range == "zero-one":
        return [layers.Rescaling(1 / 255, name="to_zero_one")]
    if backbone in ("MobileNetV2", "InceptionV3"):
        return [layers.Rescaling(1 / 127.5, offset=-1.0, name="to_minus_one_one")]
    if backbone in ("ResNet50", "VGG16"):
        # A fixed 1x1 convolution swaps the channels and subtracts the mean; unlike a Lambda, it can be reloaded safely.
        swap, shift = np.eye(3, dtype="float32")[::-1].reshape(1, 1, 3, 3), -np.array(IMAGENET_MEAN_BGR, "float32")
        # Nested lists can be saved, unlike arrays.
        kernel, bias = (keras.initializers.Constant(values.tolist()) for values in (swap, shift))
        options = {"kernel_initializer": kernel, "bias_initializer": bias, "trainable": False}
        return [layers.Conv2D(3, 1, name="to_bgr_less_mean", **options)]
    return []


def build_feature_extractor(
    config: RunConfig | None = None, base: keras.Model | None = None, progress: Progress | None = None
) -> keras.Model:
    """Build the frozen part: resize, preprocess, backbone, global average pooling.

    Args:
        config: by default ``RunConfig()``, MobileNetV2 with ImageNet weights at 160 px.
        base: the backbone to use; its layers are shared, and all of them are frozen. By default a new one.
        progress: of a download of its weights.

    Returns:
        A model from pixels (n, stored_size, stored_size, 3), 0-255, to features (n, channels) float32; MobileNetV2
        has 1,280 channels, and more where alpha is above 1.

    Raises:
        UserError: the weights are unavailable or do not fit.
    """
    config = config or RunConfig()
    base = base or build_backbone(config, progress)[0]
    base.trainable = False
    pixels, maps = _on_pixels(base, config)
    return keras.Model(pixels, _pooled(maps), name="feature_extractor")


def build_top_classifier(n_features: int, n_classes: int, config: RunConfig | None = None) -> keras.Model:
    """Build the head: features (n, n_features) to class probabilities (n, n_classes).

    ``head="batchnorm"`` is BatchNorm, Dense(hidden_units, relu) unless that is 0, Dropout, softmax;
    ``head="plain"`` is Dense(256, relu), Dropout(0.5), softmax.

    Args:
        config: by default ``RunConfig()``.
    """
    config = config or RunConfig()
    features = keras.Input((n_features,), name="features")
    x = features
    if config.head == "plain":
        x = layers.Dense(256, activation="relu", name="head_hidden")(x)
        x = layers.Dropout(0.5, name="head_dropout", seed=config.seed)(x)
    else:
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="head_batchnorm")(x)
        if config.hidden_units:
            x = layers.Dense(config.hidden_units, activation="relu", name="head_hidden")(x)
        x = layers.Dropout(config.dropout, name="head_dropout", seed=config.seed)(x)
    probabilities = layers.Dense(n_classes, activation="softmax", name="head")(x)
    return keras.Model(features, probabilities, name="top_classifier")


def build_full_model(base: keras.Model, head: keras.Model, config: RunConfig) -> keras.Model:
    """Join a backbone and a head (shared layers).

    The model maps pixels (n, stored_size, stored_size, 3), 0-255, to probabilities (n, n_classes) float32.
    """
    pixels, maps = _on_pixels(base, config)
    return keras.Model(pixels, head(_pooled(maps)), name="transfer_model")


def at_side(model: keras.Model, side: int) -> keras.Model:
    """Return a full model that resizes its images to another ``side`` in px; all weights are shared.

    To train at small sides first, progressive resizing, takes less time (Howard 2018, fast.ai; Tan & Le 2021,
    arXiv 2104.00298). Both sides must be multiples of 32: MobileNetV2 and EfficientNet pad for a side that can be
    halved five times.
    """

    def call(layer: layers.Layer, x: keras.KerasTensor, **options) -> keras.KerasTensor:
        if isinstance(layer, layers.Resizing):
            return layers.Resizing.from_config({**layer.get_config(), "height": side, "width": side})(x, **options)
        # A nested model takes maps of one shape. The head takes features, whose shape stays.
        if isinstance(layer, keras.Model) and len(x.shape) == 4:
            pixels = keras.Input(x.shape[1:])
            layer = keras.models.clone_model(layer, input_tensors=pixels, clone_function=lambda each: each)
        return layer(x, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def build_trunk(trunk: keras.Model, config: RunConfig) -> keras.Model:
    """Put resizing and preprocessing before a frozen trunk (shared layers): 0-255 pixels to boundary activations."""
    return keras.Model(*_on_pixels(trunk, config), name="pixel_trunk")


def build_tail_extractor(tail: keras.Model) -> keras.Model:
    """Put pooling after a tail, without its faster layers: boundary activations to features (n, channels).

    The layers are shared.
    """
    boundary = keras.Input(tail.input.shape[1:], name="boundary")
    return keras.Model(boundary, _pooled(tail(boundary)), name="tail_extractor")


def build_tail(tail: keras.Model, head: keras.Model) -> keras.Model:
    """Put pooling and the head after an unfrozen tail (shared layers): boundary activations to probabilities.

    The model is for training: its faster layers suit the layers that are frozen when it is built.
    """
    boundary = keras.Input(tail.input.shape[1:], name="boundary")
    return keras.Model(boundary, head(_pooled(with_fast_layers(tail)(boundary))), name="tail_and_head")


def build_baseline_cnn(n_classes: int = 10, side: int = 32) -> keras.Model:
    """Build the CNN of the tutorials: Conv 32, pool, Conv 64, pool, Flatten, Dense 128, softmax.

    It maps pixels (n, side, side, 3), 0-255, which it rescales to [0, 1] itself, to probabilities (n, n_classes)
    float32. It has 545,098 weights for ten classes at 32 px.
    """
    return keras.Sequential(
        [
            keras.Input((side, side, 3), name="pixels"),
            layers.Rescaling(1 / 255, name="to_zero_one"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dense(n_classes, activation="softmax", name="head"),
        ],
        name="baseline_cnn",
    )


def build_compact_cnn(n_classes: int = 10, side: int = 32) -> keras.Model:
    """Build the compact CNN that is trained from scratch: six 3x3 convolutions with BatchNorm, two of them residual.

    Convolutions of 32, 48, 64, 64 (residual), 128 and 128 (residual) channels, as in the small residual networks of
    DAWNBench (Coleman et al. 2017), with identity shortcuts (He et al. 2016, arXiv 1512.03385); max pooling after the
    first, third and fifth; global max pooling; softmax. It has 303,530 weights for ten classes. It maps pixels
    (n, side, side, 3), 0-255, which it rescales to [-1, 1] itself, to probabilities (n, n_classes) float32.
    """
    pixels = keras.Input((side, side, 3), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="to_minus_one_one")(pixels)
    for number, channels in enumerate((32, 48, 64, 64, 128, 128), start=1):
        before = x
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        if number in (4, 6):
            x = layers.Add(name=f"add{number}")([before, x])
        if number in (1, 3, 5):
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(pixels, layers.Dense(n_classes, activation="softmax", name="head")(x), name="compact_cnn")


BASELINES = {"tutorial": build_baseline_cnn, "compact": build_compact_cnn}


def unfreeze_model_tail(base_model: keras.Model, n_unfreeze: int, batch_norm: str = "frozen") -> Unfrozen:
    """Make the last ``n_unfreeze`` layers of ``base_model`` trainable (-1: all) and freeze the others.

    BatchNorm layers stay frozen, in inference mode, unless ``batch_norm`` is ``"trained"``; then the unfrozen ones are
    trained with momentum 0.9. Compile the model again afterwards.

    Returns:
        The number of trainable layers that have weights, and the number of their trainable weights.

    Raises:
        UserError: ``n_unfreeze`` is not from -1 to the number of layers.
    """
    n = len(base_model.layers) if n_unfreeze == ALL_LAYERS else n_unfreeze
    if not 0 <= n <= len(base_model.layers):
        raise UserError(f"n_unfreeze must be -1 or 0 to {len(base_model.layers)}, got {n_unfreeze}.")
    base_model.trainable = n > 0
    for position, layer in enumerate(base_model.layers):
        is_batch_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = position >= len(base_model.layers) - n and (batch_norm == "trained" or not is_batch_norm)
        if is_batch_norm and layer.trainable:
            layer.momentum = BATCH_NORM_MOMENTUM
    return Unfrozen(sum(bool(layer.trainable_weights) for layer in base_model.layers), count_trainable(base_model))


def count_trainable(model: keras.Model) -> int:
    """Return the number of trainable weights of ``model``."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def batch_norms(model: keras.Model) -> Iterator[layers.BatchNormalization]:
    """Yield every BatchNorm layer of ``model`` and of its nested models, in order."""
    return layers_of(model, layers.BatchNormalization)


def split_at_freeze_boundary(base: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Split a backbone at its freeze boundary: the last layer before the first trainable one that every path passes.

    Returns:
        (trunk, tail): the frozen part and the rest. They share the layers of ``base``, so training the tail trains
        ``base``. The trunk is None if no layer with weights lies before the boundary.
    """
    names = [layer.name for layer in base.layers]
    first = next((i for i, layer in enumerate(base.layers) if layer.trainable_weights), len(names) - 1)
    last_use = _last_use(base)
    cut, furthest = 0, 0
    for i in range(first):
        # No layer after i uses an output from before i, so only the output of layer i crosses the boundary.
        if furthest <= i:
            cut = i
        furthest = max(furthest, last_use[names[i]])
    # The preprocessing inside an EfficientNet is not a trunk: caching its output would save nothing.
    if not any(layer.weights for layer in base.layers[: cut + 1] if not isinstance(layer, layers.Normalization)):
        return None, base
    boundary = base.layers[cut].output
    return keras.Model(base.input, boundary, name="trunk"), keras.Model(boundary, base.output, name="tail")


def _initialize(base: keras.Model, seed: int) -> None:
    """Draw the initial kernels of ``base`` again, so that they depend on ``seed`` alone."""
    seeds = np.random.default_rng(seed).integers(2**31, size=len(base.layers))
    for layer, layer_seed in zip(base.layers, seeds, strict=True):
        initializer = getattr(layer, "depthwise_initializer", None) or getattr(layer, "kernel_initializer", None)
        if initializer is not None:
            options = {**initializer.get_config(), "seed": int(layer_seed)}
            layer.kernel.assign(type(initializer).from_config(options)(layer.kernel.shape, layer.kernel.dtype))


def _on_pixels(base: keras.Model, config: RunConfig) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return an input of 0-255 pixels, and what ``base`` makes of them after resizing and preprocessing."""
    pixels = keras.Input((config.stored_size, config.stored_size, 3), name="pixels")
    # Keras calls Resizing with training=True by default and passes that on to the layers after it: dropout would be
    # active in every plain call of the model.
    x = layers.Resizing(config.image_size, config.image_size, name="resize")(pixels, training=False)
    for layer in build_preprocessing(config.backbone, config.input_range):
        x = layer(x)
    return pixels, base(x)


def _pooled(maps: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling2D(name="pool")(maps)


def _last_use(base: keras.Model) -> dict[str, int]:
    """Return for each layer the position of the last layer that uses its output."""
    position = {layer.name: i for i, layer in enumerate(base.layers)}
    last = dict.fromkeys(position, 0)
    for name, inputs in layer_inputs(base).items():
        for source in inputs:
            last[source] = max(last[source], position[name])
    return last
