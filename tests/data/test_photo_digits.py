"""The embedded dataset: real digits on real photographs, reproducible for each seed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image

from transfer_utils.data import photo_digits


def test_all_digits_are_rendered_in_order_and_the_seed_determines_the_images():
    images, labels, names = photo_digits.render_digits(seed=0)
    assert images.shape == (1797, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert names == list("0123456789")
    np.testing.assert_array_equal(labels, load_digits().target)
    assert len({image.tobytes() for image in images}) == 1797
    np.testing.assert_array_equal(images, photo_digits.render_digits(seed=0)[0])
    assert (images != photo_digits.render_digits(seed=1)[0]).mean() > 0.5


def test_the_halves_make_up_the_photographs():
    halves = [photo_digits.photo_halves(half) for half in ("left", "right")]
    for name, left, right in zip(photo_digits.PHOTOS, *halves, strict=True):
        np.testing.assert_array_equal(np.concatenate([left, right], axis=1), load_sample_image(name))


def test_photo_digits_use_only_the_right_halves(monkeypatch):
    black = np.zeros((427, 320, 3), np.uint8)
    monkeypatch.setattr(photo_digits, "photo_halves", lambda half: {"right": (black,)}[half])
    images, _, _ = photo_digits.render_digits(seed=0)
    # On a black photograph only the glyph is visible, and no glyph reaches the corners.
    assert images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert (images.max((1, 2, 3)) > photo_digits.MIN_CONTRAST / 2).all()


def test_crops_stay_inside_the_photograph_and_reach_every_edge():
    photo = np.arange(40 * 36, dtype=np.int64).reshape(40, 36, 1) * np.ones(3, np.int64)
    rng = np.random.default_rng(0)
    corners = {int(photo_digits.random_crop((photo,), rng)[0, 0, 0]) for _ in range(1000)}
    assert corners == {36 * top + left for top in range(9) for left in range(5)}


def test_glyphs_measure_20_to_28_px_and_lie_near_the_middle():
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(300):
        mask = photo_digits.place(np.full((8, 8), 16), rng)
        assert mask.shape == (32, 32) and mask.dtype == np.float32 and set(np.unique(mask)) == {0, 1}
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        sides.add(len(rows))
        assert len(rows) == len(columns)
        for side in (rows, columns):
            assert abs((side[0] + side[-1]) / 2 - 15.5) <= 2.5
    assert sides == set(range(20, 29))


@pytest.mark.parametrize("shade", [0, 60, 128, 200, 255])
def test_the_colour_contrasts_with_the_background(shade):
    rng = np.random.default_rng(shade)
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 12:20] = 1
    for _ in range(50):
        background = np.clip(shade + rng.normal(0, 20, (32, 32, 3)), 0, 255)
        scene = photo_digits.paint(background, mask, rng)
        assert scene.dtype == np.uint8
        contrast = abs((scene[mask > 0] @ photo_digits.LUMA).mean() - (background[mask > 0] @ photo_digits.LUMA).mean())
        assert contrast >= photo_digits.MIN_CONTRAST - 1  # rounded to whole levels
        np.testing.assert_allclose(scene[mask == 0], background[mask == 0], atol=0.51)


@pytest.mark.parametrize("draw", [photo_digits.recoloured_crop, photo_digits.fractal_noise])
def test_backgrounds_vary_and_are_reproducible(draw):
    several = [draw(np.random.default_rng(seed)) for seed in range(20)]
    for background in several:
        assert background.shape == (32, 32, 3)
        assert background.min() >= 0 and background.max() <= 255
    np.testing.assert_array_equal(several[3], draw(np.random.default_rng(3)))
    assert np.std([background.mean((0, 1)) for background in several], axis=0).min() > 20
