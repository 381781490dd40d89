"""The example folder of notebook 08 has the faults that it promises, and is the same every time."""

import hashlib

import pytest
from PIL import Image

from transfer_utils.course.example import write_example_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_example_pictures(tmp_path_factory.mktemp("example"), digits=(1, 7, 4), per_class=10)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/*")}


def opens(path):
    try:
        Image.open(path).load()
    except OSError:
        return False
    return True


def test_the_same_arguments_give_the_same_files(folder, tmp_path):
    assert contents(write_example_pictures(tmp_path, digits=(1, 7, 4), per_class=10)) == contents(folder)
    assert contents(write_example_pictures(tmp_path / "other", digits=(1, 7, 4), per_class=10, seed=1)) != contents(
        folder
    )


def test_each_class_has_its_pictures_and_the_added_ones(folder):
    counts = {path.name: len(list(path.iterdir())) for path in folder.iterdir()}
    assert counts == dict.fromkeys(["one", "seven", "four"], 10 + 2 + 2 + 1 + 1)


def test_one_file_of_each_class_cannot_be_opened(folder):
    broken = [path.parent.name for path in folder.glob("*/*") if not opens(path)]
    assert sorted(broken) == ["four", "one", "seven"]


def test_two_pictures_of_each_class_have_a_copy_there_and_one_in_another_class(folder):
    places = {}
    for path in folder.glob("*/*"):
        places.setdefault(hashlib.sha256(path.read_bytes()).digest(), []).append(path.parent.name)
    repeated = [names for names in places.values() if len(names) > 1]
    assert sorted(len(set(names)) for names in repeated) == [1] * 6 + [2] * 3


def test_two_pictures_of_each_class_have_a_near_copy_as_jpeg(folder):
    assert sorted(path.parent.name for path in folder.glob("*/*.jpg")) == ["four"] * 2 + ["one"] * 2 + ["seven"] * 2
