"""A folder with every odd picture and name at once: each part reads a picture, or names it with the reason."""

import numpy as np
import pytest
from PIL import Image

from tests.data.folders import encoded, folder_config, picture_folder
from tests.pictures import bomb
from transfer_utils.data.inspection import inspect_folder
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError

CLASSES = ["-rf", "Katze & Hund", "кошки", "猫", "🐕"]
SIDE = 16


def striped(seed: int) -> Image.Image:
    """Return a picture of 16 px whose upper left corner is red, so that its orientation can be seen."""
    image = Image.fromarray(np.random.default_rng(seed).integers(60, 200, (SIDE, SIDE, 3), np.uint8))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    return image


def turned(seed: int) -> bytes:
    """Return a JPEG that a camera held at a right angle would write: its pixels lie on the side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(striped(seed).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, subsampling=0, exif=exif)


GOOD = {
    "IMG 0001 (copy).jpg": turned(1),
    "grau.png": encoded(striped(2).convert("L")),
    "прозрачный.png": encoded(striped(3).convert("RGBA")),
    "印刷.jpg": encoded(striped(4).convert("CMYK"), "JPEG", quality=95),
    "palette.gif": encoded(striped(5).convert("P"), "GIF"),
    "صورة متحركة.gif": encoded(striped(6), "GIF", save_all=True, append_images=[striped(60), striped(61)]),
    "100 %.webp": encoded(striped(7), "WEBP", quality=95),
    "-x; rm.tiff": encoded(striped(8), "TIFF"),
    "é.PNG": encoded(striped(9)),
    "without extension": encoded(striped(10)),
}
BAD = {
    "empty.png": (b"", "the file is empty"),
    "truncated.jpg": (encoded(striped(11), "JPEG")[:-100], "truncated"),
    "huge.png": (bomb(), "60000 x 60000 pixels"),
    "text.png": (b"no picture at all", "not a picture"),
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder in which every class holds every good and bad file; the pictures differ between the classes."""
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file, content in (GOOD | {bad: content for bad, (content, _) in BAD.items()}).items():
            (tmp_path / "photos" / name / file).write_bytes(content)
    return tmp_path / "photos"


def load(folder):
    return load_dataset(folder_config(folder, stored_size=SIDE))


@pytest.mark.fault(19, 20, 38)
def test_every_good_picture_is_loaded_upright_under_its_name_and_every_bad_one_is_counted(folder):
    dataset = load(folder)
    assert dataset.class_names == CLASSES
    read = {}
    for split in (dataset.train, dataset.validation, dataset.test):
        read |= dict(zip(split.names(), split.take(), strict=True))
    assert sorted(read) == sorted(f"{name}/{file}" for name in CLASSES for file in GOOD)
    assert dataset.n_skipped == len(CLASSES) * len(BAD)
    for name, pixels in read.items():
        corner, others = pixels[1:7, 1:7].astype(int), pixels[9:, 9:].astype(int)
        if "grau" in name:
            assert np.ptp(pixels, axis=-1).max() == 0
        else:
            assert (corner[..., 0] - corner[..., 1]).mean() > 120, f"{name} is not upright, or its red is lost"
            assert abs(others[..., 0] - others[..., 1]).mean() < 60 + abs(corner[..., 0] - corner[..., 1]).mean() / 2
    assert any("Skipped 20 files" in note and "the file is empty" in note for note in dataset.notes)


@pytest.mark.fault(20, 38)
def test_inspection_names_every_bad_file_and_finds_that_the_classes_hold_the_same_pictures(folder):
    found = inspect_folder(folder)
    assert len(found.pictures) == len(CLASSES) * len(GOOD)
    for file, (_, reason) in BAD.items():
        named = [line for line in found.unreadable if f"/{file}: " in line]
        assert len(named) == len(CLASSES) and all(reason in line for line in named), file
    assert sorted(len(group) for group in found.copies) == [len(CLASSES)] * len(GOOD)
    assert {"RGB", "L", "RGBA", "CMYK", "P"} <= set(found.modes())


@pytest.mark.fault(18)
def test_one_picture_per_class_is_inspected_and_refused_for_training_with_what_is_needed(tmp_path):
    folder = picture_folder(tmp_path / "photos", 1, CLASSES)
    assert inspect_folder(folder).small_classes() == CLASSES
    with pytest.raises(UserError, match=r"at least 3 images .* 5 classes have fewer: '-rf' \(1\), .*'🐕' \(1\)\.$"):
        load(folder)


@pytest.mark.fault(18)
def test_two_hundred_classes_are_inspected_and_split_with_one_image_of_each_in_every_split(tmp_path):
    folder = picture_folder(tmp_path / "photos", 3, [f"вид {number:03}" for number in range(200)])
    found = inspect_folder(folder)
    assert len(found.class_names) == 200 and found.counts() == {"train": [3] * 200}
    assert load(folder).counts() == {split: [1] * 200 for split in ("train", "validation", "test")}
