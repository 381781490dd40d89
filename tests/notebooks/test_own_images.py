"""Chapter 8 on folders with what its example does not have."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.notebooks.conftest import ROOT, code
from transfer_utils import plotting
from transfer_utils.data.images import encode_image

CHAPTER = ROOT / "notebooks" / "08_your_own_images.ipynb"
SOLUTIONS = ROOT / "notebooks" / "solutions" / CHAPTER.name


def execute(names, path, first, last=None):
    """Execute the cells from the one that contains ``first`` to the one that contains ``last`` with these names."""
    sources = [cell.source for cell in code(path)]
    start, end = (next(n for n, source in enumerate(sources) if text in source) for text in (first, last or first))
    exec("\n".join(sources[start : end + 1]), names)
    return names


def test_a_folder_without_a_contradicted_label_has_no_suspects(capsys):
    labels = np.repeat([0, 1], 15)
    names = {"np": np, "plotting": plotting, "seed": 0, "remove": set(), "labels": labels, "group": np.arange(30)}
    names |= {"features": 9.0 * np.eye(2)[labels], "pictures": np.zeros((30, 8, 8, 3), np.uint8)}
    names |= {"class_names": ["beech", "oak"], "files": [Path("photos", f"{n}.jpg") for n in range(30)]}
    names["show"] = lambda *_, **options: pytest.fail(f"there is nothing to show: {options}")
    execute(names, CHAPTER, "judged = cross_val_predict(", "for start in range(0, len(suspects)")
    assert "0 of 30 labels are contradicted" in capsys.readouterr().out


@pytest.mark.parametrize("path", [CHAPTER, SOLUTIONS], ids=lambda path: path.parent.name)
def test_a_png_with_a_damaged_chunk_is_unreadable(tmp_path, path):
    whole = encode_image(np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8"))  # in several chunks
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4)
    thumbnail = execute({"np": np, "keras": keras}, path, "def thumbnail(path):")["thumbnail"]
    for name, content in (("whole.png", whole), ("damaged.png", whole[:second] + bytes(4) + whole[second + 4 :])):
        (tmp_path / name).write_bytes(content)
    assert thumbnail(tmp_path / "whole.png").shape == (768,)
    assert thumbnail(tmp_path / "damaged.png") is None


def test_many_pictures_are_scored_in_batches():
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(pixels)
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(x))
    checked = np.random.default_rng(0).random((70, 8, 8, 3), "float32")
    names = {"np": np, "keras": keras, "pixels": pixels, "x": x, "model": model, "checked": checked}
    names["confidence"] = np.asarray(model(checked)).max(axis=1)
    before_head, sizes = execute(names, CHAPTER, "def scores_of(")["before_head"], []
    names["before_head"] = lambda batch, **options: sizes.append(len(batch)) or before_head(batch, **options)
    assert names["scores_of"](checked)["energy"].shape == (70,)
    assert sum(sizes) == 70 and max(sizes) <= 32
