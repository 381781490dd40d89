"""Activations of a network: feature maps, Grad-CAM, and linear probes by depth.

The models take 0-255 pixels, as do those of ``build_full_model``, ``build_feature_extractor`` and
``build_baseline_cnn``. Layer names are those of the backbone, or of the model itself if it has no backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.dataset import Dataset, Split
from transfer_utils.errors import UserError, nearest
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.features import extract_features
from transfer_utils.models.networks import batch_norms
from transfer_utils.training.linear_head import solve_head

MAX_VALIDATION = 2000  # images that measure a probe


class Probe(NamedTuple):
    """Accuracy of a linear classifier on the pooled activations of one layer, in [0, 1], with its 95 % interval."""

    layer: str
    channels: int
    accuracy: float
    low: float
    high: float


def grad_cam(model: keras.Model, image: np.ndarray, class_index: int | None = None) -> np.ndarray:
    """Compute a heatmap of the evidence for a class (Grad-CAM, Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2).

    Each map is weighted by the mean gradient of the class logit over its positions; the heatmap is the positive part of
    the weighted sum. Its resolution is that of the maps: 5 x 5 positions for MobileNetV2 at 160 px.

    Args:
        model: pixels to class probabilities; the last layer is a ``Dense`` with softmax.
        image: (h, w, 3), 0-255, of the input size of the model.
        class_index: the class to explain; by default, the predicted class.

    Returns:
        Heatmap (h, w) float32 in [0, 1] with maximum 1; all 0 if no position supports the class.

    Raises:
        UserError: a class out of range, an image of the wrong shape, a model that does not end in a ``Dense``
            layer or has no layer with maps, or a Keras backend other than TensorFlow, which computes the gradient.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"grad_cam needs the tensorflow backend of Keras, this is {keras.backend.backend()}.")
    import tensorflow as tf

    pixels = _checked(model, np.asarray(image)[None])
    *steps, last = _steps(model)
    if not isinstance(last, keras.layers.Dense):
        raise UserError(f"model must end in a Dense layer, got {type(last).__name__}.")
    if class_index is not None and not 0 <= class_index < last.units:
        raise UserError(f"class_index must be from 0 to {last.units - 1}, got {class_index}.")
    at = max((place for place, step in enumerate(steps) if len(step.output.shape) == 4), default=None)
    if at is None:
        raise UserError("Grad-CAM needs a layer with maps (h, w, channels), such as a convolution; there is none.")
    # Not the layer's own output: that of a nested backbone is not in the graph of the model.
    maps = keras.Model(model.inputs, steps[at + 1].input)([pixels], training=False)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        x = maps
        for step in steps[at + 1 :]:
            x = step(x, training=False)
        # The logit, not the probability: softmax would mix in the gradients of the other classes.
        logits = keras.ops.matmul(x, last.kernel) + last.bias
        score = logits[0, int(np.argmax(logits[0])) if class_index is None else class_index]
    weights = keras.ops.mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat = keras.ops.relu(keras.ops.sum(weights * maps, axis=-1, keepdims=True))
    heat = keras.ops.convert_to_numpy(keras.ops.image.resize(heat, pixels.shape[1:3]))[0, :, :, 0]
    return heat / heat.max() if heat.max() > 0 else heat


def feature_maps(model: keras.Model, images: np.ndarray, layer_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Compute the outputs of the named layers for ``images``.

    Args:
        model: a model on 0-255 pixels; a bare backbone lacks the resizing and the preprocessing.
        images: (n, side, side, 3), 0-255; only a few, as the maps of an early layer at 160 px take 1 MB per image.

    Returns:
        float32 (n, h, w, channels) by layer name.

    Raises:
        UserError: an unknown layer, or images of the wrong shape.
    """
    pixels = _checked(model, images)
    maps = keras.tree.flatten(_from_pixels(model, layer_names)(pixels, training=False))
    return dict(zip(layer_names, map(keras.ops.convert_to_numpy, maps), strict=True))


def pooled_activations(
    model: keras.Model, split: Split, config: RunConfig, layer_names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Compute the mean activation of each channel over the positions; the result is cached.

    Args:
        model: as in ``feature_maps``.
        split: the images; ``Split.part`` selects fewer.

    Returns:
        float32 (n, channels) by layer name.

    Raises:
        UserError: an unknown layer.
    """
    extractor = _from_pixels(model, layer_names)
    pooled = [keras.layers.GlobalAveragePooling2D()(maps) for maps in extractor.outputs]
    joined = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate()(pooled)
    features = extract_features(keras.Model(extractor.inputs[0], joined), split, config)
    ends = np.cumsum([tensor.shape[-1] for tensor in pooled])
    columns = np.split(features, ends[:-1], axis=1)
    return {name: np.asarray(part, "float32") for name, part in zip(layer_names, columns, strict=True)}


def probe_by_depth(
    model: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    layer_names: Sequence[str],
    max_train: int = 5000,
) -> list[Probe]:
    """Train a linear probe on the mean-pooled activations of each layer (Alain & Bengio 2016, arXiv 1610.01644).

    The probe is softmax regression. A fifth of the training images selects its L2 strength, so the validation images
    only measure its accuracy.

    Args:
        model: as in ``feature_maps``; its weights do not change.
        max_train: maximum number of training images, from the start of the split; at most 2,000 of the
            validation images measure.

    Returns:
        One ``Probe`` per layer, in the order of ``layer_names``.
    """
    train = dataset.train.part(np.arange(min(max_train, len(dataset.train))))
    validation = dataset.validation.part(np.arange(min(MAX_VALIDATION, len(dataset.validation))))
    one_hot = train.one_hot(len(dataset.class_names))
    # Every fifth image of each class selects, so that both parts have every class even with a handful of labels.
    rank = np.empty(len(train), int)
    rank[np.argsort(train.labels, kind="stable")] = np.arange(len(train))
    selects = rank % 5 == 0
    x_train, x_validation = (pooled_activations(model, split, config, layer_names) for split in (train, validation))
    probes = []
    for name, x in x_train.items():
        head = solve_head((x[~selects], one_hot[~selects]), (x[selects], one_hot[selects]))
        predicted = head.probabilities(x_validation[name]).argmax(axis=1)
        correct, n = int((predicted == validation.labels).sum()), len(validation)
        probes.append(Probe(name, x.shape[1], correct / n, *wilson_interval(correct, n)))
    return probes


def settle_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Re-estimate the moving mean and variance of every BatchNorm layer on ``images``; all other weights stay the same.

    A network with random weights starts with means of 0 and variances of 1. Its activations then shrink from block to
    block until a linear probe cannot read them. The method is re-estimation (Wu & Johnson 2021, arXiv 2105.07576) on
    one batch. The backbone, or a model without one, is frozen afterwards.

    Args:
        model: a network on 0-255 pixels, such as ``build_feature_extractor`` returns.
        images: (n, side, side, 3), 0-255; a few hundred.

    Raises:
        UserError: images of the wrong shape.
    """
    pixels = _checked(model, images)
    base = next((step for step in _steps(model) if isinstance(step, keras.Model)), model)
    layers = list(batch_norms(base))
    momenta = [layer.momentum for layer in layers]
    base.trainable = True  # a frozen BatchNorm layer runs in inference mode even with training=True
    for layer in layers:
        layer.momentum = 0.0
    model(pixels, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    base.trainable = False


def liveliest_channels(maps: np.ndarray, k: int = 8) -> np.ndarray:
    """Return the indices, int (k,), of the channels of ``maps`` (h, w, channels) that vary most, the largest first."""
    return np.argsort(-np.asarray(maps).std(axis=(0, 1)), kind="stable")[:k]


def _checked(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the images as float32; raise ``UserError`` if the model takes another shape."""
    images, shape = np.asarray(images), tuple(model.inputs[0].shape[1:])
    if images.shape[1:] != shape:
        raise UserError(f"images must have shape {shape} each, as the model takes them, got {images.shape[1:]}.")
    return images.astype("float32")


def _from_pixels(model: keras.Model, layer_names: Sequence[str]) -> keras.Model:
    """Return a model from pixels to the outputs of the named layers; it shares the layers of ``model``."""
    steps = _steps(model)
    backbone = next((step for step in steps if isinstance(step, keras.Model)), None)
    if backbone is None:
        return keras.Model(model.inputs[0], _with_layers(model, layer_names).outputs[:-1])
    pixels = keras.Input(model.inputs[0].shape[1:], name="pixels")
    x = pixels
    for step in steps[: steps.index(backbone)]:
        x = step(x)
    return keras.Model(pixels, _with_layers(backbone, layer_names)(x)[:-1])


def _with_layers(model: keras.Model, layer_names: Sequence[str]) -> keras.Model:
    """Return a model with the outputs of the named layers, followed by those of ``model``."""
    known = [layer.name for layer in model.layers]
    for name in layer_names:
        if name not in known:
            raise UserError(f"There is no layer {name!r} in {model.name}.{nearest(name, known)}")
    outputs = [model.get_layer(name).output for name in layer_names]
    return keras.Model(model.inputs[0], [*outputs, *model.outputs])


def _steps(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model in order, with the backbone as one layer and the head as its own layers."""
    steps = []
    for layer in model.layers:
        if isinstance(layer, keras.Model) and len(layer.output.shape) == 2:
            steps += _steps(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            steps.append(layer)
    return steps
