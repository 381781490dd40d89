"""The sources of images; for CIFAR-10 see ``test_cifar10.py``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.folders import folder_config, picture_folder
from transfer_utils.config.options import preset
from transfer_utils.data.sources import CIFAR10_CLASSES, load_source
from transfer_utils.errors import UserError
from transfer_utils.utils import files


def test_keras_home_is_a_temporary_folder_if_the_chosen_one_is_not_writable(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert files.keras_home() == tmp_path
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "to" / "be" / "made"))
    assert files.keras_home() == tmp_path / "to" / "be" / "made"
    with monkeypatch.context() as patch:
        patch.setattr(files.os.path, "exists", lambda path: False)  # as on Windows without a drive Z: for Z:/keras
        assert tmp_path not in files.keras_home().parents
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert tmp_path not in files.keras_home().parents


@pytest.mark.parametrize(
    ("suffix", "description"), [(".png", "CIFAR-10, image folder"), (".jpg", "CIFAR-10, JPEG copy")]
)
def test_a_folder_of_cifar10_is_described_by_its_format_and_has_ten_classes(tmp_path, suffix, description):
    for split in ("train", "test"):
        picture_folder(tmp_path / "pictures" / split, 2, CIFAR10_CLASSES, suffix)
    source = load_source(folder_config(tmp_path / "pictures").model_copy(update={"dataset": "cifar10"}))
    assert source.description == description
    assert sorted(source.parts) == ["test", "train"]
    other = picture_folder(tmp_path / "others", 2)
    with pytest.raises(UserError, match="ten classes of CIFAR-10, got cat, dog"):
        load_source(folder_config(other).model_copy(update={"dataset": "cifar10"}))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows any bytes in file names")
def test_the_description_of_a_folder_can_be_printed(tmp_path):
    root = picture_folder(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), 2)
    load_source(folder_config(root)).description.encode("utf-8")


@pytest.mark.fault(20)
def test_a_note_lists_the_skipped_files_of_each_split(tmp_path):
    for split in ("train", "test"):
        picture_folder(tmp_path / "pets" / split, 2)
    for number in range(5, 17):
        (tmp_path / "pets" / "test" / "cat" / f"{number}.png").write_bytes(b"")
    source = load_source(folder_config(tmp_path / "pets"))
    assert source.description == "pets, image folder"
    [note] = source.notes
    assert note.startswith("Skipped 12 files of the test split that could not be decoded: cat/10.png: ")
    assert note.endswith("; ....")


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
