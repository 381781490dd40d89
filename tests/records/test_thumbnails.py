"""The file of thumbnails: the most important images first, bounded, and refused if its arrays do not fit."""

import io

import numpy as np
import pytest
from PIL import Image

from transfer_utils.records import thumbnails
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, load_thumbnails, save_thumbnails


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
