"""Splits are stratified, disjoint, reproducible and nested; invalid images and labels are refused before training."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.folders import folder_config, picture_folder
from transfer_utils.config.options import preset
from transfer_utils.data import splits
from transfer_utils.data.checks import imbalance, missing_classes
from transfer_utils.data.dataset import Dataset
from transfer_utils.data.image_store import ImageStore
from transfer_utils.data.images import decode_image
from transfer_utils.data.sources import Source
from transfer_utils.data.splits import (
    check_images_and_labels,
    draw_labels,
    load_and_prepare_data,
    load_dataset,
    preprocess_data,
)
from transfer_utils.errors import UserError


def part(counts: list[int], start: int = 0) -> ImageStore:
    """Return a store with these numbers of images per class, each image with its own pixel values."""
    labels = np.repeat(np.arange(len(counts)), counts)
    values = np.arange(start, start + len(labels))
    images = np.stack([values // 256, values % 256, labels], axis=1)[:, None, None].astype(np.uint8)
    return ImageStore(images, labels, f"{start}")


@pytest.fixture
def load(monkeypatch):
    """Return a function that loads a dataset with these numbers of images per class in each part."""

    def load(counts: dict[str, list[int]], **options) -> Dataset:
        parts, start = {}, 0
        for name, numbers in counts.items():
            parts[name] = part(numbers, start)
            start += sum(numbers)
        names = [f"class {label}" for label in range(len(counts["train"]))]
        monkeypatch.setattr(splits, "load_source", lambda *_: Source("made up", names, parts))
        return load_dataset(preset("offline", **{"labels_per_class": 0, **options}))

    return load


def values(split) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in split.take()[:, 0, 0].tolist()}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"train": [500, 250, 50], "test": [10, 10, 10]}, ([400, 200, 40], [100, 50, 10], [10, 10, 10])),
        ({"train": [500, 250]}, ([320, 160], [80, 40], [100, 50])),  # a fifth is held out for the test split
        ({"train": [5, 5, 5]}, ([3, 3, 3], [1, 1, 1], [1, 1, 1])),
    ],
)
def test_the_splits_are_stratified(load, parts, expected):
    assert load(parts).counts() == dict(zip(("train", "validation", "test"), expected, strict=True))


@pytest.mark.parametrize(("share", "validation"), [(0.1, [1, 1]), (0.5, [2, 2]), (0.9, [3, 3])])
def test_any_validation_share_leaves_images_of_every_class_in_both_splits(load, share, validation):
    assert load({"train": [4, 4], "test": [1, 1]}, validation_share=share).counts()["validation"] == validation


@pytest.mark.parametrize("counts", [{"train": [60, 30]}, {"train": [60, 30], "test": [5, 5]}])
def test_splits_share_no_image_and_lose_none(load, counts):
    dataset = load(counts)
    splits = [values(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert sum(map(len, splits)) == len(set().union(*splits)) == sum(map(sum, counts.values()))
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.take()[:, 0, 0, 2], split.labels)  # an image keeps its label


def test_the_seed_determines_the_split_and_the_order_of_a_folder_with_its_own_validation_split(load):
    one, again, other = (load({"train": [60, 30], "test": [5, 5]}, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.train.index, again.train.index)
    assert values(one.validation) != values(other.validation)
    assert values(one.test) == values(other.test)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    parts = {"train": [50, 25], "validation": [5, 4], "test": [3, 2]}
    one, other = (load(parts, seed=seed) for seed in (0, 1))
    assert one.counts() == parts and one.fingerprint != other.fingerprint
    assert set(one.train.labels[:20]) == {0, 1}, "the first images must represent the whole split"


def test_the_fingerprint_covers_pixels_names_and_splits(load, monkeypatch):
    base = load({"train": [60, 30], "test": [5, 5]})
    seen = {base.fingerprint, load({"train": [60, 30], "test": [5, 6]}).fingerprint}
    seen.add(load({"train": [60, 30], "test": [5, 5]}, labels_per_class=10).fingerprint)
    for names, sha256 in ((["class 0", "class 2"], "0"), (["class 0", "class 1"], "f")):
        first, second = part([60, 30]), part([5, 5], 90)
        parts = {"train": ImageStore(first.images, first.labels, sha256), "test": second}
        monkeypatch.setattr(splits, "load_source", lambda *_, names=names, parts=parts: Source("", names, parts))
        seen.add(load_dataset(preset("offline", labels_per_class=0)).fingerprint)
    assert len(seen) == 5 and all(len(fingerprint) == 64 for fingerprint in seen)


@given(small=st.integers(1, 60), more=st.integers(0, 60), seed=st.integers(0, 1000), draw=st.integers(0, 3))
@settings(max_examples=25)
def test_drawn_labels_are_nested(small, more, seed, draw):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 60, 25]))
    few, many = (draw_labels(labels, n, seed, draw) for n in (small, small + more))
    assert set(few) <= set(many)
    assert np.bincount(labels[few]).tolist() == [min(small, count) for count in (40, 60, 25)]


def test_draw_0_is_the_draw_of_the_recorded_runs_and_other_draws_differ():
    labels = np.arange(60) % 3
    assert draw_labels(labels, 2, seed=7).tolist() == [9, 23, 24, 43, 47, 52]
    assert len({tuple(draw_labels(labels, 2, seed=7, draw=draw)) for draw in range(5)}) == 5


def test_labels_per_class_leaves_validation_and_test_complete(load):
    dataset = load({"train": [100, 50], "test": [10, 10]}, labels_per_class=20)
    assert dataset.counts() == {"train": [20, 20], "validation": [20, 10], "test": [10, 10]}
    assert dataset.notes == []
    other = load({"train": [100, 50], "test": [10, 10]}, labels_per_class=20, seed=1)
    assert values(dataset.train) != values(other.train)
    fewer = load({"train": [100, 50], "test": [10, 10]}, labels_per_class=50)
    assert fewer.counts()["train"] == [50, 40]
    assert len(fewer.notes) == 1 and "'class 1' (40)" in fewer.notes[0] and "class 0" not in fewer.notes[0]


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ({"train": [9, 2]}, "at least 3 images .*training, validation and test. 1 class has fewer: 'class 1' .2.[.]$"),
        ({"train": [9, 1], "test": [1, 1]}, "at least 2 images .* one for training and validation. 1 class has fewer"),
        ({"train": [9, 0], "validation": [1, 1], "test": [1, 1]}, "at least 1 image .* one for training. 1 class has"),
        ({"train": [1, 9, 2]}, "2 classes have fewer: 'class 0' .1., 'class 2' .2.[.]$"),
    ],
)
@pytest.mark.fault(18)
def test_all_classes_with_too_few_images_are_named_at_once(load, counts, problem):
    with pytest.raises(UserError, match=problem):
        load(counts)


@pytest.mark.fault(18)
def test_classes_that_are_too_small_because_their_files_cannot_be_read_are_named_with_that_reason(tmp_path):
    picture_folder(tmp_path, 3)
    (tmp_path / "owl").mkdir()
    for name in ("cat", "owl"):
        (tmp_path / name / "2.png").write_bytes(b"")
    problem = r"2 classes have fewer: 'cat' \(2; 1 file could not be read\), 'owl' \(0; 1 file could not be read\)\."
    with pytest.raises(UserError, match=problem):
        load_dataset(folder_config(tmp_path))


@pytest.mark.parametrize(("classes", "each"), [(200, 5), (200, 3), (2, 3), (50, 4)])
@pytest.mark.fault(18)
def test_many_small_classes_are_split_with_an_image_of_each_in_every_split(load, classes, each):
    counts = load({"train": [each] * classes}).counts()
    assert all(min(of_split) >= 1 for of_split in counts.values())
    assert np.sum(list(counts.values()), axis=0).tolist() == [each] * classes


@pytest.mark.parametrize(("counts", "noted"), [([99, 10], False), ([100, 10], True), ([10, 300], True), ([4, 0], True)])
def test_unbalanced_classes_are_noted(counts, noted):
    assert len(imbalance(["cat", "dog"], splits.whole_split(part(counts)))) == noted


def test_an_unbalanced_folder_is_noted(tmp_path):
    picture_folder(tmp_path, 5, ["dog"])
    picture_folder(tmp_path, 50, ["cat"], seed=1)
    [note] = load_dataset(folder_config(tmp_path)).notes
    assert note.startswith("The classes are unbalanced: 'cat' has 32 training images and 'dog' has 3. The accuracy")
    assert load_dataset(folder_config(tmp_path, labels_per_class=3)).notes == [], "it trains on three of each"


@pytest.mark.fault(18, 38)
def test_copies_of_training_images_in_another_split_are_noted(tmp_path):
    for seed, split in enumerate(("train", "test", "val")):
        picture_folder(tmp_path / split, 4, seed=seed)
    config = folder_config(tmp_path)
    assert load_dataset(config).notes == []
    for name in ("8.png", "9.png"):
        shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "dog" / name)
    dataset = load_dataset(config)
    [note] = dataset.notes
    start = "2 images of the test split are identical to a training image, for example test/dog/8.png and "
    assert note.startswith(start + "train/cat/1.png: the test accuracy will be too high")
    names = dataset.test.names()
    assert names[-2:] == ["test/dog/8.png", "test/dog/9.png"] and len(names) == len(dataset.test)
    if sys.platform == "linux":  # where a name may be no text
        shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "cat" / os.fsdecode(b"\xe9.png"))
        assert any("\\udce9.png" in note for note in load_dataset(config).notes)


@pytest.mark.fault(18)
def test_a_class_without_images_in_a_split_is_noted(load):
    dataset = load({"train": [10, 10], "validation": [0, 3], "test": [4, 0]})
    assert dataset.counts()["test"] == [4, 0]
    assert dataset.notes == [
        "1 class has no images in the validation split: 'class 0'.",
        "1 class has no images in the test split: 'class 1'.",
    ]
    [note] = missing_classes([f"c{number}" for number in range(13)], test=dataset.test)
    assert note.startswith("12 classes have no images in the test split: 'c1', 'c2', ") and note.endswith("'c10', ...")


def test_a_split_returns_images_by_position(load):
    train = load({"train": [60, 30], "test": [5, 5]}).train
    batch = train.take(np.array([3, 0, 3]))
    np.testing.assert_array_equal(batch, train.store[train.index[[3, 0, 3]]])
    np.testing.assert_array_equal(train.take(slice(2, 5)), train.store[train.index[2:5]])
    assert len(train.take()) == len(train) == 72
    assert np.shares_memory(train.part(np.arange(4)).store, train.store)


@pytest.mark.fault(20, 38)
def test_a_dataset_is_loaded_from_a_folder_of_images_with_any_names(tmp_path):
    picture_folder(tmp_path / "pets", 10, ("Katze & Hund", "猫"), " (копия) 100 %.png")
    (tmp_path / "pets" / "猫" / "broken.png").write_bytes(b"no picture")
    dataset = load_dataset(folder_config(tmp_path / "pets"))
    assert (dataset.name, dataset.class_names) == ("pets", ["Katze & Hund", "猫"])
    assert dataset.counts() == {"train": [6, 6], "validation": [2, 2], "test": [2, 2]}
    assert dataset.n_skipped == 1 and dataset.skipped == ["猫/broken.png: not a picture that can be read"]
    for split in (dataset.train, dataset.validation, dataset.test):
        for name, label, pixels in zip(split.names(), split.labels, split.take(), strict=True):
            assert name.startswith(f"{dataset.class_names[label]}/")
            np.testing.assert_array_equal(pixels, decode_image(tmp_path / "pets" / name, 32))
    assert isinstance(dataset.train.store.base, np.memmap)
    assert type(dataset.train.take()) is np.ndarray and dataset.train.take().flags.owndata


def test_load_and_prepare_data_returns_six_arrays_ready_to_fit(tmp_path):
    config = folder_config(picture_folder(tmp_path / "pets", 10))
    X_train, y_train, X_val, y_val, X_test, y_test = load_and_prepare_data(config, stored_size=16)
    assert X_train.shape == (12, 16, 16, 3) and X_train.dtype == np.float32
    assert y_train.shape == (12, 2) and y_train.dtype == np.float32 and (y_train.sum(axis=1) == 1).all()
    assert (len(X_val), len(y_val), len(X_test), len(y_test)) == (4, 4, 4, 4)
    assert 0 <= X_train.min() < 0.1 and 0.9 < X_train.max() <= 1


def images(n: int = 4, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("column", [False, True])
def test_preprocess_data_scales_pixels_and_encodes_labels(dtype, column):
    labels = np.array([2, 0, 1, 2], np.uint8)
    X, y = preprocess_data(images(dtype=dtype), labels[:, None] if column else labels)
    np.testing.assert_allclose(X, images() / 255, rtol=1e-6)
    np.testing.assert_array_equal(y, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert X.dtype == y.dtype == np.float32
    assert preprocess_data(images(), labels, 10)[1].shape == (4, 10)


@pytest.mark.parametrize("scaled", [images() / 255, images() / 127.5 - 1, np.zeros((4, 8, 8, 3))])
@pytest.mark.fault(21)
def test_scaled_pixels_are_refused_with_an_explanation(scaled):
    with pytest.raises(UserError, match=r"pixels of 0 to 255.*scaled to \[(0|-1), 1\] already"):
        preprocess_data(scaled.astype(np.float32), np.zeros(4, int), 2)


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (images(dtype=np.int64) + 1, "values from 1 to 256"),
        (images(dtype=np.int64) - 1, "values from -1 to 254"),
        (np.where(images() > 200, np.nan, images()), "NaN"),
        (np.where(images() > 200, np.inf, images()), "infinity"),
        (images() > 100, "must hold numbers, got bool"),
        (images().astype(str), "must hold numbers"),
        (images()[0], r"shape \(n, height, width, 3\), got \(8, 8, 3\)"),
        (images()[..., :1], r"got \(4, 8, 8, 1\)"),
        (images()[:3], "got 3 images and 4 labels"),
        (images(0), "at least one image"),
    ],
)
@pytest.mark.fault(18, 21)
def test_invalid_images_are_refused(pixels, problem):
    with pytest.raises(UserError, match=problem):
        check_images_and_labels(pixels, np.zeros(4 if len(pixels) else 0, int), 2)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([0, 1, 2, 3], r"from 0 to 2, got 3 \(1 of 4"),
        ([0, -1, -1, 2], r"got -1 \(2 of 4"),
        ([0.0, 1.0, 2.0, 1.0], "must be integers"),
        (np.eye(4)[:, :3], r"must be integers .* \(4, 3\)"),
        (["cat"] * 4, "must be integers"),
    ],
)
@pytest.mark.fault(17)
def test_invalid_labels_are_refused(labels, problem, monkeypatch):
    with pytest.raises(UserError, match=problem):
        check_images_and_labels(images(), labels, 3)
    parts = {"train": part([9, 9, 9]), "test": part([3, 3])}
    monkeypatch.setattr(splits, "load_source", lambda *_: Source("", ["a", "b"], parts))
    with pytest.raises(UserError, match=r"from 0 to 1, got 2 \(9 of 27"):
        load_dataset(preset("offline"))
