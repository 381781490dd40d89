"""Augmentation is reproducible for each image, stays within its limits, and is exact where nothing is resampled."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from transfer_utils.config.options import preset, tta_count
from transfer_utils.data import augment
from transfer_utils.data.augment import apply_augmentation, build_augmentation, epoch_order, mixup, training_view

SIDE = tiny.SIDE
NO_CHANGE = {"augment": True, "rotation": 0, "zoom": 0, "width_shift": 0, "height_shift": 0, "horizontal_flip": False}


def augmentation(**options):
    """Return options that augment by the given transforms only."""
    return preset("none", **{**NO_CHANGE, **options})


def images(n: int) -> np.ndarray:
    return tiny.split(n=n).store


def parts(transforms: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rotation (degrees), scale, flip and shift (pixels, of the centre) of each transform."""
    a0, a1, a2, b0, b1, b2 = transforms[:, :6].astype(float).T
    centre = (SIDE - 1) / 2
    return {
        "rotation": np.rad2deg(np.arctan2(-a1, b1)),
        "scale": np.hypot(a1, b1),
        "mirrored": a0 * b1 - a1 * b0 < 0,
        "dx": (a0 + a1 - 1) * centre + a2,
        "dy": (b0 + b1 - 1) * centre + b2,
    }


@pytest.mark.parametrize("option", ["rotation", "zoom", "width_shift", "height_shift"])
def test_each_option_reaches_its_limit_but_does_not_exceed_it(option):
    limit = {"rotation": 20.0, "zoom": 0.15, "width_shift": 0.25, "height_shift": 0.25}[option]
    drawn = parts(build_augmentation(augmentation(**{option: limit}), 4000, 0))
    spread = {"rotation": drawn["rotation"], "zoom": drawn["scale"] - 1}
    spread |= {"width_shift": drawn["dx"] / SIDE, "height_shift": drawn["dy"] / SIDE}
    for name, values in spread.items():
        low, high = (-limit, limit) if name == option else (0, 0)
        assert np.allclose([values.min(), values.max()], [low, high], atol=0.02 * max(limit, 0.02)), name
        assert values.min() >= low - 1e-5 and values.max() <= high + 1e-5, name
    assert not drawn["mirrored"].any()


def test_each_view_and_seed_has_its_own_reproducible_draw():
    def draw(seed: int, view: int) -> bytes:
        return build_augmentation(preset("none", augment=True, seed=seed), 50, view).tobytes()

    draws = [draw(seed, view) for seed in range(3) for view in range(3)]
    assert len(set(draws)) == 9
    assert draws == [draw(seed, view) for seed in range(3) for view in range(3)]


@pytest.mark.parametrize("reach", [0.1, 0.99])
def test_copying_pixels_gives_the_same_result_as_resampling_with_keras(reach):
    pictures, moves = images(65), augmentation(width_shift=reach, height_shift=reach, horizontal_flip=True)
    transforms = build_augmentation(moves, 65, 0)
    copied = apply_augmentation(pictures, transforms)
    transforms[64] = build_augmentation(augmentation(rotation=20), 1, 0)[0]  # with a rotation, all are resampled
    resampled = apply_augmentation(pictures, transforms)
    assert (copied[:64] == resampled[:64]).all()
    assert (copied[:64] != pictures[:64]).any(axis=(1, 2, 3)).mean() > 0.9
    assert (apply_augmentation(pictures, build_augmentation(augmentation(), 65, 0)) == pictures).all()


def test_half_of_the_images_are_flipped_which_reverses_their_columns():
    pictures, transforms = images(32), build_augmentation(augmentation(horizontal_flip=True), 4000, 0)
    mirrored = parts(transforms)["mirrored"]
    assert 0.47 < mirrored.mean() < 0.53
    expected = np.where(mirrored[:32, None, None, None], pictures[:, :, ::-1], pictures)
    assert (apply_augmentation(pictures, transforms[:32]) == expected).all()


def test_a_shift_copies_whole_pixels():
    pictures = images(32)
    transforms = build_augmentation(augmentation(width_shift=0.2, height_shift=0.2), 32, 0)
    shifts = {name: np.rint(parts(transforms)[name]).astype(int) for name in ("dx", "dy")}
    assert len(set(zip(*shifts.values(), strict=True))) > 20
    for after, before, dx, dy in zip(apply_augmentation(pictures, transforms), pictures, *shifts.values(), strict=True):
        rows, columns = np.arange(max(0, -dy), SIDE - max(0, dy)), np.arange(max(0, -dx), SIDE - max(0, dx))
        assert (after[np.ix_(rows, columns)] == before[np.ix_(rows + dy, columns + dx)]).all()


def test_augmentation_adds_no_black_border():
    grey = np.full((64, SIDE, SIDE, 3), 200, np.uint8)
    strong = preset("none", augment=True, rotation=180, zoom=0.9, width_shift=0.9, height_shift=0.9)
    assert (apply_augmentation(grey, build_augmentation(strong, 64, 0)) == 200).all()


def test_the_augmentation_of_an_image_does_not_depend_on_its_batch():
    config = preset("none", augment=True, use_mixup=True)
    whole = training_view(tiny.split(n=20), np.arange(20), config, 3, 3)
    for batch in (np.array([7]), np.array([19, 0, 4]), np.arange(20)[::-1]):
        images, labels = training_view(tiny.split(n=20), batch, config, 3, 3)
        assert (images == whole[0][batch]).all() and (labels == whole[1][batch]).all()


def test_a_view_without_augmentation_contains_the_images_and_their_labels():
    pictures, labels = training_view(tiny.split(n=6), np.array([4, 1]), preset("none"), 5, 3)
    assert (pictures == images(6)[[4, 1]]).all()
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0]]


@given(n=st.integers(1, 60), alpha=st.floats(0.05, 10), seed=st.integers(0, 99))
def test_mixup_keeps_at_least_half_of_each_image_and_its_labels_sum_to_one(n, alpha, seed):
    config = preset("none", use_mixup=True, mixup_alpha=alpha, seed=seed)
    partners, share = mixup(n, config, 0)
    assert sorted(partners) == list(range(n))
    assert share.shape == (n, 1) and (share >= 0.5).all() and (share <= 1).all()
    labels = training_view(tiny.split(n=n), np.arange(n), config, 0, 3)[1]
    assert np.allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert (labels.max(axis=1) >= 0.5 - 1e-6).all()


def test_mixup_mixes_images_and_labels_with_the_same_weights():
    config, pictures = preset("none", use_mixup=True), images(30)
    partners, share = mixup(30, config, 2)
    mixed, labels = training_view(tiny.split(n=30), np.arange(30), config, 2, 3)
    one_hot = np.eye(3)[np.arange(30) % 2]
    assert np.allclose(labels, share * one_hot + (1 - share) * one_hot[partners], atol=1e-6)
    weight = share[:, :, None, None]
    assert np.abs(mixed - (weight * pictures + (1 - weight) * pictures[partners])).max() <= 0.501
    assert (mixed != pictures).any(), "the shares were all 1"


def test_each_epoch_visits_every_image_once_in_its_own_order():
    orders = [epoch_order(40, seed, epoch) for seed in range(2) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert (epoch_order(40, 0, 0) == orders[0]).all()


def test_tta_views_combine_flips_and_shifts():
    pictures = images(2)
    views = augment.tta_views(pictures, horizontal_flip=True, shift=2)
    assert len(views) == 10 and len({view.tobytes() for view in views}) == 10
    assert {view[:, :, ::-1].tobytes() for view in views} == {view.tobytes() for view in views}
    assert (views[2][:, 2:] == pictures[:, :-2]).all() and (views[2][:, :2] == pictures[:, 1::-1]).all()
    for flip, shift in itertools.product((True, False), (0, 1, 3)):
        assert tta_count(flip, shift) == len(augment.tta_views(pictures, flip, shift))


def test_tta_views_are_the_image_and_its_mirror_image_or_its_shifts_by_a_pixel():
    pictures = images(3)
    plain, mirrored = augment.tta_views(pictures, horizontal_flip=True)
    assert (plain == pictures).all() and (mirrored == pictures[:, :, ::-1]).all()
    first, *shifted = augment.tta_views(pictures, horizontal_flip=False)
    assert (first == pictures).all()
    inside, moves = (slice(None), slice(1, -1), slice(1, -1)), [(-1, 0), (1, 0), (0, -1), (0, 1)]
    for view, move in zip(shifted, moves, strict=True):
        assert view.shape == pictures.shape
        assert (view[inside] == np.roll(pictures, [-step for step in move], axis=(1, 2))[inside]).all()
