"""BatchNorm folding: frozen BatchNorms are computed inside the convolutions before them while the network trains.

A frozen BatchNorm multiplies each channel by a constant and adds another (Ioffe & Szegedy 2015, arXiv 1502.03167).
Scaling the kernel instead, a few thousand numbers, gives the same outputs and gradients and saves two passes over every
activation. Inference engines do the same once, for good.
"""

from __future__ import annotations

import keras
from keras import layers, ops


class FoldedConvolution(layers.Layer):
    """A convolution and the frozen BatchNorm after it, in one step; both keep their own weights.

    Args:
        convolution: a ``Conv2D`` or ``DepthwiseConv2D`` without an activation, channels last.
        batch_norm: the BatchNorm after it; it must stay frozen.

    Raises:
        ValueError: the BatchNorm is trainable at the time of a call.
    """

    def __init__(self, convolution: layers.Layer, batch_norm: layers.BatchNormalization) -> None:
        super().__init__(name=f"{convolution.name}_folded")
        self.convolution, self.batch_norm = convolution, batch_norm
        self.built = True

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        convolution, norm = self.convolution, self.batch_norm
        if norm.trainable:
            raise ValueError(
                f"{norm.name} must be frozen while it is folded, got trainable=True: fold the network again."
            )
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.gamma is not None:
            scale = scale * norm.gamma
        shift = -norm.moving_mean if convolution.bias is None else convolution.bias - norm.moving_mean
        shift = shift * scale
        if norm.beta is not None:
            shift = shift + norm.beta
        kernel = convolution.kernel
        geometry = (convolution.strides, convolution.padding, convolution.data_format, convolution.dilation_rate)
        # ``ops.add`` rather than ``+``: TensorFlow then fuses convolution, shift and activation.
        if isinstance(convolution, layers.DepthwiseConv2D):
            kernel = kernel * ops.reshape(scale, kernel.shape[2:])
            return ops.add(ops.depthwise_conv(maps, kernel, *geometry), shift)
        if _is_matrix(convolution):
            # A 1x1 convolution is a matrix product, which a CPU computes faster as such, above all backwards.
            rows = ops.matmul(ops.reshape(maps, (-1, maps.shape[-1])), kernel[0, 0] * scale)
            return ops.reshape(ops.add(rows, shift), (-1, *maps.shape[1:-1], rows.shape[-1]))
        return ops.add(ops.conv(maps, kernel * scale, *geometry), shift)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return self.convolution.compute_output_shape(input_shape)


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """Return ``model`` with each frozen BatchNorm folded into the convolution before it.

    Convolutions whose output something else uses as well are left as they are. All layers are shared: training the
    returned model trains ``model``. Call it after freezing, and again after every change of ``trainable``.
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
    """Return the frozen BatchNorm after each convolution that nothing else uses, by the name of the convolution."""
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
    """Return the tensors that a serialised call takes: the name of the layer, and which of its outputs."""
    if isinstance(value, dict):
        if "keras_history" in value:
            name, _, tensor = value["keras_history"]
            return [(name, tensor)]
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []
