"""CIFAR-10: its archive is downloaded, checked, shared with Keras, and read without running what it contains."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from transfer_utils.config.options import preset
from transfer_utils.data import cifar10, sources
from transfer_utils.data.cifar10 import ARCHIVE, BATCHES, URL_VARIABLE, archive_path, read_batches
from transfer_utils.data.sources import CIFAR10_CLASSES, load_source
from transfer_utils.data.splits import whole_split
from transfer_utils.errors import UserError
from transfer_utils.utils import disk

PUBLISHED = cifar10.SHA256
X = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
Y = np.arange(60) % 10


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings: as they are, in an opcode of their own."""

    def save_python2_string(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_python2_string}


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")  # the name in NumPy 1


def archive_of(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    """Return an archive of these members, and of links to a file outside of it."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name in links:
                member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
                archive.addfile(member)
            for name, content in members.items():
                member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return file.getvalue()


def batch(number: int) -> bytes:
    """Return ten images, in rows of 3,072 bytes, red before green before blue, as in the archive."""
    part = slice(10 * number, 10 * number + 10)
    rows = np.ascontiguousarray(X[part].transpose(0, 3, 1, 2)).reshape(10, 3072)
    names = [b"picture.png"] * 10
    return pickled({b"batch_label": b"batch", b"labels": Y[part].tolist(), b"data": rows, b"filenames": names})


# The members are in no order, as in the original.
CONTENTS = {"batches.meta": pickled({b"label_names": []}), "readme.html": b"<p>"}
CONTENTS |= {name: batch(number) for number, name in reversed(list(enumerate(BATCHES)))}
CONTENT = archive_of(CONTENTS)


@pytest.fixture(autouse=True)
def _small_archive(monkeypatch, tmp_path):
    """Make ``CONTENT`` the expected archive, and refuse every address."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(sources, "CIFAR10_TRAIN", 50)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def serve(file_server, monkeypatch):
    """Return a function that starts a server of this content, as the only public address."""

    def start(content: bytes = CONTENT):
        server = file_server(content)
        monkeypatch.setattr(cifar10, "ADDRESSES", (server.url,))
        return server

    return start


@pytest.fixture
def config(tmp_path):
    return preset("cifar10", cache_dir=str(tmp_path / "cache"))


def put(content: bytes) -> Path:
    path = archive_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_cifar10_is_downloaded_once_and_stored(serve, config, capfd):
    server, steps = serve(), []
    for _ in range(2):
        source = load_source(config, lambda *step: steps.append(step))
        assert source.description == "CIFAR-10" and source.class_names == CIFAR10_CLASSES
        np.testing.assert_array_equal(source.parts["train"].images, X[:50])
        np.testing.assert_array_equal(source.parts["train"].labels, Y[:50])
        np.testing.assert_array_equal(source.parts["test"].images, X[50:])
        np.testing.assert_array_equal(source.parts["test"].labels, np.arange(10))
        assert not source.parts["train"].images.flags.owndata
    first_ten = [whole_split(part).part(np.arange(10)).fingerprint for part in source.parts.values()]
    assert len(set(first_ten)) == 2, "the features of one are not taken for those of the other"
    assert server.requests == [None]
    assert steps[-1] == (steps[0][0], len(CONTENT), len(CONTENT), "bytes")
    assert steps[0][0].startswith("Downloading CIFAR-10 from 127.0.0.1:")
    assert capfd.readouterr() == ("", "")


def test_the_archive_is_where_keras_looks_for_it_under_the_name_that_keras_expects(monkeypatch):
    import keras

    asked = {}

    def get_file(fname, origin, extract, file_hash):
        asked.update(fname=fname, sha256=file_hash, origin=origin)
        raise LookupError

    monkeypatch.setattr("keras.src.datasets.cifar10.get_file", get_file)
    with pytest.raises(LookupError):
        keras.datasets.cifar10.load_data()
    assert asked["fname"] + "_archive" == ARCHIVE
    assert asked["sha256"] == PUBLISHED and cifar10.ADDRESSES[-1] == asked["origin"]


def test_resized_images_that_do_not_fit_on_the_disk_are_refused_before_they_are_written(config, monkeypatch):
    put(CONTENT)
    load_source(config)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10_000)
    load_source(config)
    with pytest.raises(UserError, match=r"needs .* more, but only 10\.0 kB are free\. Lower --stored_size"):
        load_source(config.model_copy(update={"stored_size": 64}))


def test_an_archive_in_its_place_needs_no_download_and_its_images_are_resized(config):
    put(CONTENT)
    assert len(load_source(config).parts["train"].images) == 50
    steps = []
    source = load_source(config.model_copy(update={"stored_size": 16}), lambda *step: steps.append(step))
    assert source.parts["train"].images.shape == (50, 16, 16, 3)
    assert steps == [("Resizing images", 60, 60)]


@pytest.mark.fault(12)
def test_an_address_of_the_users_own_comes_first_and_is_trusted_no_more_than_the_others(
    serve, file_server, config, monkeypatch
):
    public, damaged = serve(), file_server(CONTENT[::-1])
    monkeypatch.setenv(URL_VARIABLE, damaged.url)
    with pytest.warns(UserWarning, match="is not used: it sent a file with the SHA-256"):
        assert len(load_source(config).parts["train"].images) == 50
    assert damaged.requests == public.requests == [None]


@pytest.mark.fault(12)
def test_a_damaged_archive_is_named_and_renamed(config):
    path, named = put(CONTENT[:-1]), rf"is damaged .* named {ARCHIVE}\.damaged"
    with pytest.warns(UserWarning, match=named), pytest.raises(UserError, match=named):
        load_source(config)  # no address answers
    assert path.with_name(ARCHIVE + ".damaged").read_bytes() == CONTENT[:-1] and not path.exists()


@pytest.mark.fault(11)
def test_without_a_network_the_error_explains_how_to_get_cifar10(config):
    with pytest.raises(UserError) as caught:
        load_source(config)
    message = str(caught.value)
    assert "\n" not in message
    where = (str(archive_path().parent), ARCHIVE, URL_VARIABLE, "--data_dir", "--preset offline", cifar10.ADDRESSES[-1])
    hosts = [address.split("/")[2] + ": " for address in cifar10.ADDRESSES]
    for part in ("is on this machine, and it could not be downloaded", *where, *hosts):
        assert part in message


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made by the archive",)


@pytest.mark.fault(12)
def test_batches_that_hold_anything_but_plain_data_are_refused_and_members_are_never_unpacked(tmp_path):
    path = tmp_path / "archive"
    hostile = pickled({b"data": Hostile(), b"labels": []})
    path.write_bytes(archive_of({**CONTENTS, "test_batch": hostile}))
    with pytest.raises(pickle.UnpicklingError, match=r"must hold arrays and lists, but it asks for .*\.mkdir"):
        list(read_batches(path))
    path.write_bytes(archive_of({**CONTENTS, "../../outside": b"evil"}))
    assert [len(images) for images, _ in read_batches(path)] == [10] * 6
    assert [file.name for file in tmp_path.rglob("*")] == ["archive"]
    path.write_bytes(archive_of(CONTENTS, links=("test_batch",)))
    assert [len(images) for images, _ in read_batches(path)] == [10] * 6, "a link is not followed"
