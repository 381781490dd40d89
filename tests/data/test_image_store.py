"""Image stores: built once, checked when they are opened, built again when they are damaged."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.data.folders import picture_folder
from transfer_utils.data import image_store
from transfer_utils.data.image_folder import list_image_folder
from transfer_utils.data.image_store import decode_folder, open_or_build
from transfer_utils.errors import UserError
from transfer_utils.utils import array_cache

pytestmark = pytest.mark.filterwarnings("ignore:The cache file .* is damaged")

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
LABELS = np.arange(40) % 4


def chunks():
    for start in range(0, 40, 10):
        yield PIXELS[start : start + 10], LABELS[start : start + 10], {}


def must_not_build():
    raise AssertionError("the store was built although it exists")


def assert_intact(store):
    np.testing.assert_array_equal(store.images, PIXELS)
    np.testing.assert_array_equal(store.labels, LABELS)


@pytest.fixture
def folder(tmp_path):
    """Return an image folder of two classes with three pictures each."""
    return picture_folder(tmp_path / "pictures", 3)


def listed(root):
    return list_image_folder(root).splits["train"]


def test_a_folder_becomes_a_memory_mapped_read_only_array_and_is_decoded_once(folder, tmp_path, monkeypatch):
    done = []
    store = decode_folder(listed(folder), 8, tmp_path / "cache", lambda *step: done.append(step))
    assert store.images.shape == (6, 8, 8, 3) and store.images.dtype == np.uint8
    assert store.labels.tolist() == [0, 0, 0, 1, 1, 1] and store.labels.dtype == np.int64
    colours = [Image.open(path).getpixel((0, 0)) for path in sorted(folder.glob("*/*.png"))]
    assert [tuple(pixel) for pixel in store.images[:, 0, 0].tolist()] == colours and len(set(colours)) == 6
    assert isinstance(store.images.base, np.memmap) and not store.images.flags.writeable
    assert done == [("Decoding images", 6, 6)]
    assert store.skipped_at == store.skipped == []
    monkeypatch.setattr(image_store, "decode_image", lambda *_: must_not_build())
    again = decode_folder(listed(folder), 8, tmp_path / "cache")
    np.testing.assert_array_equal(again.images, store.images)
    assert again.sha256 == store.sha256


@pytest.mark.fault(15)
def test_another_side_or_a_changed_file_gives_another_store(folder, tmp_path):
    before = decode_folder(listed(folder), 8, tmp_path / "cache")
    assert decode_folder(listed(folder), 16, tmp_path / "cache").images.shape == (6, 16, 16, 3)
    Image.new("RGB", (8, 8), "white").save(folder / "dog" / "2.png")
    os.utime(folder / "dog" / "2.png", ns=(1, 1))
    after = decode_folder(listed(folder), 8, tmp_path / "cache")
    assert (after.images[5] == 255).all() and not (before.images[5] == 255).any()
    assert after.sha256 != before.sha256


@pytest.mark.fault(20)
def test_bad_files_are_skipped_counted_and_named(folder, tmp_path):
    for number in range(3, 15):
        (folder / "cat" / f"{number:02}.png").write_bytes(b"no picture")
    for _ in range(2):  # decoded, then opened
        store = decode_folder(listed(folder), 8, tmp_path / "cache")
        assert store.labels.tolist() == [0, 0, 0, 1, 1, 1] and len(store.images) == 6
        assert len(store.skipped_at) == 12 and len(store.skipped) == 10
        assert store.skipped[0].startswith("cat/03.png: not a picture")
        kept = [f"cat/{n}.png" for n in range(3)] + [f"dog/{n}.png" for n in range(3)]
        assert store.files.names() == kept and store.listed.counts.tolist() == [15, 3]


@pytest.mark.fault(15, 20)
def test_a_store_that_does_not_say_which_files_were_skipped_is_built_again(folder, tmp_path):
    (folder / "cat" / "1.png").write_bytes(b"no picture")
    before = decode_folder(listed(folder), 8, tmp_path / "cache")
    [path] = (tmp_path / "cache").glob("*.json")
    about = json.loads(path.read_text())["about"]
    del about["skipped_at"]
    path.write_text(json.dumps({"about": about, "sha256": hashlib.sha256(json.dumps(about).encode()).hexdigest()}))
    with pytest.warns(UserWarning, match="is damaged; it is built again"):
        after = decode_folder(listed(folder), 8, tmp_path / "cache")
    assert after.sha256 == before.sha256 and after.files.names() == before.files.names()
    assert after.files.names() == ["cat/0.png", "cat/2.png", *(f"dog/{n}.png" for n in range(3))]


@pytest.mark.fault(20)
def test_a_folder_with_only_bad_files_is_an_error(folder, tmp_path):
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match=r"None of the 6 images could be decoded.*: cat/0\.png: the file is empty"):
            decode_folder(listed(folder), 8, tmp_path / "cache")


def test_a_file_that_vanishes_is_not_stored_as_bad(folder, tmp_path):
    stale = listed(folder)
    (folder / "dog" / "1.png").unlink()
    with pytest.raises(UserError, match=r"dog/1\.png: there is no such image file"):
        decode_folder(stale, 8, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.fault(5)
def test_a_full_disk_is_reported_before_decoding(folder, tmp_path, monkeypatch):
    free = SimpleNamespace(free=6 * 8 * 8 * 3 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(UserError, match="cache_dir"):
        decode_folder(listed(folder), 8, tmp_path / "cache")
    free.free += 1
    assert len(decode_folder(listed(folder), 8, tmp_path / "cache").images) == 6


@pytest.mark.parametrize("part", [".npy", ".labels.npy", ".json"])
@pytest.mark.fault(14)
def test_a_flipped_byte_or_a_truncated_or_missing_file_is_detected_and_the_store_is_built_again(tmp_path, part):
    place, path = tmp_path / "store", tmp_path / f"store{part}"
    open_or_build(place, chunks)
    content = path.read_bytes()
    flips = np.linspace(0, len(content) - 1, 12).astype(int)
    damaged = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in flips]
    for other in (*damaged, b"", content[: len(content) // 2], None):
        path.unlink()
        if other is not None:
            path.write_bytes(other)
        assert_intact(open_or_build(place, chunks))
        assert path.read_bytes() == content
    assert_intact(open_or_build(place, must_not_build))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["between chunks", "before the labels", "before the note"])
@pytest.mark.fault(3)
def test_a_store_is_built_again_after_its_builder_was_killed(tmp_path, moment):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def interrupted():
        yield from list(chunks())[:2]
        die()

    # A damaged store of other images exists; its note must not match the new pixels.
    open_or_build(tmp_path / "store", lambda: [(PIXELS[::-1], LABELS, {})])
    (tmp_path / "store.labels.npy").write_bytes(b"")
    child = os.fork()
    if child == 0:
        if moment == "before the labels":
            np.save = die
        if moment == "before the note":
            array_cache.write_json = die
        open_or_build(tmp_path / "store", interrupted if moment == "between chunks" else chunks)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert_intact(open_or_build(tmp_path / "store", chunks))
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


def meet_at(barrier: Barrier) -> None:
    """Let ``open_many`` in this process meet those in the others."""
    global meeting
    meeting = barrier


def open_many(folder: Path, rounds: int, reads: int, locked: bool) -> tuple[int, list[str]]:
    """Open the same ``rounds`` stores as the other processes at the same time; return what was built and read."""
    built, seen = 0, []
    if not locked:
        array_cache.lock = lambda path: nullcontext()

    def counted():
        nonlocal built
        built += 1
        if locked:
            time.sleep(0.1)  # long enough for the others to need it meanwhile
        else:
            meeting.wait(60)  # until all are building it
        yield from chunks()

    try:
        for number in range(rounds):
            meeting.wait(60)
            assert_intact(open_or_build(folder / f"{number}", counted))
            for _ in range(reads):
                store = open_or_build(folder / f"{number}", must_not_build)
                assert_intact(store)
                seen.append(store.sha256)
    except BaseException:
        meeting.abort()  # the others need not wait
        raise
    return built, seen


@pytest.mark.parametrize(
    ("rounds", "reads", "locked"), [(2, 1, True), (1, 0, False), pytest.param(50, 25, True, marks=pytest.mark.torture)]
)
@pytest.mark.fault(8)
def test_one_of_eight_processes_builds_a_store_and_all_read_it(tmp_path, tally, without_main, rounds, reads, locked):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(8, spawn, initializer=meet_at, initargs=(spawn.Barrier(8),)) as pool:
        futures = [pool.submit(open_many, tmp_path, rounds, reads, locked) for _ in range(8)]
        reports = [future.result() for future in as_completed(futures)]  # raises what went wrong first
    built = sum(built for built, _ in reports)
    assert built == (rounds if locked else 8), "without the lock, all processes must build it"
    assert [len(seen) for _, seen in reports] == [rounds * reads] * 8
    assert len({tuple(seen) for _, seen in reports}) == 1
    tally(8 * rounds * reads)


@pytest.mark.fault(22)
def test_memory_does_not_grow_with_the_number_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "CHUNK_BYTES", 100 * 32 * 32 * 3)
    peaks = []
    for n in (300, 1500):
        root = tmp_path / str(n)
        for name, colour in (("cat", "red"), ("dog", "blue")):
            (root / name).mkdir(parents=True)
            Image.new("RGB", (4, 4), colour).save(root / name / "0.png")
            for number in range(1, n // 2):
                os.link(root / name / "0.png", root / name / f"{number}.png")
        tracemalloc.start()
        store = decode_folder(listed(root), 32, tmp_path / "cache")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(store.images) == n
    # 1,200 more images take 3.7 MB of pixels; the name and label of a file take a few bytes.
    assert peaks[1] - peaks[0] < 0.5e6, peaks
