"""What a backbone is made of: weights and multiply-adds block by block, and how much of the image each layer sees."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import keras
from keras import layers

# How Keras names the layers of a block in MobileNetV2, ResNet50, and VGG16 and the EfficientNets.
BLOCK = re.compile(r"(expanded_conv|block_\d+|conv\d+_block\d+|block\d+[a-z]?)(?=_)")


class BlockCost(NamedTuple):
    """What one block holds and does for one image.

    Attributes:
        block: its name; ``stem`` is what comes before the first block and ``top`` what comes after the last.
        layers: how many.
        parameters: weights, the BatchNorm statistics included.
        multiply_adds: of its convolutions and dense layers.
        shape: of what it gives, (h, w, channels).
    """

    block: str
    layers: int
    parameters: int
    multiply_adds: int
    shape: tuple[int, ...]


class Reach(NamedTuple):
    """How much of the image one layer's output sees.

    Attributes:
        stride: pixels of the input between two neighbouring positions.
        receptive_field: side in pixels of the input that one position can depend on; infinite once a layer pools all.
        side: positions along one side of the map.
    """

    layer: str
    stride: int
    receptive_field: float
    side: int


def cost_by_block(base: keras.Model) -> list[BlockCost]:
    """Count layers, parameters and multiply-adds of each block of a backbone, in the order of its layers.

    A backbone whose layers name no block, such as InceptionV3, is all ``stem``.
    """
    costs: dict[str, BlockCost] = {}
    for layer in base.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        match = BLOCK.match(layer.name)
        block = match[0] if match else "top" if costs.keys() - {"stem"} else "stem"
        so_far = costs.get(block, BlockCost(block, 0, 0, 0, ()))
        costs[block] = BlockCost(
            block,
            so_far.layers + 1,
            so_far.parameters + layer.count_params(),
            so_far.multiply_adds + multiply_adds(layer),
            tuple(layer.output.shape[1:]),
        )
    return list(costs.values())


def multiply_adds(layer: layers.Layer) -> int:
    """Return the multiplications, each with its addition, that a layer does for one image; biases are not counted."""
    if isinstance(layer, layers.DepthwiseConv2D | layers.Conv2D):
        # Every output position uses each number of the kernel once; kernels hold (h, w, in per group, out).
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return math.prod(layer.kernel.shape) if isinstance(layer, layers.Dense) else 0


def receptive_field(base: keras.Model) -> list[Reach]:
    """Follow how the receptive field grows from layer to layer.

    A layer with a kernel of k and a stride of s adds (k - 1) steps of its input and makes the step s times as long.
    Where paths meet, the widest counts (Araujo et al. 2019, distill.pub/2019/computing-receptive-fields). It is the
    most that a position can depend on; the pixels at its border hardly weigh.
    """
    seen: dict[int, tuple[int, float]] = {}
    table = []
    for layer in base.layers:
        sources = [seen[id(tensor)] for tensor in keras.tree.flatten(layer.input) if id(tensor) in seen] or [(1, 1)]
        step, field = (max(values) for values in zip(*sources, strict=True))
        kernel, stride = _kernel_and_stride(layer)
        field, step = field + (kernel - 1) * step, step * stride
        seen[id(layer.output)] = (step, field)
        if len(layer.output.shape) == 4:
            table.append(Reach(layer.name, step, field, layer.output.shape[1]))
    return table


def _kernel_and_stride(layer: layers.Layer) -> tuple[float, int]:
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return math.inf, 1
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1, layer.strides[0]
    if isinstance(layer, layers.MaxPooling2D | layers.AveragePooling2D):
        return layer.pool_size[0], layer.strides[0]
    return 1, 1
