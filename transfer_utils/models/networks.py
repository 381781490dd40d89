"""Backbones, heads, freezing, and the baseline.

Every network takes raw 0-255 pixels at the stored side: resizing and the backbone's own preprocessing are layers of the
model, so that no caller can feed it the wrong range. Keras only: any Keras backend will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from transfer_utils.config import ALL_LAYERS, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.batchnorm_folding import fold_batch_norms, layer_inputs
from transfer_utils.models.weights import load_weights

# Keras's MobileNetV2 keeps momentum 0.999: after 1,000 small-batch steps its moving statistics still lag behind the
# weights, and validation reads far below training.
BATCH_NORM_MOMENTUM = 0.9

# Mean colour of ImageNet in the order of the channels that ResNet50 and VGG16 were trained on (blue, green, red).
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


class Unfrozen(NamedTuple):
    """What ``unfreeze_model_tail`` made trainable."""

    layers: int
    weights: int

    def __str__(self) -> str:
        return f"{self.layers} layers with {self.weights:,} weights are trainable"


def build_backbone(config: RunConfig) -> tuple[keras.Model, dict[str, str]]:
    """Build the backbone without its classifier, on preprocessed images of ``image_size``, and load its weights.

    Returns:
        The model, (n, image_size, image_size, 3) float32 to (n, h, w, channels), and where its weights came from.

    Raises:
        UserError: weights that cannot be had or do not fit.
    """
    keras.utils.set_random_seed(config.seed)
    application = getattr(keras.applications, config.backbone)
    width = {"alpha": config.alpha} if config.backbone == "MobileNetV2" else {}
    side = config.image_size
    base = application(include_top=False, weights=None, input_shape=(side, side, 3), **width)
    return base, load_weights(base, config)


def build_preprocessing(backbone: str) -> list[layers.Layer]:
    """Return the layers that turn 0-255 RGB pixels into what ``backbone`` was pretrained on.

    MobileNetV2 and InceptionV3 want [-1, 1]; ResNet50 and VGG16 blue-green-red less the mean colour of ImageNet; the
    EfficientNets carry their own rescaling (keras.io/api/applications).
    """
    if backbone in ("MobileNetV2", "InceptionV3"):
        return [layers.Rescaling(1 / 127.5, offset=-1.0, name="to_minus_one_one")]
    if backbone in ("ResNet50", "VGG16"):
        # A fixed 1x1 convolution swaps the channels and subtracts the mean: a plain layer that any Keras can reload.
        swap = np.eye(3, dtype="float32")[::-1].reshape(1, 1, 3, 3)
        return [
            layers.Conv2D(
                3,
                1,
                trainable=False,
                name="to_bgr_less_mean",
                kernel_initializer=_constant(swap),
                bias_initializer=_constant(-np.array(IMAGENET_MEAN_BGR, "float32")),
            )
        ]
    return []


def build_feature_extractor(config: RunConfig | None = None, base: keras.Model | None = None) -> keras.Model:
    """Build the frozen part: resize, preprocess, backbone, global average pooling.

    Args:
        config: defaults to ``RunConfig()``, MobileNetV2 with ImageNet weights at 160 px.
        base: a backbone to wrap instead of building a new one; its layers are shared.

    Returns:
        Pixels (n, stored_size, stored_size, 3), 0-255, to features (n, channels) float32: 1,280 for MobileNetV2.
    """
    config = config or RunConfig()
    base = base or build_backbone(config)[0]
    base.trainable = False
    pixels = keras.Input((config.stored_size, config.stored_size, 3), name="pixels")
    return keras.Model(pixels, _pooled(_backbone_of(pixels, base, config)), name="feature_extractor")


def build_top_classifier(n_features: int, n_classes: int, config: RunConfig | None = None) -> keras.Model:
    """Build the head: features (n, n_features) to class probabilities (n, n_classes).

    ``head="batchnorm"`` is BatchNorm, Dense(hidden_units, relu) unless that is 0, Dropout, softmax;
    ``head="plain"`` is Dense(256, relu), Dropout(0.5), softmax.
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
    return keras.Model(features, layers.Dense(n_classes, activation="softmax", name="head")(x), name="top_classifier")


def build_full_model(base: keras.Model, head: keras.Model, config: RunConfig) -> keras.Model:
    """Join backbone and head into the model that is saved: 0-255 pixels to class probabilities; layers are shared."""
    pixels = keras.Input((config.stored_size, config.stored_size, 3), name="pixels")
    return keras.Model(pixels, head(_pooled(_backbone_of(pixels, base, config))), name="transfer_model")


def build_trunk(trunk: keras.Model, config: RunConfig) -> keras.Model:
    """Put resize and preprocessing before a frozen trunk: 0-255 pixels to boundary activations; layers are shared."""
    pixels = keras.Input((config.stored_size, config.stored_size, 3), name="pixels")
    return keras.Model(pixels, _backbone_of(pixels, trunk, config), name="pixel_trunk")


def build_tail_extractor(tail: keras.Model) -> keras.Model:
    """Put pooling behind a tail as it is: boundary activations to features (n, channels); layers are shared."""
    boundary = keras.Input(tail.input.shape[1:], name="boundary")
    return keras.Model(boundary, _pooled(tail(boundary)), name="tail_extractor")


def build_tail(tail: keras.Model, head: keras.Model) -> keras.Model:
    """Put pooling and the head behind an unfrozen tail: boundary activations to probabilities; layers are shared.

    Made to be trained: the BatchNorms that are frozen by now are folded into the convolutions before them.
    """
    boundary = keras.Input(tail.input.shape[1:], name="boundary")
    return keras.Model(boundary, head(_pooled(fold_batch_norms(tail)(boundary))), name="tail_and_head")


def build_baseline_cnn(n_classes: int = 10, side: int = 32) -> keras.Model:
    """Build the network that knows nothing: Conv 32, pool, Conv 64, pool, Flatten, Dense 128, softmax.

    Takes 0-255 pixels (n, side, side, 3) and rescales them to [0, 1] itself.
    """
    return keras.Sequential(
        [
            keras.Input((side, side, 3), name="pixels"),
            layers.Rescaling(1 / 255, name="to_zero_one"),
            layers.Conv2D(32, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dense(n_classes, activation="softmax", name="head"),
        ],
        name="baseline_cnn",
    )


def unfreeze_model_tail(base_model: keras.Model, n_unfreeze: int, batch_norm: str = "frozen") -> Unfrozen:
    """Make the last ``n_unfreeze`` layers of ``base_model`` trainable (-1: all) and freeze the others.

    BatchNorm stays frozen, in inference mode, unless ``batch_norm`` is ``"trained"``: then the unfrozen ones learn, at
    a momentum that lets their statistics keep up. The model must be compiled again afterwards; ``training`` does that.

    Returns:
        How many layers that have weights, and how many weights, became trainable.
    """
    n = len(base_model.layers) if n_unfreeze == ALL_LAYERS else n_unfreeze
    if not 0 <= n <= len(base_model.layers):
        raise UserError(f"n_unfreeze must be -1 or 0 to {len(base_model.layers)}, got {n_unfreeze}.")
    base_model.trainable = n > 0
    for position, layer in enumerate(base_model.layers):
        normalises = isinstance(layer, layers.BatchNormalization)
        layer.trainable = position >= len(base_model.layers) - n and (batch_norm == "trained" or not normalises)
        if normalises and layer.trainable:
            layer.momentum = BATCH_NORM_MOMENTUM
    trained = [layer for layer in base_model.layers if layer.trainable_weights]
    return Unfrozen(len(trained), sum(int(np.prod(w.shape)) for layer in trained for w in layer.trainable_weights))


def batch_norms(model: keras.Model) -> Iterator[layers.BatchNormalization]:
    """Yield every BatchNorm of ``model``, also those of the models in it, in order."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            yield layer
        elif hasattr(layer, "layers"):
            yield from batch_norms(layer)


def split_at_freeze_boundary(base: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Split a backbone at the last place before its first trainable layer that every path goes through.

    Returns:
        (trunk, tail): the frozen part and the rest, sharing the layers of ``base``, so that training the tail trains
        ``base``. The trunk is None when nothing that computes lies before the first trainable layer.
    """
    names = [layer.name for layer in base.layers]
    first = next((i for i, layer in enumerate(base.layers) if layer.trainable_weights), len(names) - 1)
    last_use = _last_use(base)
    cut, furthest = 0, 0
    for i in range(first):
        # Everything made before layer i has been used up by layer i: only its own output crosses this place.
        if furthest <= i:
            cut = i
        furthest = max(furthest, last_use[names[i]])
    # Preprocessing that is part of a backbone, as of EfficientNet, is no trunk: caching it would save nothing.
    computing = (layer for layer in base.layers[: cut + 1] if not isinstance(layer, layers.Normalization))
    if not any(layer.weights for layer in computing):
        return None, base
    boundary = base.layers[cut].output
    return keras.Model(base.input, boundary, name="trunk"), keras.Model(boundary, base.output, name="tail")


def _constant(value: np.ndarray) -> keras.initializers.Initializer:
    """Return an initializer that can be saved: Keras's Constant with nested lists in place of an array."""
    return keras.initializers.Constant(value.tolist())


def _backbone_of(pixels: keras.KerasTensor, base: keras.Model, config: RunConfig) -> keras.KerasTensor:
    # Keras gives Resizing training=True by default, and the layers after it take that over: dropout would be at work in
    # every plain call of the model.
    x = layers.Resizing(config.image_size, config.image_size, name="resize")(pixels, training=False)
    for layer in build_preprocessing(config.backbone):
        x = layer(x)
    return base(x)


def _pooled(maps: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling2D(name="pool")(maps)


def _last_use(base: keras.Model) -> dict[str, int]:
    """Return for each layer the position of the last layer that takes its output."""
    position = {layer.name: i for i, layer in enumerate(base.layers)}
    last = dict.fromkeys(position, 0)
    for name, inputs in layer_inputs(base).items():
        for source in inputs:
            last[source] = max(last[source], position[name])
    return last
