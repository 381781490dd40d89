"""The file of thumbnails: the most important images first, bounded, atomic, and refused if it is damaged."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from transfer_utils import thumbnails
from transfer_utils.records import UnreadableRecord
from transfer_utils.thumbnails import THUMBNAILS_NAME, load_thumbnails, save_thumbnails


def images(n: int, side: int = 32) -> np.ndarray:
    """Return smooth pictures, each of another mean level."""
    levels = np.linspace(20, 230, n, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (n, side, side, 3)).copy()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB"))


def test_each_thumbnail_shows_the_image_at_its_position(tmp_path):
    stored, positions = images(10), [7, 2, 9]
    assert save_thumbnails(tmp_path / THUMBNAILS_NAME, positions, lambda rows: stored[rows]) == 3
    kept = load_thumbnails(tmp_path / THUMBNAILS_NAME)
    assert list(kept) == positions
    for at, content in kept.items():
        np.testing.assert_allclose(pixels(content).astype(int), stored[at], atol=3)


def test_large_images_are_shrunk_and_none_at_all_is_a_file_too(tmp_path):
    path = tmp_path / THUMBNAILS_NAME
    stored = images(3, 200)
    save_thumbnails(path, range(3), lambda rows: stored[rows])
    assert {pixels(content).shape for content in load_thumbnails(path).values()} == {(96, 96, 3)}
    assert save_thumbnails(path, [], lambda rows: stored[rows]) == 0 and load_thumbnails(path) == {}


def test_the_least_important_are_left_out_of_a_full_file(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "READ_AT_ONCE", 4)
    path, stored, taken = tmp_path / THUMBNAILS_NAME, images(40), []
    save_thumbnails(path, range(40), lambda rows: stored[rows])
    sizes = [len(content) for content in load_thumbnails(path).values()]
    monkeypatch.setattr(thumbnails, "MAX_KEPT_BYTES", sum(sizes[:10]) + 1)
    order = list(range(40))
    assert save_thumbnails(path, order, lambda rows: taken.extend(rows) or stored[rows]) == 10
    assert list(load_thumbnails(path)) == order[:10]
    assert len(taken) == 12, "images that do not fit are not read"


def test_an_interrupted_writer_leaves_the_old_file(tmp_path, monkeypatch):
    path, stored = tmp_path / THUMBNAILS_NAME, images(3)
    save_thumbnails(path, range(3), lambda rows: stored[rows])
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_thumbnails(path, range(2), lambda rows: stored[rows])
    assert path.read_bytes() == before and os.listdir(tmp_path) == [THUMBNAILS_NAME]


@pytest.mark.parametrize(
    "arrays",
    [
        {"ends": np.array([10, 5, 30])},
        {"ends": np.array([1, 2, 3])},
        {"positions": np.arange(2)},
        {"ends": np.array([{}] * 3)},
        {"positions": np.array(["x", "y", "z"]), "ends": np.zeros((3, 3))},
    ],
)
@pytest.mark.fault(23)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, arrays):
    path, stored = tmp_path / THUMBNAILS_NAME, images(3)
    save_thumbnails(path, range(3), lambda rows: stored[rows])
    with np.load(path) as saved:
        whole = dict(saved)
    np.savez(path, **{**whole, **arrays})
    with pytest.raises(UnreadableRecord, match="no thumbnails that can be read"):
        load_thumbnails(path)


@pytest.mark.fault(23)
def test_a_file_that_declares_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path, stored = tmp_path / THUMBNAILS_NAME, images(3)
    save_thumbnails(path, range(3), lambda rows: stored[rows])
    monkeypatch.setattr(thumbnails, "MAX_UNPACKED_BYTES", 100)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UnreadableRecord, match="there may be at most 100"):
        load_thumbnails(path)


@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
@pytest.mark.fault(23)
def test_a_damaged_file_gives_thumbnails_or_a_named_error(tmp_path_factory, at, byte, cut):
    path, stored = tmp_path_factory.mktemp("damaged") / THUMBNAILS_NAME, images(2)
    save_thumbnails(path, range(2), lambda rows: stored[rows])
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at] = byte
    path.write_bytes(bytes(content[:at] if cut else content))
    try:
        assert all(isinstance(kept, bytes) for kept in load_thumbnails(path).values())
    except UnreadableRecord as error:
        assert THUMBNAILS_NAME in str(error)
