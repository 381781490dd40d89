"""The example folder of notebook 08 has the faults that it promises, and is the same every time."""

import pytest

from transfer_utils.course.example import write_example_pictures
from transfer_utils.data.inspection import inspect_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_example_pictures(tmp_path_factory.mktemp("example"), digits=(1, 7, 4), per_class=10)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/*")}


def test_the_same_arguments_give_the_same_files(folder, tmp_path):
    assert contents(write_example_pictures(tmp_path, digits=(1, 7, 4), per_class=10)) == contents(folder)
    assert contents(write_example_pictures(tmp_path / "other", digits=(1, 7, 4), per_class=10, seed=1)) != contents(
        folder
    )


def test_the_inspection_finds_the_pictures_the_copies_and_the_damaged_files_of_each_class(folder):
    found = inspect_folder(folder)
    assert found.class_names == ["four", "one", "seven"] and found.counts() == {"train": [10 + 2 + 2 + 1] * 3}
    assert [line.split("/")[0] for line in found.unreadable] == ["four", "one", "seven"]
    assert sorted(len({picture.label for picture in group}) for group in found.copies) == [1] * 6 + [2] * 3
    assert [len(list((folder / name).glob("*.jpg"))) for name in found.class_names] == [2, 2, 2], "near copies"
