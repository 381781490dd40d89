"""The architecture of a backbone: parameters and multiply-adds per block, and the receptive field of each layer."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import keras
from keras import layers

# The prefixes of layer names that Keras uses for the blocks of MobileNetV2, ResNet50, VGG16 and the EfficientNets.
BLOCK = re.compile(r"(expanded_conv|block_\d+|conv\d+_block\d+|block\d+[a-z]?)(?=_)")


class BlockCost(NamedTuple):
    """Size and cost of one block."""

    block: str  # its name; ``stem`` comes before the first block, ``top`` after the last
    layers: int
    parameters: int  # including the BatchNorm statistics
    multiply_adds: int  # per image, of the convolutions and dense layers
    shape: tuple[int, ...]  # of the output, (h, w, channels)


class Reach(NamedTuple):
    """Receptive field of one layer."""

    layer: str
    stride: int  # input pixels between two neighbouring positions
    receptive_field: float  # side, in input pixels, of the area behind a position; infinite after global pooling
    side: int  # positions along one side of the map


def cost_by_block(base: keras.Model) -> list[BlockCost]:
    """Count layers, parameters and multiply-adds of each block of a backbone, in the order of its layers.

    If the layer names contain no blocks, as in InceptionV3, the whole backbone is the ``stem``.
    """
    blocks: dict[str, list[layers.Layer]] = {}
    for layer in base.layers:
        if not isinstance(layer, layers.InputLayer):
            match = BLOCK.match(layer.name)
            block = match[0] if match else "top" if blocks.keys() - {"stem"} else "stem"
            blocks.setdefault(block, []).append(layer)
    costs = []
    for block, members in blocks.items():
        parameters = sum(layer.count_params() for layer in members)
        shape = tuple(members[-1].output.shape[1:])
        costs.append(BlockCost(block, len(members), parameters, sum(map(multiply_adds, members)), shape))
    return costs


def multiply_adds(layer: layers.Layer) -> int:
    """Return the number of multiply-adds of a convolution or Dense layer for one image, without biases; else 0."""
    if isinstance(layer, layers.DepthwiseConv2D | layers.Conv2D):
        # Each output position uses every kernel value once; the kernel has shape (h, w, inputs per group, outputs).
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return math.prod(layer.kernel.shape) if isinstance(layer, layers.Dense) else 0


def receptive_field(base: keras.Model) -> list[Reach]:
    """Compute the receptive field of each layer that has a feature map.

    A layer with kernel size k and stride s adds (k - 1) times its input stride to the receptive field and multiplies
    the stride by s; where paths merge, the largest values count (Araujo et al. 2019,
    distill.pub/2019/computing-receptive-fields). This is an upper bound: pixels near the border of the field have
    little weight (Luo et al. 2016, arXiv 1701.04128).
    """
    by_tensor: dict[int, tuple[int, float]] = {}
    table = []
    for layer in base.layers:
        inputs = [by_tensor.get(id(tensor), (1, 1)) for tensor in keras.tree.flatten(layer.input)] or [(1, 1)]
        stride, field = (max(values) for values in zip(*inputs, strict=True))
        kernel_size, layer_stride = _kernel_and_stride(layer)
        field, stride = field + (kernel_size - 1) * stride, stride * layer_stride
        by_tensor[id(layer.output)] = (stride, field)
        if len(layer.output.shape) == 4:
            table.append(Reach(layer.name, stride, field, layer.output.shape[1]))
    return table


def _kernel_and_stride(layer: layers.Layer) -> tuple[float, int]:
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return math.inf, 1
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1, layer.strides[0]
    if isinstance(layer, layers.MaxPooling2D | layers.AveragePooling2D):
        return layer.pool_size[0], layer.strides[0]
    return 1, 1
