"""Frozen BatchNorms computed inside the convolutions before them, as inference engines do, while the network trains.

A frozen BatchNorm multiplies each channel by a constant and adds another (Ioffe & Szegedy 2015). Scaling the kernel
instead, a few thousand numbers, gives the same outputs and gradients, and saves two passes over every activation.
"""

from __future__ import annotations

import keras
from keras import layers, ops


class FoldedConvolution(layers.Layer):
    """A convolution and the frozen BatchNorm after it, in one step; both keep their own weights.

    Args:
        convolution: a ``Conv2D`` or ``DepthwiseConv2D`` without an activation, channels last.
        batch_norm: one that is not trainable, nor will be.

    Raises:
        ValueError: it has become trainable by the time of a call.
    """

    def __init__(self, convolution: layers.Layer, batch_norm: layers.BatchNormalization) -> None:
        super().__init__(name=f"{convolution.name}_folded")
        self.convolution, self.batch_norm = convolution, batch_norm
        self.built = True

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        convolution, norm = self.convolution, self.batch_norm
        if norm.trainable:
            raise ValueError(f"{norm.name} was frozen when it was folded and is not now: fold the network again.")
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.gamma is not None:
            scale = scale * norm.gamma
        shift = -norm.moving_mean if convolution.bias is None else convolution.bias - norm.moving_mean
        shift = shift * scale
        if norm.beta is not None:
            shift = shift + norm.beta
        kernel = convolution.kernel
        how = (convolution.strides, convolution.padding, convolution.data_format, convolution.dilation_rate)
        # ``ops.add`` rather than ``+``: TensorFlow then fuses convolution, shift and activation.
        if isinstance(convolution, layers.DepthwiseConv2D):
            kernel = kernel * ops.reshape(scale, kernel.shape[2:])
            return ops.add(ops.depthwise_conv(maps, kernel, *how), shift)
        if _is_matrix(convolution):
            # On a CPU, a matrix product is faster than the convolution that it is, above all backwards.
            rows = ops.matmul(ops.reshape(maps, (-1, maps.shape[-1])), kernel[0, 0] * scale)
            return ops.reshape(ops.add(rows, shift), (-1, *maps.shape[1:-1], rows.shape[-1]))
        return ops.add(ops.conv(maps, kernel * scale, *how), shift)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return self.convolution.compute_output_shape(input_shape)


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """Return ``model`` with each frozen BatchNorm folded into the convolution before it, where nothing else uses that.

    All layers are shared: what the returned model learns, ``model`` has learned. Fold after freezing, and again after
    freezing differently.
    """
    pairs = _foldable(model)
    folded = {norm.name for norm in pairs.values()}

    def call(layer: layers.Layer, maps: keras.KerasTensor, *others, **options) -> keras.KerasTensor:
        if layer.name in pairs:
            return FoldedConvolution(layer, pairs[layer.name])(maps)
        return maps if layer.name in folded else layer(maps, *others, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def layer_inputs(model: keras.Model) -> dict[str, list[str]]:
    """Return for each layer of ``model``, by name, the layers whose outputs it takes."""
    described = model.get_config()["layers"]
    return {layer["name"]: [name for name, _ in tensors_in(layer["inbound_nodes"])] for layer in described}


def _foldable(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Return the frozen BatchNorm behind each convolution that nothing else uses, by the convolution's name."""
    inputs = layer_inputs(model)
    uses = [name for names in inputs.values() for name in names]
    pairs = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization) or norm.trainable:
            continue
        (name,) = inputs[norm.name]
        before = model.get_layer(name)
        if type(before) in (layers.Conv2D, layers.DepthwiseConv2D) and uses.count(name) == 1 and _is_linear(before):
            pairs[name] = norm
    return pairs


def _is_linear(convolution: layers.Layer) -> bool:
    return convolution.activation is keras.activations.linear and convolution.data_format == "channels_last"


def _is_matrix(convolution: layers.Conv2D) -> bool:
    return convolution.kernel_size == convolution.strides == (1, 1) and convolution.groups == 1


def tensors_in(value: object) -> list[tuple[str, int]]:
    """Collect from a serialised call which tensors it takes: the name of the layer, and which of its outputs."""
    if isinstance(value, dict):
        if "keras_history" in value:
            name, _, tensor = value["keras_history"]
            return [(name, tensor)]
        return [found for item in value.values() for found in tensors_in(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in tensors_in(item)]
    return []
