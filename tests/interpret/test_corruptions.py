"""Corrupted images: the strength of each severity, and repeatability."""

import numpy as np
import pytest

from transfer_utils.errors import UserError
from transfer_utils.interpret.corruptions import SEVERITIES, corrupt


@pytest.fixture
def images() -> np.ndarray:
    down, across = np.mgrid[:32, :32]
    waves = 127 + 60 * np.sin(np.stack([down / 2, across / 3, down + across], -1))
    return np.stack([waves, waves[::-1], waves[:, ::-1]]).astype("uint8")


@pytest.mark.parametrize("kind", SEVERITIES)
def test_the_error_grows_with_severity_and_repeats(images, kind):
    corrupted = [corrupt(images, kind, severity) for severity in range(1, 6)]
    errors = [np.abs(result.astype(float) - images).mean() for result in corrupted]
    assert all(result.shape == images.shape and result.dtype == np.uint8 for result in corrupted)
    assert errors[0] > 0
    assert errors == sorted(errors)
    np.testing.assert_array_equal(corrupted[2], corrupt(images, kind, 3))


def test_noise_has_the_expected_deviation_and_depends_on_the_seed(images):
    grey = np.full((20, 32, 32, 3), 128, "uint8")
    for severity, expected in zip(range(1, 6), SEVERITIES["noise"], strict=True):
        assert corrupt(grey, "noise", severity).std() / 255 == pytest.approx(expected, rel=0.02)
    assert (corrupt(images, "noise", 1, seed=0) != corrupt(images, "noise", 1, seed=1)).any()


def test_contrast_keeps_the_mean_of_each_channel_of_each_image(images):
    pixels = corrupt(images, "contrast", 2).astype(float)
    np.testing.assert_allclose(pixels.mean((1, 2)), images.mean((1, 2)), atol=0.5)
    np.testing.assert_allclose(pixels.std((1, 2)), 0.5 * images.std((1, 2)), rtol=0.03)


def test_blur_does_not_mix_images_or_channels(images):
    images = np.zeros_like(images)
    images[1, 16, 16, 1] = 255
    blurred = corrupt(images, "blur", 5)
    assert blurred[1, ..., 1].any()
    assert not blurred[[0, 2]].any()
    assert not blurred[..., [0, 2]].any()


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [
        ("jpg", 1, "kind must be one of noise, blur, contrast, jpeg, got 'jpg'. Did you mean 'jpeg'"),
        ("blur", 6, "severity must be 1 to 5, got 6"),
        ("blur", 0, "severity must be 1 to 5, got 0"),
    ],
)
def test_wrong_arguments_are_rejected(images, kind, severity, message):
    with pytest.raises(UserError, match=message):
        corrupt(images, kind, severity)
    with pytest.raises(UserError, match=r"images must be uint8 \(n, h, w, 3\), got float64"):
        corrupt(images / 255, "blur", 1)
