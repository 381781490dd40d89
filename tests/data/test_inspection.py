"""Inspecting a folder finds unreadable files, copies and similar pictures, and takes nothing away."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.memory import memory_below
from transfer_utils.data import inspection, likeness
from transfer_utils.data.inspection import across_classes, across_splits, inspect_folder
from transfer_utils.errors import UserError


def scene(seed: int, side: int = 96) -> Image.Image:
    """Return a picture of smooth random shapes, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def folder_of(root, n: int = 12):
    """Write ``n`` different pictures into ``root``, half of them into each class."""
    for number in range(n):
        path = root / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(path)
    return root


def names(groups) -> list[list[str]]:
    return [[picture.name for picture in group] for group in groups]


def test_different_pictures_are_no_copies_and_their_sizes_and_modes_are_counted(tmp_path):
    folder_of(tmp_path, 30)
    scene(99, 200).convert("L").save(tmp_path / "cat" / "grey.png")
    found = inspect_folder(tmp_path)
    assert (found.copies, found.similar, found.unreadable, found.notes) == ([], [], [], [])
    assert found.counts() == {"train": [16, 15]} and found.small_classes() == {"cat": 16, "dog": 15}
    assert found.modes() == {"RGB": 30, "L": 1} and sorted(map(tuple, found.sizes()))[-1] == (200, 200)


@pytest.mark.fault(20)
def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "dog" / "a\x1b.png").write_bytes(b"")
    (tmp_path / "cat" / "b.png").write_bytes((tmp_path / "cat" / "00.png").read_bytes()[:300])
    found = inspect_folder(tmp_path)
    assert found.unreadable[0].startswith("cat/b.png: ") and found.unreadable[1] == r"dog/a\x1b.png: the file is empty"
    assert len(found.pictures) == 12
    for path in tmp_path.glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 14 images .* first problem: cat/00\.png: the file is empty"):
        inspect_folder(tmp_path)


def test_a_picture_that_is_removed_meanwhile_does_not_end_the_inspection(tmp_path, monkeypatch):
    folder_of(tmp_path)
    decode = inspection.decode_image

    def decode_and_remove(content, side, name):
        (tmp_path / name).unlink()
        return decode(content, side, name)

    monkeypatch.setattr(inspection, "decode_image", decode_and_remove)
    assert inspect_folder(tmp_path).modes() == {"RGB": 12}


def test_pictures_that_all_look_alike_are_found_in_little_memory():
    looks = [likeness.look_of(np.asarray(scene(1, likeness.LOOK_SIDE)))] * 400
    with memory_below(80e6):
        assert len(list(likeness.similar_pairs(looks))) >= 400 * 399 / 2


def test_copies_are_grouped_and_those_across_splits_and_classes_come_first(tmp_path):
    for split in ("train", "test"):
        folder_of(tmp_path / split, 12 if split == "train" else 2)
    for number in (0, 1):
        scene(100 + number).save(tmp_path / "test" / ("cat", "dog")[number] / f"{number:02}.png")
    copies = {"train/cat/00.png": ["train/cat/x.png", "train/cat/y.png"], "train/cat/02.png": ["train/dog/z.png"]}
    copies["train/dog/01.png"] = ["test/dog/w.png"]
    for original, others in copies.items():
        for other in others:
            shutil.copy(tmp_path / original, tmp_path / other)
    found = inspect_folder(tmp_path)
    assert names(found.copies) == [
        ["train/dog/01.png", "test/dog/w.png"],
        ["train/cat/02.png", "train/dog/z.png"],
        ["train/cat/00.png", "train/cat/x.png", "train/cat/y.png"],
    ]
    assert [across_splits(group) for group in found.copies] == [True, False, False]
    assert [across_classes(group) for group in found.copies] == [False, True, False]
    assert found.similar == [], "copies are not listed twice"
    number_of = {picture.path: at for at, picture in enumerate(found.pictures)}
    numbers = found.groups_of([*number_of, "elsewhere"])
    assert all(len({numbers[number_of[picture.path]] for picture in group}) == 1 for group in found.copies)
    assert len(set(numbers)) == len(numbers) - 4, "no others are grouped"


def altered(number: int) -> Image.Image:
    """Return a scene that is smaller, brighter, of less contrast, or slightly cropped."""
    image = scene(number)
    changes = [
        image.resize((64, 64)),
        ImageEnhance.Brightness(image).enhance(1.2),
        ImageEnhance.Contrast(image).enhance(0.6),
        image.crop((1, 1, 95, 95)),
    ]
    return changes[number % 4]


def shifted(number: int) -> Image.Image:
    """Return a scene that is shifted by up to 9 of 96 pixels, which is 3 of the 32 that are compared."""
    right, down = np.random.default_rng(number).choice([-9, -6, -3, 3, 6, 9], 2).tolist()
    return scene(number).transform((96, 96), Image.Transform.AFFINE, (1, 0, right, 0, 1, down), fillcolor="grey")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n", "changed", "quality", "least"), [(40, altered, 70, 38), (30, shifted, 85, 27)])
def test_changed_copies_are_found_and_nothing_else(tmp_path, n, changed, quality, least):
    for path in list(folder_of(tmp_path, n).glob("*/*.png")):
        changed(int(path.stem)).save(path.with_suffix(".jpg"), quality=quality)
    groups = names(inspect_folder(tmp_path).similar)
    right = [[name, other] for name, other in groups if name.split(".")[0] == other.split(".")[0]]
    assert right == groups, "a pair of different scenes"
    assert len(right) >= least


def test_plain_pictures_do_not_look_alike(tmp_path):
    folder_of(tmp_path)
    for level in (0, 100, 200):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / "cat" / f"plain{level}.png")
    assert inspect_folder(tmp_path).similar == []


def test_pairs_are_found_whatever_the_number_that_is_compared_at_a_time(tmp_path, monkeypatch):
    folder_of(tmp_path, 20)
    for number in (0, 7, 19):
        scene(number).resize((80, 80)).save(tmp_path / "cat" / f"small{number}.jpg")
    expected = names(inspect_folder(tmp_path).similar)
    assert len(expected) == 3
    monkeypatch.setattr(likeness, "COMPARED", 50)
    monkeypatch.setattr(likeness, "VERIFIED", 7)
    monkeypatch.setattr(inspection, "FILES_AT_ONCE", 5)
    steps = []
    assert names(inspect_folder(tmp_path, lambda *step: steps.append(step)).similar) == expected
    assert steps[-1] == ("Inspecting pictures", 23, 23) and len(steps) == 5
    for module in (likeness, inspection):
        monkeypatch.setattr(module, "MAX_PAIRS", 2)
    found = inspect_folder(tmp_path)
    assert len(found.similar) == 2
    assert found.notes == ["At least 2 pairs of pictures look alike: no more were looked for."]
