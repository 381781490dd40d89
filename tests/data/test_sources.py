"""The sources of images, and the messages when they are unavailable."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import sys
import tarfile
import threading
import types
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
ARCHIVE = np.random.default_rng(1).bytes(3 << 20)  # what the server has; a fake Keras reads it


class Server(http.server.BaseHTTPRequestHandler):
    """Answer the n-th request with the n-th content of ``contents``, and later ones with the last."""

    contents: list[bytes]
    requests = 0

    def do_GET(self):
        content = self.contents[min(type(self).requests, len(self.contents) - 1)]
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(ARCHIVE)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Return a function that starts a local server of these contents, as the address of CIFAR-10."""
    servers = []

    def start(*contents: bytes) -> type[Server]:
        handler = type("Handler", (Server,), {"contents": list(contents)})
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "CIFAR10_URL", f"http://127.0.0.1:{servers[-1].server_port}/cifar-10.tar.gz")
        return handler

    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the attempts of pooch
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """Return the path of an archive that a fake Keras reads."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = tmp_path / "datasets" / CIFAR10_ARCHIVE

    def load_data():
        with pytest.raises(Timeout):
            files.lock(path, timeout=0).acquire()  # Keras must unpack under the lock
        assert path.read_bytes() == ARCHIVE
        return (X[:50], Y[:50]), (X[50:], Y[50:])

    datasets = types.ModuleType("keras.datasets")
    datasets.cifar10 = types.SimpleNamespace(load_data=load_data)
    monkeypatch.setitem(sys.modules, "keras.datasets", datasets)
    monkeypatch.setattr(sources, "CIFAR10_TRAIN", 50)
    monkeypatch.setattr(sources, "CIFAR10_SHA256", hashlib.sha256(ARCHIVE).hexdigest())
    return path


@pytest.fixture
def cifar10(tmp_path):
    return preset("cifar10", cache_dir=str(tmp_path / "cache"))


def test_cifar10_is_downloaded_once_and_stored(archive, serve, cifar10, capfd):
    server, steps = serve(ARCHIVE), []
    for _ in range(2):
        source = load_source(cifar10, lambda *step: steps.append(step))
        assert source.description == "CIFAR-10" and source.class_names == CIFAR10_CLASSES
        np.testing.assert_array_equal(source.parts["train"].images, X[:50])
        np.testing.assert_array_equal(source.parts["test"].images, X[50:])
        np.testing.assert_array_equal(source.parts["test"].labels, np.arange(10))
        assert not source.parts["train"].images.flags.owndata
    assert server.requests == 1
    assert steps[0] == ("Downloading CIFAR-10 (MB)", 0, 3) and steps[-1] == ("Downloading CIFAR-10 (MB)", 3, 3)
    assert capfd.readouterr() == ("", "")


def test_an_archive_in_its_place_needs_no_download_and_its_images_are_resized(archive, cifar10):
    archive.parent.mkdir()
    archive.write_bytes(ARCHIVE)
    assert len(load_source(cifar10).parts["train"].images) == 50
    steps = []
    source = load_source(cifar10.model_copy(update={"stored_size": 16}), lambda *step: steps.append(step))
    assert source.parts["train"].images.shape == (50, 16, 16, 3)
    assert steps == [("Resizing images", 60, 60)]


@pytest.mark.fault(11)
def test_a_download_that_is_cut_off_or_damaged_is_tried_again(archive, serve, cifar10):
    server = serve(ARCHIVE[: 1 << 20], ARCHIVE[::-1], ARCHIVE)
    assert len(load_source(cifar10).parts["train"].images) == 50
    assert server.requests == 3


@pytest.mark.fault(12)
def test_a_download_with_a_wrong_hash_is_refused(archive, serve, cifar10):
    server = serve(ARCHIVE[::-1])
    with pytest.raises(UserError, match=r"could not be downloaded \(SHA256 hash of downloaded file"):
        load_source(cifar10)
    assert server.requests == 1 + sources.RETRIES
    assert {path.name for path in archive.parent.iterdir()} <= {CIFAR10_ARCHIVE + ".lock"}


@pytest.mark.fault(12)
def test_a_damaged_archive_is_renamed_and_downloaded_again(archive, serve, cifar10):
    serve(ARCHIVE)
    archive.parent.mkdir()
    archive.write_bytes(b"damaged")
    assert len(load_source(cifar10).parts["train"].images) == 50
    assert archive.with_name(CIFAR10_ARCHIVE + ".damaged").read_bytes() == b"damaged"


def hostile_archive() -> bytes:
    """Return a tar.gz whose members leave the target folder, by their names and through a link."""
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
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    folder = Path(os.environ["KERAS_HOME"]) / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.fault(11)
def test_without_a_network_the_error_explains_how_to_get_cifar10(keras_folder, cifar10):
    with pytest.raises(UserError) as caught:
        load_source(cifar10)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("is not on this machine and could not be downloaded", sources.CIFAR10_URL, str(keras_folder)):
        assert part in message
    for part in (CIFAR10_ARCHIVE, "--data_dir", "--preset offline"):
        assert part in message


@pytest.mark.slow
@pytest.mark.fault(12)
def test_an_archive_with_a_wrong_hash_is_never_unpacked(keras_folder, cifar10):
    (keras_folder / CIFAR10_ARCHIVE).write_bytes(hostile_archive())
    with pytest.raises(UserError, match=rf"was found, but damaged .* named {CIFAR10_ARCHIVE}\.damaged"):
        load_source(cifar10)
    names = {path.name for path in keras_folder.iterdir()} - {CIFAR10_ARCHIVE + ".lock"}
    assert names == {CIFAR10_ARCHIVE + ".damaged"}
    assert not list(keras_folder.parents[1].glob("**/outside"))


def test_keras_home_is_a_temporary_folder_if_the_chosen_one_is_not_writable(monkeypatch, tmp_path):
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
