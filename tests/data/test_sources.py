"""Where images come from, and what is said when they cannot come."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import sys
import tarfile
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from filelock import Timeout
from PIL import Image

from transfer_utils.config import preset
from transfer_utils.data import sources
from transfer_utils.data.sources import CIFAR10_ARCHIVE, CIFAR10_CLASSES, load_source
from transfer_utils.errors import UserError
from transfer_utils.utils import files

X = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
Y = (np.arange(60, dtype=np.uint8) % 10)[:, None]


@pytest.fixture
def keras_with(monkeypatch, tmp_path):
    """Return a function that puts a Keras in place whose CIFAR-10 is what the given function returns."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "CIFAR10_TRAIN", 50)
    monkeypatch.setattr(sources, "FIRST_PAUSE", 0)

    def put(load_data):
        datasets = types.ModuleType("keras.datasets")
        datasets.cifar10 = types.SimpleNamespace(load_data=load_data)
        monkeypatch.setitem(sys.modules, "keras.datasets", datasets)

    return put


@pytest.fixture
def cifar10(tmp_path):
    return preset("cifar10", cache_dir=str(tmp_path / "cache"))


def the_data():
    print("Downloading data")
    return (X[:50], Y[:50]), (X[50:], Y[50:])


def no_network():
    raise Exception("URL fetch failure: no network")


def test_cifar10_comes_from_keras_once_and_is_stored(keras_with, cifar10, capsys):
    keras_with(the_data)
    first = load_source(cifar10)
    assert capsys.readouterr() == ("", "")
    keras_with(no_network)
    for source in (first, load_source(cifar10)):
        assert source.description == "CIFAR-10" and source.class_names == CIFAR10_CLASSES
        np.testing.assert_array_equal(source.parts["train"].images, X[:50])
        np.testing.assert_array_equal(source.parts["test"].images, X[50:])
        np.testing.assert_array_equal(source.parts["test"].labels, np.arange(10))
        assert not source.parts["train"].images.flags.owndata


def test_cifar10_at_another_side_is_made_from_what_is_stored(keras_with, cifar10):
    keras_with(the_data)
    load_source(cifar10)
    keras_with(no_network)
    steps = []
    source = load_source(cifar10.model_copy(update={"stored_size": 16}), lambda *step: steps.append(step))
    assert source.parts["train"].images.shape == (50, 16, 16, 3)
    assert steps == [("Resizing images", 60, 60)]


@pytest.mark.fault(11)
def test_a_download_is_tried_three_times(keras_with, cifar10):
    tries = []

    def third_time_lucky():
        tries.append(1)
        return no_network() if len(tries) < 3 else the_data()

    keras_with(third_time_lucky)
    assert len(load_source(cifar10).parts["train"].images) == 50
    tries.clear()

    def never():
        tries.append(1)
        no_network()

    shutil.rmtree(cifar10.cache_dir)
    keras_with(never)
    with pytest.raises(UserError, match="URL fetch failure: no network"):
        load_source(cifar10)
    assert len(tries) == 3


def test_a_download_is_locked_and_waits_for_no_answer_for_ever(keras_with, cifar10, tmp_path):
    def watched():
        with pytest.raises(Timeout):
            files.lock(tmp_path / "datasets" / CIFAR10_ARCHIVE, timeout=0).acquire()
        assert socket.getdefaulttimeout() == sources.MAX_SILENCE_SECONDS
        return the_data()

    keras_with(watched)
    load_source(cifar10)
    assert socket.getdefaulttimeout() is None
    files.lock(tmp_path / "datasets" / CIFAR10_ARCHIVE, timeout=0).acquire()


def test_the_progress_bar_of_keras_stays_out_of_standard_output(keras_with, cifar10, capsys):
    keras_with(the_data)
    load_source(cifar10, progress=lambda *_: None)
    assert capsys.readouterr() == ("", "Downloading data\n")


def hostile_archive() -> bytes:
    """Return a tar.gz whose members lead out of the folder that it is unpacked in, by name and through a link."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            link = tarfile.TarInfo("cifar-10-batches-py")
            link.type, link.linkname = tarfile.SYMTYPE, "../../.."
            archive.addfile(link)
            for name in ("../../../outside", "cifar-10-batches-py/outside"):
                member = tarfile.TarInfo(name)
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil"))
        return file.getvalue()


@pytest.fixture
def keras_folder(monkeypatch):
    """Return the folder in which the real Keras looks for CIFAR-10, empty."""
    monkeypatch.setattr(sources, "FIRST_PAUSE", 0)
    folder = Path(os.environ["KERAS_HOME"]) / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.fault(11)
def test_without_a_network_one_paragraph_says_what_to_put_where(keras_folder, cifar10):
    with pytest.raises(UserError) as caught:
        load_source(cifar10)
    message = str(caught.value)
    assert "\n" not in message
    for part in (sources.CIFAR10_URL, str(keras_folder), CIFAR10_ARCHIVE, "--data_dir", "--preset offline"):
        assert part in message
    assert "URL fetch failure" in message


@pytest.mark.slow
@pytest.mark.fault(12)
def test_an_archive_with_a_wrong_hash_is_never_unpacked(keras_folder, cifar10, monkeypatch):
    from keras.src.utils import file_utils

    (keras_folder / CIFAR10_ARCHIVE).write_bytes(hostile_archive())
    with pytest.raises(UserError, match="URL fetch failure"):  # Keras takes it for damaged and fetches another
        load_source(cifar10)
    monkeypatch.setattr(
        file_utils, "urlretrieve", lambda url, target, hook: Path(target).write_bytes(hostile_archive())
    )
    with pytest.raises(UserError, match="Incomplete or corrupted file"):
        load_source(cifar10)
    assert {path.name for path in keras_folder.iterdir()} <= {CIFAR10_ARCHIVE, CIFAR10_ARCHIVE + ".lock"}
    assert not list(keras_folder.parents[1].glob("**/outside"))


@pytest.mark.slow
@pytest.mark.fault(12)
def test_the_unpacking_that_cifar10_goes_through_does_not_lead_out(tmp_path):
    from keras.src.utils.file_utils import extract_archive

    archive = tmp_path / "archive"
    archive.write_bytes(hostile_archive())

    def led_out(place: str, unpack) -> bool:
        folder = tmp_path / place / "a" / "b" / "c"
        folder.mkdir(parents=True)
        unpack(folder)
        return any(folder not in path.parents for path in (tmp_path / place).rglob("outside"))

    def by_keras(folder):
        with warnings.catch_warnings(), contextlib.suppress(tarfile.TarError):
            warnings.simplefilter("ignore")  # Keras warns of each member that it leaves out
            extract_archive(archive, folder)

    def naively(folder):
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="fully_trusted")

    assert not led_out("keras", by_keras)
    assert led_out("naive", naively)  # the archive is as hostile as it is meant to be


def test_a_home_of_keras_that_cannot_be_written_is_not_the_one_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert files.keras_home() == tmp_path
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "to" / "be" / "made"))
    assert files.keras_home() == tmp_path / "to" / "be" / "made"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert tmp_path not in files.keras_home().parents


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
def test_a_folder_of_cifar10_says_what_copy_it_is(tmp_path, cifar10, suffix, description):
    root = picture_folder(tmp_path / "pictures", CIFAR10_CLASSES, suffix)
    source = load_source(cifar10.model_copy(update={"data_dir": str(root)}))
    assert source.description == description
    assert sorted(source.parts) == ["test", "train"]


def test_a_folder_of_other_classes_is_not_cifar10(tmp_path, cifar10):
    root = picture_folder(tmp_path / "pictures", ["cat", "dog"])
    with pytest.raises(UserError, match="ten classes of CIFAR-10, got cat, dog"):
        load_source(cifar10.model_copy(update={"data_dir": str(root)}))


@pytest.mark.fault(20)
def test_skipped_files_are_told_for_each_split(tmp_path):
    root = picture_folder(tmp_path / "pets", ["cat", "dog"])
    for number in range(5, 17):
        (root / "test" / "cat" / f"{number}.png").write_bytes(b"")
    source = load_source(preset("none", dataset="folder", data_dir=str(root), cache_dir=str(tmp_path / "cache")))
    assert source.description == "pets, image folder"
    assert len(source.notes) == 1
    assert source.notes[0].startswith("Skipped 12 files of the test split that could not be decoded: cat/10.png: ")
    assert source.notes[0].endswith("; ....")


def test_photo_digits_have_one_test_split_for_all_seeds():
    sides = [load_source(preset("offline", seed=seed)) for seed in (0, 7)]
    for name, n in (("train", 1257), ("test", 540)):
        one, other = (source.parts[name] for source in sides)
        assert one.images.shape == (n, 32, 32, 3) and one.images.dtype == np.uint8
        np.testing.assert_array_equal(one.images, other.images)
        assert one.sha256 == other.sha256
    counts = np.bincount(sides[0].parts["test"].labels) / 540 - np.bincount(sides[0].parts["train"].labels) / 1257
    assert np.abs(counts).max() < 0.002


def test_photo_digits_at_another_side():
    assert load_source(preset("offline", stored_size=16)).parts["test"].images.shape == (540, 16, 16, 3)
