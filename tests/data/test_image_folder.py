"""The image files of a folder as people have it: every picture is listed, or the notes say why it is not."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from PIL import Image

from transfer_utils.data.image_folder import EXTENSIONS, list_image_folder
from transfer_utils.data.images import decode_image
from transfer_utils.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"


def lay_out(root, *paths: str):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_splits_and_classes_are_listed_in_order(tmp_path):
    names = ["train/dog/2.JPG", "train/dog/10.png", "train/cat/a.Tiff", "Test/cat/b.webp", "val/dog/c.gif"]
    listing = list_image_folder(lay_out(tmp_path, *names, "train/dog/notes.txt", "train/dog/.3.png"))
    assert listing.class_names == ["cat", "dog"]
    assert sorted(listing.splits) == ["test", "train", "validation"]
    files = [(os.path.relpath(path, tmp_path.resolve()), label) for path, label in listing.splits["train"]]
    assert files == [("train/cat/a.Tiff", 0), ("train/dog/10.png", 1), ("train/dog/2.JPG", 1)]
    assert listing.splits["test"].counts.tolist() == [1, 0]
    assert len(listing.splits["validation"]) == 1
    assert listing.notes == ["Ignored 1 file that is not in a readable image format: 1 .txt."]


def test_a_folder_of_classes_contains_only_training_images(tmp_path):
    listing = list_image_folder(lay_out(tmp_path, "train/a.png", "bus/b.png", "bus/deeper/c.png", ".git/d.png"))
    assert listing.class_names == ["bus", "train"]
    assert {split: len(files) for split, files in listing.splits.items()} == {"train": 3}
    listing = list_image_folder(lay_out(tmp_path / "two", "train/a/1.png", "train/b/1.png", "unlabelled/c/1.png"))
    assert listing.notes == ["The folder 'unlabelled' beside the splits was not read."]


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        ([], "holds no class folders"),
        (["1.png"], "holds no class folders"),
        (["cat/1.png"], "at least two classes, got only 'cat'"),
        (["photos/a/1.png", "photos/b/1.png", "x.png"], "at least two classes, got only 'photos'"),
        (["cat/1.png", "dog/x.txt"], r"Class 'dog' has no images to train on: there are none in .*dog, only 1 \.txt\."),
        (["cat/1.png", "dog/x.HEIC"], r"only 1 \.heic\.\nHEIC files cannot be read: convert them to JPEG first"),
        (["b/1.png", "c/x.txt", "a/.1.png"], "Class 'a' has no images .*\nClass 'c' has no images"),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png"], "Class 'c' has no images to train on"),
        (["train/a/1.png", "train/b/1.png", "test/a/x.txt"], "The test split has no images"),
        (["train/a/1.png", "train/b/1.png", "test/1.png"], "holds 1 picture that must lie in class folders"),
        (["train/1.png", "test/1.png"], "holds folders of splits without class folders in them"),
        (["Train/a/1.png", "training/a/1.png"], "one folder for the train split, got Train and training"),
        (["train/a/1.png", "val/a/1.png", "valid/a/1.png"], "one folder for the validation split, got val and valid"),
    ],
)
@pytest.mark.fault(18)
def test_the_error_for_an_unusable_folder_names_the_reason(tmp_path, paths, problem):
    with pytest.raises(UserError, match=problem):
        list_image_folder(lay_out(tmp_path, *paths))
    with pytest.raises(UserError, match="does not exist"):
        list_image_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file, not a folder"):
        list_image_folder(lay_out(tmp_path, "file") / "file")


@pytest.mark.fault(18, 38)
def test_all_classes_that_are_too_small_are_named_at_once(tmp_path):
    root = lay_out(tmp_path, "a/x.txt", "b/1.png", "b/2.png", *(f"{name}/{i}.png" for name in "cd" for i in range(3)))
    (root / "c" / "1.png").write_bytes(b"")
    problem = r"Class 'a' .*\nFewer than 3 images that can be read are in 'b' \(2\), 'c' \(2; 1 empty file\)\.$"
    with pytest.raises(UserError, match=problem):
        list_image_folder(root)
    (root / "a" / "1.png").write_bytes(b"1")
    assert len(list_image_folder(root).splits["train"]) == 9, "what can be read is judged later"


def test_pipes_are_ignored_and_links_that_are_not_followed_are_counted(tmp_path):
    root = lay_out(tmp_path / "root", "a/1.png", "b/1.png")
    outside = lay_out(tmp_path / "outside", "secret.png").resolve()
    (root / "a" / "out.png").symlink_to(outside / "secret.png")
    (root / "c").symlink_to(outside)
    (root / "d").symlink_to(root)
    (root / "a" / "back").symlink_to(root / "a")
    (root / "b" / "in.png").symlink_to(root / "a" / "1.png")
    (root / "b" / "broken.png").symlink_to(root / "none.png")
    (root / "e").symlink_to(root / "none")
    os.mkfifo(root / "a" / "2.png")
    listing = list_image_folder(root)
    assert listing.class_names == ["a", "b"]
    assert listing.splits["train"].counts.tolist() == [1, 2]
    assert len(listing.notes) == 1
    assert "Ignored 6 links that lead out of the image folder, to nothing, or from a class folder" in listing.notes[0]


@pytest.mark.parametrize("linked", [["a"], ["a", "b"], ["a/1.png"]])
def test_an_error_names_the_links_that_were_not_followed(tmp_path, linked):
    root = lay_out(tmp_path / "root", "a/1.png", "b/1.png")
    for name in linked:
        outside = tmp_path / name.replace("/", "-")
        (root / name).rename(outside)
        (root / name).symlink_to(outside)
    with pytest.raises(UserError, match=r"(?s)\.\nIgnored \d links? that leads? out of the image folder"):
        list_image_folder(root)


def test_a_folder_inside_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    root = lay_out(tmp_path / "root", "a/1.png", "b/1.png", "b/deep/2.png")
    scandir = os.scandir

    def refuse(path):
        if os.fsencode(path).endswith(b"deep"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"root/b/deep cannot be read: Permission denied\."):
        list_image_folder(root)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows any bytes in file names")
def test_names_that_are_not_utf_8_are_listed_and_escaped(tmp_path):
    lay_out(tmp_path, "a/1.png")
    strange = os.path.join(os.fsencode(tmp_path), b"b\xff")
    os.mkdir(strange)
    Image.new("RGB", (8, 8)).save(os.path.join(strange, b"\xfe.png"))
    listing = list_image_folder(tmp_path)
    assert listing.class_names == ["a", r"b\udcff"]
    path, label = list(listing.splits["train"])[1]
    assert label == 1 and decode_image(path, 32).shape == (32, 32, 3)


def test_the_digest_changes_with_every_change_to_the_files(tmp_path):
    root = lay_out(tmp_path / "root", "a/1.png", "b/1.png")

    def digest(place=root):
        return list_image_folder(place).splits["train"].digest

    def move(old, new):
        (root / old).rename(root / new)

    def age(content=b"x"):
        (root / "a/1.png").write_bytes(content)
        os.utime(root / "a/1.png", ns=(1, 1))

    digests = [digest()]
    assert digest() == digests[0]
    changes = [age, lambda: age(b"xy"), lambda: move("a/1.png", "a/2.png")]
    changes += [lambda: move("a/2.png", "b/2.png") or lay_out(root, "a/1.png"), age]
    changes += [lambda: move("b/1.png", "b/3.png"), lambda: move("b/2.png", "a/2.png")]  # the names are the same
    for change in changes:
        change()
        digests.append(digest())
    digests.append(digest(root.rename(tmp_path / "moved")))
    assert len(set(digests)) == len(digests)


@pytest.mark.fault(18, 38)
def test_pictures_of_every_readable_format_and_in_nested_folders_are_listed(tmp_path):
    names = [f"cat/{number}{extension.decode()}" for number, extension in enumerate(sorted(EXTENSIONS))]
    listing = list_image_folder(lay_out(tmp_path, *names, "cat/2023/summer/x.JFIF", "dog/1.png", "dog/old/1.png"))
    assert listing.splits["train"].counts.tolist() == [len(EXTENSIONS) + 1, 2]
    assert listing.notes == ["Read 2 images from folders inside class folders, for example cat/2023/summer/x.JFIF."]
    assert {"cat/2023/summer/x.JFIF", "dog/1.png", "dog/old/1.png"} <= set(listing.splits["train"].names())


def test_folders_inside_a_class_are_in_the_same_order_on_every_system(tmp_path):
    names = ["cat/session1/a.png", "cat/session10/a.png", "cat/session1b.png", "dog/1.png"]
    assert list_image_folder(lay_out(tmp_path, *names)).splits["train"].packed[0].split(b"\0") == [
        b"session1/a.png",
        b"session10/a.png",
        b"session1b.png",
    ]


@pytest.mark.fault(18, 38)
def test_what_is_not_read_is_counted_by_extension_and_pictures_beside_the_classes_are_named(tmp_path):
    left_out = ["cat/a.heic", "cat/b.HEIC", "cat/c.txt", "dog/d.mov", "dog/without", "Thumbs.db", "README.md", "x.jpg"]
    lay_out(tmp_path, "cat/1.png", "dog/1.png", *left_out, "cat/.hidden.png", "__MACOSX/cat/._1.png", "dog/Thumbs.db")
    (tmp_path / "dog" / "picture").write_bytes(PNG)
    listing = list_image_folder(tmp_path)
    assert listing.class_names == ["cat", "dog"]
    assert listing.splits["train"].names() == ["cat/1.png", "dog/1.png", "dog/picture"]
    loose, ignored = listing.notes
    assert loose.startswith("1 picture beside the class folders was not read, for example x.jpg: put each into")
    kinds, advice = ignored.removeprefix("Ignored 5 files that are not in a readable image format: ").split(". ", 1)
    assert sorted(kinds.split(", ")) == ["1 .mov", "1 .txt", "1 without an extension", "2 .heic"]
    assert advice.startswith("HEIC files cannot be read: convert them to JPEG")
    (tmp_path / "cat" / "c.txt").unlink()
    for number in range(9):
        lay_out(tmp_path, f"cat/{number}.k{number}")
    kinds = list_image_folder(tmp_path).notes[1].split(". HEIC")[0]
    assert kinds.count(",") == 8 and kinds.endswith(", 4 others")


@pytest.mark.parametrize("outer", ["", "outer/", "outer/inner/"])
@pytest.mark.parametrize("loose", ["loose.png", "train/loose.png", "test/loose.png"])
def test_a_picture_beside_the_classes_or_splits_is_named_wherever_they_lie(tmp_path, outer, loose):
    paths = ["train/a/1.png", "train/b/1.png", "test/test/a/1.png", "test/test/b/1.png", loose]
    listing = list_image_folder(lay_out(tmp_path, *(outer + path for path in paths)))
    assert [len(files) for files in listing.splits.values()] == [2, 2]
    expected = f"1 picture beside the class folders was not read, for example {outer}{loose}: put"
    assert [note for note in listing.notes if note.startswith(expected)]


@pytest.mark.parametrize(
    "paths",
    [
        ["Training/a/1.png", "TESTING/a/1.png", "Validation/b/1.png", "Training/b/1.png"],
        ["training_set/training_set/a/1.png", "training_set/training_set/b/1.png", "test_set/test_set/a/1.png"],
        ["photos/2024/train/a/1.png", "photos/2024/train/b/1.png", "photos/2024/test/a/1.png", "__MACOSX/x/._1.png"],
    ],
)
@pytest.mark.fault(18)
def test_common_layouts_are_understood(tmp_path, paths):
    listing = list_image_folder(lay_out(tmp_path, *paths))
    assert listing.class_names == ["a", "b"]
    assert listing.splits["train"].counts.tolist() == [1, 1] and listing.splits["test"].counts.tolist() == [1, 0]
    assert ("validation" in listing.splits) == (len(paths) == 4 and "Validation/b/1.png" in paths)
    named = sorted(name for files in listing.splits.values() for name in files.names())
    assert named == sorted(path for path in paths if "MACOSX" not in path)
    wrapped = "The classes were read from 'photos/2024', the only folder in the image folder."
    assert listing.notes == ([wrapped] if paths[0].startswith("photos") else [])


def test_files_can_be_left_out_by_position(tmp_path):
    files = list_image_folder(lay_out(tmp_path, "a/1.png", "a/2.png", "b/1.png", "c/1.png")).splits["train"]
    assert files.n_bytes == 4 and files.without([]) is files
    rest = files.without([0, 2])
    assert rest.names() == ["a/2.png", "c/1.png"] and rest.counts.tolist() == [1, 0, 1]
    assert [label for _, label in rest] == [0, 2]


@pytest.mark.fault(18)
def test_classes_may_have_the_names_of_splits_if_there_is_no_split_for_training(tmp_path):
    listing = list_image_folder(lay_out(tmp_path, "test/1.png", "test set/1.png", "bus/1.png"))
    assert listing.class_names == ["bus", "test", "test set"] and list(listing.splits) == ["train"]
