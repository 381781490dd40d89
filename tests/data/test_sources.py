"""The sources of images; for CIFAR-10 see ``test_cifar10.py``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_utils.config import preset
from transfer_utils.data.sources import CIFAR10_CLASSES, load_source
from transfer_utils.errors import UserError
from transfer_utils.utils import files


def test_keras_home_is_a_temporary_folder_if_the_chosen_one_is_not_writable(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert files.keras_home() == tmp_path
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "to" / "be" / "made"))
    assert files.keras_home() == tmp_path / "to" / "be" / "made"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert tmp_path not in files.keras_home().parents


@pytest.fixture
def cifar10(tmp_path):
    return preset("cifar10", cache_dir=str(tmp_path / "cache"))


def picture_folder(root: Path, classes, suffix=".png", splits=("train", "test"), n=2) -> Path:
    for split in splits:
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for number in range(n):
                Image.new("RGB", (8, 8), (label, number, 0)).save(root / split / name / f"{number}{suffix}")
    return root


@pytest.mark.parametrize(
    ("suffix", "description"), [(".png", "CIFAR-10, image folder"), (".jpg", "CIFAR-10, JPEG copy")]
)
def test_a_folder_of_cifar10_is_described_by_its_format_and_has_ten_classes(tmp_path, cifar10, suffix, description):
    root = picture_folder(tmp_path / "pictures", CIFAR10_CLASSES, suffix)
    source = load_source(cifar10.model_copy(update={"data_dir": str(root)}))
    assert source.description == description
    assert sorted(source.parts) == ["test", "train"]
    other = picture_folder(tmp_path / "others", ["cat", "dog"])
    with pytest.raises(UserError, match="ten classes of CIFAR-10, got cat, dog"):
        load_source(cifar10.model_copy(update={"data_dir": str(other)}))


@pytest.mark.fault(20)
def test_a_note_lists_the_skipped_files_of_each_split(tmp_path):
    root = picture_folder(tmp_path / "pets", ["cat", "dog"])
    for number in range(5, 17):
        (root / "test" / "cat" / f"{number}.png").write_bytes(b"")
    source = load_source(preset("none", dataset="folder", data_dir=str(root), cache_dir=str(tmp_path / "cache")))
    assert source.description == "pets, image folder"
    assert len(source.notes) == 1
    assert source.notes[0].startswith("Skipped 12 files of the test split that could not be decoded: cat/10.png: ")
    assert source.notes[0].endswith("; ....")


def test_photo_digits_have_the_same_test_split_for_all_seeds():
    seeds = [load_source(preset("offline", seed=seed)) for seed in (0, 7)]
    for name, n in (("train", 1257), ("test", 540)):
        one, other = (source.parts[name] for source in seeds)
        assert one.images.shape == (n, 32, 32, 3) and one.images.dtype == np.uint8
        np.testing.assert_array_equal(one.images, other.images)
        assert one.sha256 == other.sha256
    counts = np.bincount(seeds[0].parts["test"].labels) / 540 - np.bincount(seeds[0].parts["train"].labels) / 1257
    assert np.abs(counts).max() < 0.002
    assert load_source(preset("offline", stored_size=16)).parts["test"].images.shape == (540, 16, 16, 3)
