"""Heatmaps, feature maps and probes, compared with values computed by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from tests import tiny
from tests.tiny import rng
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.interpret.activations import (
    feature_maps,
    grad_cam,
    liveliest_channels,
    pooled_activations,
    probe_by_depth,
    settle_batch_norm,
)
from transfer_utils.models.networks import build_baseline_cnn, build_compact_cnn, build_feature_extractor
from transfer_utils.training.linear_head import solve_head


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a tiny backbone with a linear head, and BatchNorm statistics that are not 0 and 1."""
    keras.utils.set_random_seed(0)
    model = tiny.model(tiny.config())
    for weight in model.weights:
        if "moving_variance" in weight.path:
            weight.assign(rng().uniform(0.5, 2, weight.shape))
    return model


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return rng().integers(0, 256, (tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)


def test_grad_cam_of_a_linear_head_is_the_map_weighted_by_its_kernel(network, image):
    maps = feature_maps(network, image[None], ["relu_3"])["relu_3"][0]
    head = network.get_layer("top_classifier")
    norm = head.get_layer("head_batchnorm")
    slope = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    for label in (0, 1):
        heat = np.maximum(maps @ (slope * np.array(head.get_layer("head").kernel)[:, label]), 0)
        heat = np.array(keras.ops.image.resize(heat[None, :, :, None], (tiny.SIDE, tiny.SIDE)))[0, :, :, 0]
        computed = grad_cam(network, image, label)
        assert computed.shape == (tiny.SIDE, tiny.SIDE)
        assert (computed.min() >= 0, computed.max()) == (True, 1)
        np.testing.assert_allclose(computed, heat / heat.max(), atol=1e-4)


def test_grad_cam_marks_the_evidence_and_is_zero_without_any():
    pixels = keras.Input((8, 8, 3))
    head = layers.Dense(2, activation="softmax")
    model = keras.Model(pixels, head(layers.GlobalAveragePooling2D()(layers.ReLU()(pixels))))
    head.set_weights([np.array([[1.0, -1], [0, 0], [0, 0]], "float32"), np.zeros(2, "float32")])
    red_corner = np.zeros((8, 8, 3), "uint8")
    red_corner[:4, :4, 0] = 200
    heat = grad_cam(model, red_corner, 0)
    np.testing.assert_array_equal(heat > 0, red_corner[..., 0] > 0)
    assert not grad_cam(model, red_corner, 1).any()  # red is evidence against it


def test_grad_cam_follows_the_branches_of_the_compact_cnn():
    keras.utils.set_random_seed(0)
    heat = grad_cam(build_compact_cnn(3, 16), rng().integers(0, 256, (16, 16, 3)))
    assert heat.shape == (16, 16) and heat.max() == 1


def test_grad_cam_explains_the_predicted_class_by_default(network, image):
    predicted = int(np.argmax(network(image[None].astype("float32"), training=False)))
    heat = grad_cam(network, image)
    np.testing.assert_array_equal(heat, grad_cam(network, image, predicted))
    assert np.abs(grad_cam(network, image, 1 - predicted) - heat).max() > 0.1
    keras.utils.set_random_seed(0)  # the layers of a random network may show evidence for one class alone
    without_backbone = build_baseline_cnn(2, tiny.SIDE)
    assert max(grad_cam(without_backbone, image, label).max() for label in (0, 1)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_index": 2}, "class_index must be from 0 to 1, got 2"),
        ({"image": np.zeros((30, 32, 3), "uint8")}, r"images must have shape \(32, 32, 3\) each.*got \(30, 32, 3\)"),
    ],
)
def test_grad_cam_rejects_wrong_arguments(network, image, change, message):
    with pytest.raises(UserError, match=message):
        grad_cam(**{"model": network, "image": image, **change})


def test_grad_cam_rejects_models_and_backends_that_it_cannot_use(network, image, monkeypatch):
    with pytest.raises(UserError, match="must end in a Dense layer, got ReLU"):
        grad_cam(tiny.backbone(), image)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="needs the tensorflow backend of Keras, this is jax"):
        grad_cam(network, image)


def test_feature_maps_include_the_preprocessing(network):
    images = rng().integers(0, 256, (40, tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)  # more than one batch
    by_layer = feature_maps(network, images, ["relu_3", "conv_1"])
    assert {name: maps.shape for name, maps in by_layer.items()} == {"relu_3": (40, 4, 4, 16), "conv_1": (40, 8, 8, 8)}
    base = network.get_layer("tiny")
    expected = np.array(base(images.astype("float32") / 127.5 - 1, training=False))
    np.testing.assert_allclose(by_layer["relu_3"], expected, atol=1e-4)
    assert feature_maps(build_baseline_cnn(), images, ["conv1"])["conv1"].shape == (40, 32, 32, 32)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(tiny.config())


def test_pooled_activations_equal_the_pooled_feature_maps(network, dataset):
    names = ["relu_1", "relu_3"]
    pooled = pooled_activations(network, dataset.validation, tiny.config(), names)
    maps = feature_maps(network, dataset.validation.take(), names)
    for name in names:
        np.testing.assert_allclose(pooled[name], maps[name].mean((1, 2)), rtol=2e-3, atol=2e-3)


@pytest.mark.fault(15)
def test_the_cache_distinguishes_layers_and_their_order(network, dataset):
    """The extracting models share all weights and differ only in their outputs."""
    names = ["relu_1", "relu_3"]
    together = pooled_activations(network, dataset.validation, tiny.config(), names)
    reverse = pooled_activations(network, dataset.validation, tiny.config(), names[::-1])
    for name in names:
        alone = pooled_activations(network, dataset.validation, tiny.config(), [name])[name]
        for activations in (reverse[name], alone):
            np.testing.assert_allclose(activations, together[name], rtol=2e-3, atol=2e-3)


def test_probe_by_depth_fits_and_selects_on_training_images_and_measures_on_validation(network, dataset, monkeypatch):
    splits, sizes = [], []

    def activations(model, split, config, names):
        """Return separable activations for one layer and noise for the other."""
        splits.append(split.fingerprint)
        noise = rng().normal(size=(len(split), 2))
        return {"separable": noise + 9 * np.eye(2)[split.labels], "noise": noise}

    def solve(train, selection):
        sizes.append((len(train[0]), len(selection[0])))
        return solve_head(train, selection)

    monkeypatch.setattr("transfer_utils.interpret.activations.solve_head", solve)
    monkeypatch.setattr("transfer_utils.interpret.activations.pooled_activations", activations)
    separable, noise = probe_by_depth(network, dataset, tiny.config(), ["separable", "noise"])
    assert (separable.layer, separable.channels, separable.accuracy, separable.high) == ("separable", 2, 1.0, 1.0)
    assert noise.low < noise.accuracy < noise.high
    assert noise.accuracy < 1
    assert splits == [dataset.train.fingerprint, dataset.validation.fingerprint]
    assert sizes == [(32, 8), (32, 8)], "a fifth of the 40 training images selects, and no validation image"


def test_probe_by_depth_uses_at_most_the_given_number_of_images(network, dataset, monkeypatch):
    sizes = []

    def activations(model, split, *rest):
        sizes.append(len(split))
        return pooled_activations(model, split, *rest)

    monkeypatch.setattr("transfer_utils.interpret.activations.pooled_activations", activations)
    monkeypatch.setattr("transfer_utils.interpret.activations.MAX_VALIDATION", 4)
    probes = probe_by_depth(network, dataset, tiny.config(), ["relu_1", "relu_3"], 20)
    assert [(probe.layer, probe.channels) for probe in probes] == [("relu_1", 8), ("relu_3", 16)]
    assert sizes == [20, 4]


def test_channels_are_sorted_by_standard_deviation():
    maps = np.zeros((4, 4, 3))
    maps[0, 0, 2], maps[0, 0, 1] = 5, 1
    maps[..., 0] = 9  # bright but constant
    assert liveliest_channels(maps).tolist() == [2, 1, 0]
    assert liveliest_channels(maps, 1).tolist() == [2]


@pytest.mark.parametrize("with_backbone", [True, False])
def test_settle_batch_norm_sets_the_statistics_of_the_images_and_changes_no_weights(with_backbone):
    keras.utils.set_random_seed(0)
    base = tiny.backbone() if with_backbone else build_compact_cnn(2, tiny.SIDE)
    model = build_feature_extractor(tiny.config(), base) if with_backbone else base
    images = rng().integers(0, 256, (50, tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)
    before = {weight.path: np.array(weight) for weight in model.weights}
    norms = [layer for layer in base.layers if isinstance(layer, layers.BatchNormalization)]
    momentum = [layer.momentum for layer in norms]
    settle_batch_norm(model, images)
    changed = {weight.path for weight in model.weights if not np.array_equal(before[weight.path], weight)}
    assert changed and all("moving_" in path for path in changed) and not base.trainable
    assert [layer.momentum for layer in norms] == momentum
    for name, maps in feature_maps(model, images, [layer.name for layer in norms]).items():
        assert maps.mean(axis=(0, 1, 2)) == pytest.approx(0, abs=1e-3), name
        assert maps.std(axis=(0, 1, 2)) == pytest.approx(1, abs=0.02), name
