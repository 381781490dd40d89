"""The options for an image folder follow from the sizes and the number of its pictures."""

import pytest

from tests.data.folders import picture_folder
from transfer_utils.config.options import preset
from transfer_utils.data import photo_settings
from transfer_utils.data.photo_settings import choose_photo_settings
from transfer_utils.data.splits import load_dataset


def photos(root, n: int, size=(60, 40)):
    return picture_folder(root, n // 2, size=size)


def chosen(root, **options):
    return choose_photo_settings(preset("photos", data_dir=str(root), **options))


@pytest.mark.parametrize(
    ("size", "options", "stored"),
    [
        ((60, 40), {}, 40),
        ((9, 20), {}, 32),
        ((500, 400), {}, 192),
        ((500, 400), {"width_shift": 0.0, "height_shift": 0.05}, 176),
        ((500, 400), {"image_size": 96}, 116),
        ((1200, 1100), {"image_size": 512}, 512),
    ],
)
def test_pictures_are_stored_at_their_own_size_up_to_what_the_network_and_the_shifts_need(
    tmp_path, size, options, stored
):
    settings = chosen(photos(tmp_path, 10, size), **options)
    assert (settings.options["stored_size"], settings.side) == (stored, min(size))


def test_pictures_that_cannot_be_read_do_not_decide_the_size(tmp_path):
    photos(tmp_path, 10)
    for number in range(20):
        (tmp_path / "cat" / f"bad{number}.png").write_bytes(b"")
    assert chosen(tmp_path).options["stored_size"] == 40
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"")
    settings = chosen(tmp_path)
    assert (settings.options["stored_size"], settings.side) == (192, 0)
    assert " of unknown size" in settings.reason(preset("photos"))


@pytest.mark.parametrize("splits", [("",), ("train", "test"), ("train", "valid", "test")])
def test_the_number_of_images_in_each_split_is_known_before_they_are_decoded(tmp_path, splits):
    for split in splits:
        photos(tmp_path / split, 26)
    settings = chosen(tmp_path, validation_share=0.3)
    paths = {"data_dir": str(tmp_path), "cache_dir": str(tmp_path / ".cache")}
    counts = load_dataset(preset("photos", validation_share=0.3, **paths)).counts()
    assert settings.images == {split: sum(of_class) for split, of_class in counts.items()}
    assert settings.n_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.png"))
    assert chosen(tmp_path, labels_per_class=3).images["train"] == 6


def test_a_small_class_counts_with_the_images_that_it_has(tmp_path):
    photos(tmp_path, 100)
    few = sorted(tmp_path.iterdir())[0]
    for path in sorted(few.iterdir())[10:]:
        path.unlink()
    paths = {"data_dir": str(tmp_path), "cache_dir": str(tmp_path / ".cache"), "labels_per_class": 40}
    made = sum(load_dataset(preset("photos", **paths)).counts()["train"])
    assert abs(chosen(tmp_path, labels_per_class=40).images["train"] - made) <= 2


def test_the_number_of_images_in_each_split_allows_for_one_of_every_class(tmp_path):
    picture_folder(tmp_path, 4, [f"class {number}" for number in range(20)])
    assert chosen(tmp_path).images == {"train": 40, "validation": 20, "test": 20}


def test_more_images_get_fewer_epochs_and_larger_batches_and_only_few_are_turned(tmp_path, monkeypatch):
    photos(tmp_path, 10)
    found = []
    for n in (100, 700, 3_000, 12_000, 60_000):
        monkeypatch.setattr(photo_settings, "_images", lambda *_, n=n: {"train": n, "validation": 1, "test": 1})
        config = preset("photos", **chosen(tmp_path).options)
        found.append((config.epochs_stage2, config.batch_size, config.rotation > 0, config.zoom > 0))
    few, many = (True, True), (False, False)
    assert found == [(20, 32, *few), (10, 32, *few), (10, 64, *many), (6, 128, *many), (4, 128, *many)]


def test_the_reason_tells_what_is_used_not_what_was_overridden(tmp_path):
    settings = chosen(photos(tmp_path, 50))
    reason = settings.reason(preset("photos", **settings.options))
    assert reason == (
        "For 50 images of about 40 px, 32 of them to train on: stored_size 40 (their own size), batch_size 32 and "
        "epochs_stage2 20 (for their number), turned, zoomed, shifted and mirrored in 4 views."
    )
    other = settings.reason(preset("photos", **settings.options | {"batch_size": 7, "augment": False}))
    assert other.endswith("batch_size 7 (as given), epochs_stage2 20 (for their number), as they are.")


BY_NUMBER = "batch_size 32 and epochs_stage2 20 (for their number)"
NO_GEOMETRY = {"rotation": 0.0, "zoom": 0.0, "width_shift": 0.0, "height_shift": 0.0}


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        ((20, 20), {}, "of about 20 px, 32 of them to train on: stored_size 32 (the smallest possible), "),
        ((60, 40), {"horizontal_flip": False, "zoom": 0.0}, f"{BY_NUMBER}, turned and shifted in 4 views."),
        ((60, 40), NO_GEOMETRY, f"{BY_NUMBER}, mirrored in 4 views."),
        ((60, 40), {"views": 0}, f"{BY_NUMBER}, turned, zoomed, shifted and mirrored anew in each epoch."),
        ((60, 40), {"n_unfreeze": -1}, f"{BY_NUMBER}, turned, zoomed, shifted and mirrored anew in each epoch."),
        ((60, 40), {"n_unfreeze": 0}, "(their own size), batch_size 32 (for their number), as they are."),  # no stage 2
    ],
)
def test_the_reason_names_what_decided_the_size_and_the_augmentation_that_is_on(tmp_path, size, options, words):
    settings = chosen(photos(tmp_path, 50, size), **options)
    assert words in settings.reason(preset("photos", **settings.options | options))
