"""Backbones, heads and freezing: what is frozen does not move, and the two parts of a backbone are the whole."""

import functools

import keras
import numpy as np
import pytest

from tests import tiny
from transfer_utils.config import ALL_LAYERS, Backbone, RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.networks import (
    build_backbone,
    build_baseline_cnn,
    build_feature_extractor,
    build_full_model,
    build_preprocessing,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.training.stages import build_optimizer, compile_model

NORM = ("gamma", "beta", "moving_mean", "moving_variance")
SMALLEST = {"MobileNetV2": 32, "InceptionV3": 75}


@functools.cache
def network(name: str) -> keras.Model:
    """Return a real backbone with random weights, built once; a test that trains it says so."""
    return build_backbone(RunConfig(backbone=name, weights="random", image_size=SMALLEST[name]))[0]


def pixels(n: int, side: int = tiny.SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def one_step(model: keras.Model, inputs: np.ndarray) -> None:
    """Train for one step, fast enough that whatever can move does."""
    compile_model(model, build_optimizer("SGD", 0.1, 0.0), 0.0)
    model.train_on_batch(inputs.astype("float32"), np.eye(2, dtype="float32")[np.arange(len(inputs)) % 2])


@pytest.mark.slow
def test_a_step_with_the_head_leaves_every_weight_and_statistic_of_the_frozen_backbone():
    config = RunConfig(weights="random", image_size=32)
    base = build_backbone(config)[0]
    extractor = build_feature_extractor(config, base)
    head = build_top_classifier(1280, 2, config)
    before, head_before = tiny.weights_of(base), tiny.weights_of(head)
    assert extractor.output.shape[1:] == (1280,)
    assert sum("moving" in path for path in before) == 2 * 52
    one_step(build_full_model(base, head, config), pixels(4))
    assert tiny.moved(before, base) == set()
    assert any("kernel" in path for path in tiny.moved(head_before, head))


@pytest.mark.parametrize(
    ("n_unfreeze", "batch_norm", "expected"),
    [
        (0, "trained", set()),
        (3, "frozen", {"conv_3/kernel"}),
        (
            3,
            "trained",
            {"conv_3/kernel", *(f"norm_3/{name}" for name in NORM)},
        ),
        (ALL_LAYERS, "frozen", {f"conv_{i}/kernel" for i in (1, 2, 3)}),
    ],
)
def test_a_step_moves_what_was_unfrozen_and_nothing_else(n_unfreeze, batch_norm, expected):
    config, base = tiny.config(), tiny.backbone()
    head = build_top_classifier(16, 2, config)
    model = build_full_model(base, head, config)
    unfrozen = unfreeze_model_tail(base, n_unfreeze, batch_norm)
    before = tiny.weights_of(base)
    one_step(model, pixels(8))
    assert tiny.moved(before, base) == expected
    trained = {path: value.size for path, value in before.items() if path in expected and "moving" not in path}
    assert unfrozen == (len({path.split("/")[0] for path in trained}), sum(trained.values()))


def test_unfreezing_says_how_many_layers_and_weights_became_trainable():
    base = network("MobileNetV2")
    assert str(unfreeze_model_tail(base, 30)) == "10 layers with 284,144 weights are trainable"
    assert [layer.trainable for layer in base.layers[:-30]] == [False] * 124
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert not any(layer.trainable for layer in norms) and {layer.momentum for layer in norms} == {0.999}
    everything = unfreeze_model_tail(base, ALL_LAYERS)
    kernels = [w for w in base.weights if "kernel" in w.path]
    assert everything == (len(kernels), sum(int(np.prod(w.shape)) for w in kernels))


def test_trained_batch_norm_gets_a_momentum_that_keeps_up_and_the_frozen_one_keeps_its_own():
    base = tiny.backbone()
    unfreeze_model_tail(base, 3, "trained")
    assert [base.get_layer(f"norm_{i}").momentum for i in (1, 2, 3)] == [0.999, 0.999, 0.9]
    assert [base.get_layer(f"norm_{i}").trainable for i in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize("n", [-2, 11, 154])
def test_more_layers_than_there_are_cannot_be_unfrozen(n):
    with pytest.raises(UserError, match=f"n_unfreeze must be -1 or 0 to 10, got {n}."):
        unfreeze_model_tail(tiny.backbone(), n)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [*(("MobileNetV2", n) for n in (0, 10, 30, 60)), ("InceptionV3", 60)])
def test_trunk_and_tail_together_are_the_backbone(name, n):
    base = network(name)
    unfreeze_model_tail(base, n)
    trunk, tail = split_at_freeze_boundary(base)
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, SMALLEST[name], SMALLEST[name], 3)).astype("float32")
    whole = np.array(base(inputs))
    found = np.array(tail(np.array(trunk(inputs))))
    assert np.abs(whole - found).max() < 1e-5 * np.abs(whole).max() > 0
    assert not any(layer.trainable_weights for layer in trunk.layers), "the trunk is cached: it must not train"
    assert {w.path for w in tail.trainable_weights} == {w.path for w in base.trainable_weights}
    assert len(trunk.layers) > 1 and len(trunk.layers) + len(tail.layers) == len(base.layers) + 1


def test_the_boundary_is_the_last_place_that_every_path_goes_through():
    base = tiny.backbone()
    expected = ["norm_3", "conv_3", "add", "add", "relu_1", "relu_1", "relu_1", "conv_1"]
    for n, last in enumerate(expected, 1):
        for layer in base.layers:  # which layers train is all that matters, whatever their kind
            layer.trainable = layer in base.layers[-n:]
        trunk, tail = split_at_freeze_boundary(base)
        assert trunk.layers[-1].name == last, n
        assert tail.layers[1:] == base.layers[len(trunk.layers) :]


def test_where_everything_is_trained_there_is_no_trunk():
    base = tiny.backbone()
    unfreeze_model_tail(base, ALL_LAYERS)
    assert split_at_freeze_boundary(base) == (None, base)


def test_preprocessing_inside_a_backbone_is_no_trunk():
    """EfficientNetB0 begins with a Normalization, which has weights: cached, it would be larger than the images."""
    pixels = keras.Input((32, 32, 3))
    scaled = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0])(pixels)
    base = keras.Model(pixels, keras.layers.Conv2D(4, 3)(keras.layers.ZeroPadding2D()(scaled)))
    assert split_at_freeze_boundary(base) == (None, base)
    adapted = keras.layers.Normalization()
    adapted.build((None, 32, 32, 3))
    base = keras.Model(pixels, keras.layers.Conv2D(4, 3)(adapted(pixels)))
    assert split_at_freeze_boundary(base) == (None, base)


def test_training_the_tail_trains_the_backbone():
    config, base = tiny.config(), tiny.backbone()
    head = build_top_classifier(16, 2, config)
    whole = build_full_model(base, head, config)
    unfreeze_model_tail(base, 3)
    trunk, tail = split_at_freeze_boundary(base)
    pixel_trunk, tail_model = build_trunk(trunk, config), build_tail(tail, head)
    assert [id(w) for w in tail.weights] == [id(w) for w in base.weights[len(trunk.weights) :]]
    before, activations = tiny.weights_of(base), np.array(pixel_trunk(pixels(8)))
    one_step(tail_model, activations)
    assert tiny.moved(before, base) == {"conv_3/kernel"}
    assert np.allclose(whole(pixels(8)), tail_model(activations), atol=1e-6)


@pytest.mark.parametrize("name", Backbone.__args__)
def test_preprocessing_is_that_of_the_backbone(name):
    module = {
        "MobileNetV2": keras.applications.mobilenet_v2,
        "EfficientNetB0": keras.applications.efficientnet,
        "EfficientNetV2B0": keras.applications.efficientnet_v2,
        "ResNet50": keras.applications.resnet50,
        "InceptionV3": keras.applications.inception_v3,
        "VGG16": keras.applications.vgg16,
    }[name]
    images = pixels(2).astype("float32")
    found = images
    for layer in build_preprocessing(name):
        found = layer(found)
    expected = module.preprocess_input(images.copy())
    assert np.allclose(found, expected, atol=1e-4)
    assert name.startswith("EfficientNet") == np.array_equal(expected, images)


def test_the_preprocessing_of_a_model_is_never_trained():
    config = tiny.config(backbone="VGG16")
    model = build_full_model(tiny.backbone(), build_top_classifier(16, 2, config), config)
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
def test_heads_are_built_as_named(options, kinds, units, dropout):
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


@pytest.mark.parametrize("image_size", [32, 48])
def test_a_model_takes_pixels_of_0_to_255_as_bytes_or_as_numbers(image_size):
    config = tiny.config(image_size=image_size)
    base = tiny.backbone((image_size, image_size, 3))
    model = build_full_model(base, build_top_classifier(16, 2, config), config)
    images = pixels(3)
    expected = model.predict_on_batch(images.astype("float32"))
    assert np.allclose(model(images), expected, atol=1e-6)
    assert np.allclose(model(images.astype("float32")), expected, atol=1e-6)
    assert not np.allclose(model(images / 255), expected, atol=1e-3), "the range of the pixels makes no difference"


def test_a_plain_call_of_a_model_is_a_prediction_and_a_training_step_drops_units():
    config, images = tiny.config(dropout=0.9), pixels(3)
    model = build_full_model(tiny.backbone(), build_top_classifier(16, 2, config), config)
    before = tiny.weights_of(model)
    assert np.array_equal(model(images), model(images, training=False))
    assert tiny.moved(before, model) == set()
    assert not np.allclose(model(images, training=True), model(images, training=False), atol=1e-3)


def test_the_baseline_is_the_network_that_knows_nothing():
    model = build_baseline_cnn(10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    assert [model.get_layer(f"conv{i}").filters for i in (1, 2)] == [32, 64]
    assert [model.get_layer(name).units for name in ("dense", "head")] == [128, 10]
    assert model.count_params() == 896 + 18_496 + (2304 + 1) * 128 + 129 * 10
    assert np.array(model.layers[0](np.full((1, 32, 32, 3), 255))).max() == 1
    assert build_baseline_cnn(3, side=48).outputs[0].shape == (None, 3)
