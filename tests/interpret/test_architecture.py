"""Costs and receptive fields, compared with the papers and with values computed by hand."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from tests import tiny
from transfer_utils.interpret.architecture import cost_by_block, multiply_adds, receptive_field


@pytest.mark.slow
def test_mobilenet_v2_has_the_costs_of_its_paper():
    """Table 4 of arXiv 1801.04381: 3.4 M parameters and 300 M multiply-adds; figure 2 and table 2: 17 blocks."""
    model = keras.applications.MobileNetV2((224, 224, 3), weights=None)
    costs = cost_by_block(model)
    statistics = sum(int(np.prod(w.shape)) for w in model.non_trainable_weights)
    assert sum(cost.parameters for cost in costs) == model.count_params()
    assert round((model.count_params() - statistics) / 1e6, 1) == 3.5
    assert round(sum(cost.multiply_adds for cost in costs) / 1e6, -1) == 300
    assert [cost.block for cost in costs] == ["stem", "expanded_conv", *(f"block_{i}" for i in range(1, 17)), "top"]
    assert sum(cost.layers for cost in costs) == len(model.layers) - 1  # all except the input layer
    assert (costs[0].shape, costs[-2].shape) == ((112, 112, 32), (7, 7, 320))


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "blocks"), [("VGG16", 5), ("ResNet50", 16)])
def test_other_backbones_have_the_blocks_of_their_papers(backbone, blocks):
    model = getattr(keras.applications, backbone)(include_top=False, weights=None, input_shape=(32, 32, 3))
    costs = cost_by_block(model)
    assert sum(cost.block not in ("stem", "top") for cost in costs) == blocks
    assert sum(cost.parameters for cost in costs) == model.count_params()


def test_multiply_adds_of_each_kind_of_layer():
    pixels = keras.Input((10, 10, 4))
    cases = {
        layers.Conv2D(6, 3): 8 * 8 * 3 * 3 * 4 * 6,
        layers.Conv2D(6, 3, strides=2, padding="same"): 5 * 5 * 3 * 3 * 4 * 6,
        layers.Conv2D(6, 1, groups=2): 10 * 10 * 4 * 6 // 2,
        layers.DepthwiseConv2D(3, padding="same"): 10 * 10 * 3 * 3 * 4,
        layers.ReLU(): 0,
    }
    for layer, expected in cases.items():
        layer(pixels)
        assert multiply_adds(layer) == expected
    dense = layers.Dense(7)
    dense(keras.Input((5,)))
    assert multiply_adds(dense) == 35


def test_receptive_field_is_the_area_that_changes_a_position():
    """All weights are positive, so that a position depends on a pixel exactly if changing the pixel changes it."""
    base = tiny.backbone((96, 96, 3))
    for weight in base.weights:
        weight.assign(np.full(weight.shape, 0.01))
    reach = {row.layer: row for row in receptive_field(base)}
    images = np.zeros((97, 96, 96, 3), "float32")
    for column in range(96):  # the last image stays black
        images[column, :, column] = 1
    middle = reach["conv_3"].side // 2
    outputs = np.array(keras.Model(base.inputs[0], base.get_layer("conv_3").output)(images))[:, middle, middle, 0]
    columns = np.flatnonzero(outputs[:-1] != outputs[-1])
    assert reach["conv_3"].receptive_field == 3 + 2 * 4
    assert columns[-1] - columns[0] + 1 == 11  # with gaps, because the stride is 4
    assert (reach["conv_3"].stride, reach["conv_3"].side) == (8, 12)
    assert reach["add"].receptive_field == 3


def test_receptive_field_is_infinite_after_global_pooling():
    pixels = keras.Input((16, 16, 3))
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, dilation_rate=2, name="dilated")(pixels))
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, layers.Multiply(name="gated")([x, gate]))
    reach = {row.layer: row for row in receptive_field(model)}
    assert reach["dilated"].receptive_field == 5
    assert reach["gated"].receptive_field == math.inf
    assert reach["gated"].stride == 2
