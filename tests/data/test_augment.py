"""Augmentation: repeatable image by image, within its limits, and exact where nothing need be resampled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_utils.config import preset, tta_count
from transfer_utils.data import augment
from transfer_utils.data.augment import apply_augmentation, blend, build_augmentation, epoch_order, mixup, training_view
from transfer_utils.data.splits import Split

SIDE = 32
STILL = {"augment": True, "rotation": 0, "zoom": 0, "width_shift": 0, "height_shift": 0, "horizontal_flip": False}


def still(**options):
    return preset("none", **{**STILL, **options})


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def split(n: int) -> Split:
    return Split(images(n), np.arange(n) % 3, np.arange(n))


def parts(transforms: np.ndarray) -> dict[str, np.ndarray]:
    """Take transforms apart: degrees, scale, mirrored or not, and the shift in pixels of the centre."""
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
def test_each_option_reaches_its_limit_and_not_beyond(option):
    limit = {"rotation": 20.0, "zoom": 0.15, "width_shift": 0.25, "height_shift": 0.25}[option]
    found = parts(build_augmentation(still(**{option: limit}), 4000, 0))
    spread = {"rotation": found["rotation"], "zoom": found["scale"] - 1}
    spread |= {"width_shift": found["dx"] / SIDE, "height_shift": found["dy"] / SIDE}
    for name, values in spread.items():
        low, high = (-limit, limit) if name == option else (0, 0)
        assert np.allclose([values.min(), values.max()], [low, high], atol=0.02 * max(limit, 0.02)), name
        assert values.min() >= low - 1e-5 and values.max() <= high + 1e-5, name
    assert not found["mirrored"].any()


def test_half_of_the_images_are_mirrored_unless_that_is_off():
    assert 0.47 < parts(build_augmentation(still(horizontal_flip=True), 4000, 0))["mirrored"].mean() < 0.53
    assert not parts(build_augmentation(still(), 4000, 0))["mirrored"].any()


def test_another_view_or_seed_is_another_draw_and_the_same_is_the_same():
    def draw(seed: int, view: int) -> bytes:
        return build_augmentation(preset("none", augment=True, seed=seed), 50, view).tobytes()

    draws = [draw(seed, view) for seed in range(3) for view in range(3)]
    assert len(set(draws)) == 9
    assert draws == [draw(seed, view) for seed in range(3) for view in range(3)]


def test_the_identity_leaves_every_byte():
    pictures = images(8)
    assert (apply_augmentation(pictures, build_augmentation(still(), 8, 0)) == pictures).all()


@pytest.mark.parametrize("reach", [0.1, 0.99])
def test_shifts_that_copy_pixels_and_the_resampling_of_keras_agree_to_the_byte(reach):
    pictures, moves = images(65), still(width_shift=reach, height_shift=reach, horizontal_flip=True)
    transforms = build_augmentation(moves, 65, 0)
    copied = apply_augmentation(pictures, transforms)
    transforms[64] = build_augmentation(still(rotation=20), 1, 0)[0]  # one that has to be resampled, and all are
    resampled = apply_augmentation(pictures, transforms)
    assert (copied[:64] == resampled[:64]).all()
    assert (copied[:64] != pictures[:64]).any(axis=(1, 2, 3)).mean() > 0.9


def test_mirroring_alone_reverses_the_columns():
    pictures = images(32)
    transforms = build_augmentation(still(horizontal_flip=True), 32, 0)
    mirrored = parts(transforms)["mirrored"]
    assert 0 < mirrored.sum() < 32
    expected = np.where(mirrored[:, None, None, None], pictures[:, :, ::-1], pictures)
    assert (apply_augmentation(pictures, transforms) == expected).all()


def test_a_shift_alone_copies_whole_pixels():
    pictures = images(32)
    transforms = build_augmentation(still(width_shift=0.2, height_shift=0.2), 32, 0)
    shifts = {name: np.rint(parts(transforms)[name]).astype(int) for name in ("dx", "dy")}
    assert len(set(zip(*shifts.values(), strict=True))) > 20
    for after, before, dx, dy in zip(apply_augmentation(pictures, transforms), pictures, *shifts.values(), strict=True):
        rows, columns = np.arange(max(0, -dy), SIDE - max(0, dy)), np.arange(max(0, -dx), SIDE - max(0, dx))
        assert (after[np.ix_(rows, columns)] == before[np.ix_(rows + dy, columns + dx)]).all()


def test_what_comes_in_from_outside_is_no_black_border():
    grey = np.full((64, SIDE, SIDE, 3), 200, np.uint8)
    strong = preset("none", augment=True, rotation=180, zoom=0.9, width_shift=0.9, height_shift=0.9)
    assert (apply_augmentation(grey, build_augmentation(strong, 64, 0)) == 200).all()


def test_what_an_image_becomes_does_not_depend_on_its_batch():
    config = preset("none", augment=True, use_mixup=True)
    whole = training_view(split(20), np.arange(20), config, 3, 3)
    for batch in (np.array([7]), np.array([19, 0, 4]), np.arange(20)[::-1]):
        found = training_view(split(20), batch, config, 3, 3)
        assert (found[0] == whole[0][batch]).all() and (found[1] == whole[1][batch]).all()


def test_without_augmentation_a_view_is_the_images_and_their_labels():
    pictures, labels = training_view(split(6), np.array([4, 1]), preset("none"), 5, 3)
    assert (pictures == images(6)[[4, 1]]).all()
    assert labels.tolist() == [[0, 1, 0], [0, 1, 0]]


@given(n=st.integers(1, 60), alpha=st.floats(0.05, 10), seed=st.integers(0, 99))
def test_mixup_keeps_at_least_half_of_an_image_and_its_labels_sum_to_one(n, alpha, seed):
    config = preset("none", use_mixup=True, mixup_alpha=alpha, seed=seed)
    partners, share = mixup(n, config, 0)
    assert sorted(partners) == list(range(n))
    assert share.shape == (n, 1) and (share >= 0.5).all() and (share <= 1).all()
    labels = training_view(split(n), np.arange(n), config, 0, 3)[1]
    assert np.allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert (labels.max(axis=1) >= 0.5 - 1e-6).all()


def test_mixup_blends_images_as_it_blends_their_labels():
    config, pictures = preset("none", use_mixup=True), images(30)
    partners, share = mixup(30, config, 2)
    mixed, labels = training_view(split(30), np.arange(30), config, 2, 3)
    one_hot = np.eye(3)[np.arange(30) % 3]
    assert np.allclose(labels, share * one_hot + (1 - share) * one_hot[partners], atol=1e-6)
    weight = share[:, :, None, None]
    assert np.abs(mixed - (weight * pictures + (1 - weight) * pictures[partners])).max() <= 0.501
    assert (mixed != pictures).any(), "the shares were all 1"


def test_blending_with_the_whole_share_changes_nothing():
    pictures = images(4)
    assert (blend(pictures, pictures[::-1], np.ones((4, 1), "float32")) == pictures).all()


def test_each_epoch_visits_every_image_once_in_an_order_of_its_own():
    orders = [epoch_order(40, seed, epoch) for seed in range(2) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert (epoch_order(40, 0, 0) == orders[0]).all()


def test_the_averaged_views_are_shifted_and_mirrored_too_where_asked_for():
    pictures = images(2)
    views = augment.tta_views(pictures, horizontal_flip=True, shift=2)
    assert len(views) == 10 and len({view.tobytes() for view in views}) == 10
    assert {view[:, :, ::-1].tobytes() for view in views} == {view.tobytes() for view in views}
    assert (views[2][:, 2:] == pictures[:, :-2]).all() and (views[2][:, :2] == pictures[:, 1::-1]).all()


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_the_averaged_views_are_counted_without_making_them(flip, shift):
    assert tta_count(flip, shift) == len(augment.tta_views(images(1), flip, shift))


def test_the_averaged_views_are_the_image_and_its_mirror_image_or_its_shifts_by_a_pixel():
    pictures = images(3)
    plain, mirrored = augment.tta_views(pictures, horizontal_flip=True)
    assert (plain == pictures).all() and (mirrored == pictures[:, :, ::-1]).all()
    views = augment.tta_views(pictures, horizontal_flip=False)
    assert len(views) == 5 and (views[0] == pictures).all()
    assert len({view.tobytes() for view in views}) == 5
    assert all(view.shape == pictures.shape for view in views)
    inside, moves = (slice(None), slice(1, -1), slice(1, -1)), [(-1, 0), (1, 0), (0, -1), (0, 1)]
    for view, move in zip(views[1:], moves, strict=True):
        assert (view[inside] == np.roll(pictures, [-step for step in move], axis=(1, 2))[inside]).all()
