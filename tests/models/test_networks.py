"""Frozen weights stay unchanged in training, and the trunk and tail of a backbone together equal the backbone."""

import functools
import sys

import keras
import numpy as np
import pytest

from tests import tiny
from transfer_utils.config.options import ALL_LAYERS, Backbone, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.fast_layers import FoldedConvolution
from transfer_utils.models.networks import (
    at_side,
    build_backbone,
    build_baseline_cnn,
    build_compact_cnn,
    build_full_model,
    build_preprocessing,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.training.optimizers import build_optimizer, compile_model

NORM = ("gamma", "beta", "moving_mean", "moving_variance")
SMALLEST = {"MobileNetV2": 32, "InceptionV3": 75}


@functools.cache
def network(name: str) -> keras.Model:
    """Return a real backbone with random weights, which the tests of this file share."""
    return build_backbone(RunConfig(backbone=name, weights="random", image_size=SMALLEST[name]))[0]


def pixels(n: int) -> np.ndarray:
    return tiny.split(n=n).store


def one_step(model: keras.Model, inputs: np.ndarray) -> None:
    """Train for one step with a learning rate that changes every trainable weight."""
    compile_model(model, build_optimizer("SGD", 0.1, 0.0), 0.0)
    model.train_on_batch(inputs.astype("float32"), np.eye(2, dtype="float32")[np.arange(len(inputs)) % 2])


@pytest.mark.parametrize(
    ("backbone", "weights", "side", "larger"),
    [
        ("MobileNetV2", "letters", 32, 64),
        pytest.param("EfficientNetV2B0", "random", 32, 64, marks=pytest.mark.slow),
        pytest.param("InceptionV3", "random", 96, 128, marks=pytest.mark.slow),
    ],
)
def test_a_network_at_another_side_is_the_one_built_for_it_and_shares_the_weights(backbone, weights, side, larger):
    small, large = (RunConfig(backbone=backbone, weights=weights, image_size=size) for size in (side, larger))
    of_small, of_large = build_backbone(small)[0], build_backbone(large)[0]
    head = build_top_classifier(of_large.output.shape[-1], 2, large)
    whole, expected = build_full_model(of_large, head, large), build_full_model(of_small, head, small)
    clone = at_side(whole, side)
    for kind in ("weights", "trainable_variables"):
        assert all(one is other for one, other in zip(getattr(clone, kind), getattr(whole, kind), strict=True))
    images = pixels(4).astype("float32")
    assert np.allclose(clone(images), expected(images), atol=1e-5)
    if weights == "letters":  # random weights give almost the same features at every side
        assert not np.allclose(clone(images), whole(images), atol=1e-3)


@pytest.mark.parametrize(
    ("n_unfreeze", "batch_norm", "expected"),
    [
        (0, "trained", set()),
        (3, "frozen", {"conv_3/kernel"}),
        (3, "trained", {"conv_3/kernel", *(f"norm_3/{name}" for name in NORM)}),
        (ALL_LAYERS, "frozen", {f"conv_{i}/kernel" for i in (1, 2, 3)}),
    ],
)
def test_training_changes_only_unfrozen_weights(n_unfreeze, batch_norm, expected):
    config, base = tiny.config(), tiny.backbone()
    head = build_top_classifier(16, 2, config)
    model = build_full_model(base, head, config)
    unfrozen = unfreeze_model_tail(base, n_unfreeze, batch_norm)
    before, head_before = tiny.weights_of(base), tiny.weights_of(head)
    one_step(model, pixels(8))
    assert tiny.moved(before, base) == expected
    assert any("kernel" in path for path in tiny.moved(head_before, head))
    trained = {path: value.size for path, value in before.items() if path in expected and "moving" not in path}
    assert unfrozen == (len({path.split("/")[0] for path in trained}), sum(trained.values()))
    lowered = [base.get_layer(f"norm_{i}").momentum == 0.9 for i in (1, 2, 3)]
    assert lowered == [f"norm_{i}/gamma" in expected for i in (1, 2, 3)], "only of trained BatchNorms"


def test_unfreezing_returns_the_number_of_trainable_layers_and_weights():
    base = network("MobileNetV2")
    assert str(unfreeze_model_tail(base, 30)) == "10 layers with 284,144 weights are trainable"
    assert str(unfreeze_model_tail(base, 3)) == "1 layer with 143,360 weights is trainable"
    assert [layer.trainable for layer in base.layers[:-30]] == [False] * 124
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert not any(layer.trainable for layer in norms) and {layer.momentum for layer in norms} == {0.999}


@pytest.mark.parametrize("n", [-2, 11, 154])
def test_n_unfreeze_must_not_exceed_the_number_of_layers(n):
    with pytest.raises(UserError, match=f"n_unfreeze must be -1 or 0 to 10, got {n}."):
        unfreeze_model_tail(tiny.backbone(), n)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("MobileNetV2", 0), ("MobileNetV2", 30), ("InceptionV3", 60)])
def test_trunk_and_tail_together_equal_the_backbone(name, n):
    base = network(name)
    unfreeze_model_tail(base, n)
    trunk, tail = split_at_freeze_boundary(base)
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, SMALLEST[name], SMALLEST[name], 3)).astype("float32")
    whole = np.array(base(inputs))
    parts = np.array(tail(np.array(trunk(inputs))))
    assert np.abs(whole - parts).max() < 1e-5 * np.abs(whole).max() > 0
    assert not any(layer.trainable_weights for layer in trunk.layers), "the outputs of the trunk are cached"
    assert {w.path for w in tail.trainable_weights} == {w.path for w in base.trainable_weights}
    assert len(trunk.layers) > 1 and len(trunk.layers) + len(tail.layers) == len(base.layers) + 1


def test_the_boundary_is_the_last_layer_that_every_path_passes():
    base = tiny.backbone()
    expected = ["norm_3", "conv_3", "add", "add", "relu_1", "relu_1", "relu_1", "conv_1"]
    for n, last in enumerate(expected, 1):
        for layer in base.layers:
            layer.trainable = layer in base.layers[-n:]
        trunk, tail = split_at_freeze_boundary(base)
        assert trunk.layers[-1].name == last, n
        assert tail.layers[1:] == base.layers[len(trunk.layers) :]
    unfreeze_model_tail(base, ALL_LAYERS)
    assert split_at_freeze_boundary(base) == (None, base)


def test_the_preprocessing_inside_a_backbone_is_not_a_trunk():
    """EfficientNetB0 starts with a Normalization layer; its float outputs would take more space than the images."""
    pixels = keras.Input((32, 32, 3))
    fixed = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0])
    adapted = keras.layers.Normalization()
    adapted.build((None, 32, 32, 3))
    for scaling in (fixed, adapted):
        base = keras.Model(pixels, keras.layers.Conv2D(4, 3)(keras.layers.ZeroPadding2D()(scaling(pixels))))
        assert split_at_freeze_boundary(base) == (None, base)


def test_training_the_tail_trains_the_backbone():
    config, base = tiny.config(), tiny.backbone()
    head = build_top_classifier(16, 2, config)
    whole = build_full_model(base, head, config)
    unfreeze_model_tail(base, 3)
    trunk, tail = split_at_freeze_boundary(base)
    pixel_trunk, tail_model = build_trunk(trunk, config), build_tail(tail, head)
    assert any(isinstance(layer, FoldedConvolution) for layer in tail_model._flatten_layers())
    assert [id(w) for w in tail.weights] == [id(w) for w in base.weights[len(trunk.weights) :]]
    before, activations = tiny.weights_of(base), np.array(pixel_trunk(pixels(8)))
    one_step(tail_model, activations)
    assert tiny.moved(before, base) == {"conv_3/kernel"}
    assert np.allclose(whole(pixels(8)), tail_model(activations), atol=1e-6)


@pytest.mark.parametrize("name", Backbone.__args__)
def test_preprocessing_equals_that_of_keras(name):
    module = sys.modules[getattr(keras.applications, name).__module__]
    images = pixels(2).astype("float32")
    preprocessed = functools.reduce(lambda x, layer: layer(x), build_preprocessing(name), images)
    expected = module.preprocess_input(images.copy())
    assert np.allclose(preprocessed, expected, atol=1e-4)
    assert name.startswith("EfficientNet") == np.array_equal(expected, images)


def test_pixels_are_scaled_to_zero_to_one_if_asked_whatever_the_backbone():
    images = pixels(2).astype("float32")
    for name in ("MobileNetV2", "ResNet50"):
        [layer] = build_preprocessing(name, "zero-one")
        assert np.allclose(layer(images), images / 255)
    config = tiny.config(input_range="zero-one")
    base, head = tiny.backbone(), build_top_classifier(16, 2, config)
    halves = build_full_model(base, head, config)(images), build_full_model(base, head, tiny.config())(images)
    assert not np.allclose(*halves, atol=1e-4)


def test_preprocessing_layers_are_never_trained():
    model = tiny.model(tiny.config(backbone="VGG16"))
    unfreeze_model_tail(model.get_layer("tiny"), ALL_LAYERS, "trained")
    assert {w.path.split("/")[0] for w in model.trainable_weights} == {
        *(f"{kind}_{i}" for kind in ("conv", "norm") for i in (1, 2, 3)),
        "head_batchnorm",
        "head",
    }


@pytest.mark.parametrize(
    ("options", "kinds", "units", "dropout"),
    [
        ({"hidden_units": 256}, ["BatchNormalization", "Dense", "Dropout", "Dense"], [256, 10], 0.3),
        ({"hidden_units": 0, "dropout": 0.2}, ["BatchNormalization", "Dropout", "Dense"], [10], 0.2),
        ({"head": "plain", "hidden_units": 7}, ["Dense", "Dropout", "Dense"], [256, 10], 0.5),
    ],
)
def test_heads_have_the_layers_of_their_options(options, kinds, units, dropout):
    head = build_top_classifier(1280, 10, RunConfig(**options))
    assert [type(layer).__name__ for layer in head.layers[1:]] == kinds
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == units
    assert [layer.activation.__name__ for layer in dense] == ["relu", "softmax"][-len(dense) :]
    assert next(layer.rate for layer in head.layers if isinstance(layer, keras.layers.Dropout)) == dropout
    if options.get("head") != "plain":
        assert head.layers[1].momentum == 0.9
    rows = np.array(head(np.random.default_rng(0).normal(size=(3, 1280)))).sum(axis=1)
    assert np.allclose(rows, 1, atol=1e-5)


@pytest.mark.parametrize("side", [32, 48])
def test_a_model_takes_pixels_of_0_to_255_as_integers_or_floats(side):
    model = tiny.model(tiny.config(image_size=side))
    images = pixels(3)
    expected = model.predict_on_batch(images.astype("float32"))
    assert np.allclose(model(images), expected, atol=1e-6)
    assert np.allclose(model(images.astype("float32")), expected, atol=1e-6)
    assert not np.allclose(model(images / 255), expected, atol=1e-3), "the range of the pixels has no effect"


def test_a_call_without_training_argument_runs_in_inference_mode():
    model, images = tiny.model(tiny.config(dropout=0.9)), pixels(3)
    before = tiny.weights_of(model)
    assert np.array_equal(model(images), model(images, training=False))
    assert tiny.moved(before, model) == set()
    assert not np.allclose(model(images, training=True), model(images, training=False), atol=1e-3)


def test_the_baseline_has_the_documented_layers():
    model = build_baseline_cnn(10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    assert [model.get_layer(f"conv{i}").filters for i in (1, 2)] == [32, 64]
    assert [model.get_layer(name).units for name in ("dense", "head")] == [128, 10]
    assert model.count_params() == 545_098 == 896 + 18_496 + (4096 + 1) * 128 + 129 * 10
    assert np.array(model.layers[0](np.full((1, 32, 32, 3), 255))).max() == 1
    assert build_baseline_cnn(3, side=48).outputs[0].shape == (None, 3)


def test_the_compact_cnn_has_the_documented_layers():
    model = build_compact_cnn(10)
    assert model.count_params() == 303_530
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32, 48, 64, 64, 128, 128]
    order = " ".join(layer.name for layer in model.layers if layer.name.startswith(("conv", "add", "pool")))
    assert order == "conv1 pool1 conv2 conv3 pool3 conv4 add4 conv5 pool5 conv6 add6 pool"
    assert {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {0.9}
    scaled = model.get_layer("to_minus_one_one")(np.array([[[[0.0, 127.5, 255.0]]]]))
    assert np.array(scaled).ravel().tolist() == [-1, 0, 1]
    assert build_compact_cnn(3, side=48).outputs[0].shape == (None, 3)
