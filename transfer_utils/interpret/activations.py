"""What a network sees: feature maps, Grad-CAM, the images that excite a channel, and what each depth is good for.

Models here take 0-255 pixels: what ``build_full_model``, ``build_feature_extractor`` or ``build_baseline_cnn`` gives.
Layers are named as in the backbone, or in the model itself where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.data.splits import Dataset, Split
from transfer_utils.errors import UserError, nearest
from transfer_utils.evaluation import wilson_interval
from transfer_utils.features import extract_features
from transfer_utils.models.networks import batch_norms
from transfer_utils.training.linear_head import solve_head

MAPS_BATCH = 32  # images whose maps are computed at once
PROBE_HOLD_OUT = 0.2  # share of the training images that chooses the probe's L2 strength


class Probe(NamedTuple):
    """How well a linear classifier does on one layer's pooled activations; accuracies are fractions."""

    layer: str
    channels: int
    accuracy: float
    low: float
    high: float


def grad_cam(
    model: keras.Model, image: np.ndarray, class_index: int | None = None, layer_name: str | None = None
) -> np.ndarray:
    """Show where the evidence for a class lies (Grad-CAM, Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2).

    Each map is weighted by the mean gradient of the class's logit over its positions; what is left above 0 of their sum
    speaks for the class. It is as coarse as the maps: 5 x 5 places for MobileNetV2 at 160 px.

    Args:
        model: pixels to class probabilities; the last layer is a ``Dense`` with softmax.
        image: (h, w, 3), 0-255, at the side that the model takes.
        class_index: which class; the predicted one when left out.
        layer_name: the layer whose maps are weighted; the last ones before pooling when left out.

    Returns:
        Heatmap (h, w) float32 in [0, 1], its largest value 1; all 0 where nothing speaks for the class.

    Raises:
        UserError: no such layer or class, an image of another shape, a model that ends otherwise, or a backend of Keras
            other than TensorFlow, which takes the gradient here.
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
    if layer_name and not any(isinstance(step, keras.Model) for step in steps):
        _tapped(model, [layer_name])  # says so where there is no such layer
    with tf.GradientTape() as tape:
        x = tf.convert_to_tensor(pixels)
        tape.watch(x)  # or a frozen backbone would leave nothing on the tape
        for step in steps:
            if layer_name and isinstance(step, keras.Model):
                maps, x = _tapped(step, [layer_name])(x, training=False)
                continue
            x = step(x, training=False)
            if step.name == layer_name or (not layer_name and len(x.shape) == 4):
                maps = x
        # The logit, not the probability: softmax would mix in the gradients of the other classes.
        logits = keras.ops.matmul(x, last.kernel) + last.bias
        chosen = int(np.argmax(logits[0])) if class_index is None else class_index
        score = logits[0, chosen]
    weights = keras.ops.mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat = keras.ops.relu(keras.ops.sum(weights * maps, axis=-1, keepdims=True))
    heat = keras.ops.convert_to_numpy(keras.ops.image.resize(heat, pixels.shape[1:3]))[0, :, :, 0]
    return heat / heat.max() if heat.max() > 0 else heat


def feature_maps(model: keras.Model, images: np.ndarray, layer_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what the named layers give for ``images``.

    Args:
        model: any model on 0-255 pixels; a backbone alone would miss its resizing and preprocessing.
        images: (n, side, side, 3), 0-255, few: maps of early layers at 160 px take a megabyte an image.

    Returns:
        By layer name, float32 (n, h, w, channels).

    Raises:
        UserError: an unknown layer, with the nearest name, or images of another shape.
    """
    pixels, tapped = _checked(model, images), _from_pixels(model, layer_names)
    starts = range(0, len(pixels), MAPS_BATCH)
    parts = [keras.tree.flatten(tapped(pixels[i : i + MAPS_BATCH], training=False)) for i in starts]
    maps = [np.concatenate([keras.ops.convert_to_numpy(part[k]) for part in parts]) for k in range(len(layer_names))]
    return dict(zip(layer_names, maps, strict=True))


def pooled_activations(
    model: keras.Model, split: Split, config: RunConfig, layer_names: Sequence[str], pool: str = "mean"
) -> dict[str, np.ndarray]:
    """Return one number a channel for each image and layer, computed once for all layers and cached.

    Args:
        model: as in ``feature_maps``.
        split: the images; ``Split.part`` makes a smaller one.
        pool: ``"mean"`` or ``"max"`` over the positions of a map.

    Returns:
        By layer name, float32 (n, channels).

    Raises:
        UserError: an unknown layer or pool.
    """
    pools = {"mean": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    if pool not in pools:
        raise UserError(f"pool must be 'mean' or 'max', got {pool!r}.")
    tapped = _from_pixels(model, layer_names)
    columns = [pools[pool]()(maps) for maps in tapped.outputs]
    joined = columns[0] if len(columns) == 1 else keras.layers.Concatenate()(columns)
    found = extract_features(keras.Model(tapped.inputs[0], joined), split, config)
    ends = np.cumsum([column.shape[-1] for column in columns])
    return {
        name: np.asarray(part, "float32")
        for name, part in zip(layer_names, np.split(found, ends[:-1], axis=1), strict=True)
    }


def probe_by_depth(
    model: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    layer_names: Sequence[str],
    max_train: int = 5000,
    max_validation: int = 2000,
) -> list[Probe]:
    """Train a linear probe on each layer's mean-pooled activations (Alain & Bengio 2016, arXiv 1610.01644).

    The probe is softmax regression. A fifth of the training images chooses its L2 strength, so that the validation
    images only judge it.

    Args:
        model: as in ``feature_maps``; its weights are left alone.
        most_train, most_validation: images used at most, the first ones of each split.

    Returns:
        One ``Probe`` a layer, with the accuracy on validation and its 95 % interval, in the order of the names.
    """
    train = dataset.train.part(np.arange(min(max_train, len(dataset.train))))
    judge = dataset.validation.part(np.arange(min(max_validation, len(dataset.validation))))
    one_hot = np.eye(len(dataset.class_names), dtype="float32")
    # By class and in turn, so that every class is in both parts even with a handful of labels each.
    place = np.empty(len(train), int)
    place[np.argsort(train.labels, kind="stable")] = np.arange(len(train))
    chooses = place % round(1 / PROBE_HOLD_OUT) == 0
    learned, judged = (pooled_activations(model, split, config, layer_names) for split in (train, judge))
    probes = []
    for name in layer_names:
        fit, choose = ((learned[name][rows], one_hot[train.labels[rows]]) for rows in (~chooses, chooses))
        head = solve_head(fit, choose)
        logits = (judged[name] - head.mean) / head.deviation @ head.kernel + head.bias
        hits = int((logits.argmax(axis=1) == judge.labels).sum())
        probes.append(Probe(name, learned[name].shape[1], hits / len(judge), *wilson_interval(hits, len(judge))))
    return probes


def settle_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Set the moving statistics of every BatchNorm to those of ``images``, layer after layer; weights stay.

    A network with random weights begins with means of 0 and variances of 1. Each block then makes the numbers smaller,
    until a probe has nothing left to read.

    Args:
        model: a frozen network on 0-255 pixels, such as ``build_feature_extractor`` makes.
        images: (n, side, side, 3), 0-255, some hundreds.
    """
    pixels = _checked(model, images).astype("float32")
    base = next(step for step in _steps(model) if isinstance(step, keras.Model))
    layers = list(batch_norms(base))
    before = [layer.momentum for layer in layers]
    base.trainable = True  # a frozen BatchNorm keeps its statistics, whatever training says
    for layer in layers:
        layer.momentum = 0.0
    model(pixels, training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    base.trainable = False


def liveliest_channels(maps: np.ndarray, k: int = 8) -> np.ndarray:
    """Return the ``k`` channels of a map (h, w, channels) that differ most from place to place, the liveliest first."""
    return np.argsort(-np.asarray(maps).std(axis=(0, 1)), kind="stable")[:k]


def most_activating(strength: np.ndarray, k: int = 8) -> np.ndarray:
    """Return which images move each channel most, the strongest first.

    Args:
        strength: (n, channels), such as ``pooled_activations(..., pool="max")`` of one layer.
        k: images a channel.

    Returns:
        Positions (channels, min(k, n)) int.
    """
    return np.argsort(-np.asarray(strength), axis=0, kind="stable")[:k].T


def _checked(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the images as float32, or say how their shape differs from what the model takes."""
    images, shape = np.asarray(images), tuple(model.inputs[0].shape[1:])
    if images.shape[1:] != shape:
        raise UserError(f"images must have shape {shape} each, as the model takes them, got {images.shape[1:]}.")
    return images.astype("float32")


def _from_pixels(model: keras.Model, layer_names: Sequence[str]) -> keras.Model:
    """Return a model from pixels to what the named layers give; layers are shared."""
    pixels = keras.Input(model.inputs[0].shape[1:], name="pixels")
    x = pixels
    for step in _steps(model):
        if isinstance(step, keras.Model):
            return keras.Model(pixels, _tapped(step, layer_names)(x)[:-1])
        x = step(x)
    return keras.Model(model.inputs[0], _tapped(model, layer_names).outputs[:-1])


def _tapped(holder: keras.Model, layer_names: Sequence[str]) -> keras.Model:
    """Return a model from the holder's input to what the named layers give and, last, to the holder's own output."""
    known = [layer.name for layer in holder.layers]
    for name in layer_names:
        if name not in known:
            raise UserError(f"There is no layer {name!r} in {holder.name}.{nearest(name, known)}")
    outputs = [holder.get_layer(name).output for name in layer_names]
    return keras.Model(holder.inputs[0], [*outputs, *holder.outputs])


def _steps(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model one after the other; the backbone is one step, the head's layers are several."""
    steps = []
    for layer in model.layers:
        if isinstance(layer, keras.Model) and len(layer.output.shape) == 2:
            steps += _steps(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            steps.append(layer)
    return steps
