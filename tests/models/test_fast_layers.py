"""A network with faster layers has the same outputs and the same gradients."""

from collections.abc import Sequence

import keras
import numpy as np
import pytest
from keras import layers

from tests import tiny
from transfer_utils.models.fast_layers import FoldedConvolution, FusedBatchNorm, PointwiseConvolution, with_fast_layers
from transfer_utils.models.networks import batch_norms, build_baseline_cnn, unfreeze_model_tail
from transfer_utils.training.optimizers import build_optimizer, compile_model

INPUTS = np.random.default_rng(1).uniform(-1, 1, (4, tiny.SIDE, tiny.SIDE, 3)).astype("float32")


def with_statistics(base: keras.Model) -> keras.Model:
    """Give every BatchNorm of ``base`` scales, shifts and statistics that are not 1 and 0."""
    rng = np.random.default_rng(0)
    for layer in batch_norms(base):
        layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.weights])
    for layer in base.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D) and layer.use_bias:
            layer.bias.assign(rng.uniform(-1, 1, layer.bias.shape))
    return base


def norms_in(model: keras.Model) -> tuple[list[str], list[str]]:
    """Return the names of the BatchNorms that are folded into convolutions, and of those that are fused."""
    folded = [layer.batch_norm.name for layer in model.layers if isinstance(layer, FoldedConvolution)]
    return folded, [layer.original.name for layer in model.layers if isinstance(layer, FusedBatchNorm)]


def one_step(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights after one step, and put back those before."""
    before = model.get_weights()
    pooled = keras.Sequential([model, layers.GlobalAveragePooling2D(), layers.Activation("softmax")])
    compile_model(pooled, build_optimizer("SGD", 0.1, 0.0), 0.0)
    pooled.train_on_batch(INPUTS, np.eye(model.output.shape[-1], dtype="float32")[: len(INPUTS)])
    after = tiny.weights_of(model)
    model.set_weights(before)
    return after


def convolutions(batch_norm: str = "frozen", pointwise: Sequence[dict] = ({},)) -> keras.Model:
    """Return a depthwise convolution and some 1 x 1 convolutions with these options, a BatchNorm after each."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((tiny.SIDE, tiny.SIDE, 3))
    x = layers.BatchNormalization(name="norm_1")(layers.DepthwiseConv2D(3, 2, "same", 2, name="conv_1")(pixels))
    for number, options in enumerate(pointwise, start=2):
        x = layers.Conv2D(12, 1, name=f"conv_{number}", **options)(layers.ReLU()(x))
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
    base = with_statistics(keras.Model(pixels, x))
    unfreeze_model_tail(base, -1, batch_norm)
    return base


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norms"), [("MobileNetV2", 52), ("ResNet50", 53), ("InceptionV3", 94), ("EfficientNetB0", 49)]
)
def test_real_backbones_compute_the_same(name, norms):
    side = 75 if name == "InceptionV3" else 32
    base = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(side, side, 3))
    with_statistics(base).trainable = False
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype("float32")
    folded = with_fast_layers(base)
    assert len(norms_in(folded)[0]) == norms
    assert not list(batch_norms(folded))
    expected = np.array(base(inputs))
    assert np.abs(np.array(folded(inputs)) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_a_step_moves_the_same_weights_by_the_same_amount(batch_norm):
    base = convolutions(batch_norm, [{}, {"strides": 2}, {"groups": 3}, {"use_bias": False}])
    before = tiny.weights_of(base)
    expected, found = one_step(base), one_step(with_fast_layers(base))
    for path, value in expected.items():
        change = value - before[path]
        if batch_norm == "trained" and path.startswith("conv") and path.endswith("bias"):
            continue  # BatchNorm takes away what a bias adds: rounding alone moves it
        assert np.abs(found[path] - before[path] - change).max() <= 1e-3 * np.abs(change).max(), path
        assert change.any() == (batch_norm == "trained" or path.startswith("conv")), path


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_the_faster_network_shares_the_weights_of_the_other(batch_norm):
    base = tiny.backbone()
    unfreeze_model_tail(base, -1, batch_norm)
    faster, norms = with_fast_layers(base), ["norm_1", "norm_2", "norm_3"]
    assert norms_in(faster) == ((norms, []) if batch_norm == "frozen" else ([], norms))
    assert [id(w) for w in faster.weights] == [id(w) for w in base.weights], "a checkpoint stores weights by position"


def test_trained_batch_norms_and_pointwise_convolutions_of_mobilenet_are_replaced():
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    unfreeze_model_tail(base, -1, "trained")
    faster = with_fast_layers(base)
    assert [len(names) for names in norms_in(faster)] == [0, 52]
    assert sum(isinstance(layer, PointwiseConvolution) for layer in faster.layers) == 34
    inputs = np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)).astype("float32")
    for training in (False, True):
        expected = np.array(base(inputs, training=training))
        assert np.abs(np.array(faster(inputs, training=training)) - expected).max() < 1e-3 * np.abs(expected).max()


def test_what_the_fused_kernel_cannot_compute_stays_as_it_is():
    features, maps = keras.Input((8,)), keras.Input((8, 8, 3))
    head = keras.Model(features, layers.BatchNormalization()(features))
    unscaled = keras.Model(maps, layers.BatchNormalization(scale=False)(maps))
    for model in (head, unscaled, build_baseline_cnn()):
        assert with_fast_layers(model) is model


def test_a_trainable_batch_norm_and_a_convolution_with_an_activation_are_not_folded():
    base = tiny.backbone()
    unfreeze_model_tail(base, 3, "trained")
    faster = with_fast_layers(base)
    assert norms_in(faster) == (["norm_1", "norm_2"], ["norm_3"])
    assert norms_in(with_fast_layers(convolutions(pointwise=[{"activation": "relu"}]))) == (["norm_1"], [])


def test_dropout_of_layers_that_stay_frozen_is_left_out():
    pixels = keras.Input((8, 8, 3))
    x = layers.Dropout(0.5, name="frozen_drop")(layers.Conv2D(4, 3, name="conv")(pixels))
    frozen = keras.Model(pixels, x)
    frozen.trainable = False
    faster = with_fast_layers(frozen)
    inputs = np.ones((1, 8, 8, 3), "float32")
    assert np.array_equal(faster(inputs, training=True), frozen(inputs, training=False))
    assert not np.array_equal(frozen(inputs, training=True), frozen(inputs, training=False))
    tail = layers.Dropout(0.5, name="tail_drop")(layers.Conv2D(4, 1, name="tail_conv")(x))
    names = [layer.name for layer in with_fast_layers(keras.Model(pixels, tail)).layers]
    assert "tail_drop" in names
    assert "frozen_drop" not in names


def test_unfreezing_a_folded_batch_norm_is_refused():
    base = convolutions()
    folded = with_fast_layers(base)
    unfreeze_model_tail(base, -1, "trained")
    with pytest.raises(ValueError, match="norm_1 must be frozen while it is folded"):
        folded(INPUTS)


def test_a_convolution_with_a_second_user_is_not_folded():
    pixels = keras.Input((8, 8, 3))
    maps = layers.Conv2D(4, 3, name="conv")(pixels)
    norm = layers.BatchNormalization(name="norm")
    base = keras.Model(pixels, layers.Add()([maps, norm(maps)]))
    base.trainable = False
    folded = with_fast_layers(base)
    assert norms_in(folded) == ([], [])
    inputs = np.ones((1, 8, 8, 3), "float32")
    assert np.array_equal(np.array(folded(inputs)), np.array(base(inputs)))
