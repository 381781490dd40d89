"""``transfer-utils inspect`` prints what was found and writes a page in which every name is text."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.folders import picture_folder
from tests.data.test_inspection import folder_of, scene
from transfer_utils.cli import inspection
from transfer_utils.cli.inspection import write_inspection
from transfer_utils.cli.main import main
from transfer_utils.data.image_folder import list_image_folder
from transfer_utils.data.photo_digits import render_digits
from transfer_utils.errors import UserError
from transfer_utils.interpret import suspects


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a copy, a similar picture and unreadable files, in a class whose name is markup."""
    root = folder_of(tmp_path / "pictures")
    (root / "dog").rename(root / "<b onclick=x>dog&")
    shutil.copy(root / "cat" / "00.png", root / "<b onclick=x>dog&" / "copy.png")
    scene(2).resize((70, 70)).save(root / "cat" / "small.jpg")
    for number in range(12):
        (root / "cat" / f"bad{number:02}.png").write_bytes(b"")
    (root / "cat" / "x.heic").write_bytes(b"x")
    return root


def images_of(page: str) -> list[str]:
    """Return the pictures that a page holds, as text."""
    return re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)


@pytest.mark.fault(24)
def test_the_page_shows_every_finding_and_contains_no_markup_of_names_and_no_address(folder, tmp_path):
    write_inspection(folder, tmp_path / "page.html", log=lambda line: None)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "&lt;b onclick=x&gt;dog&amp;/copy.png" in page and "<b onclick" not in page
    assert not re.search(r"https?://|url\(|<script|<link", page) and "Labels in doubt" not in page
    assert len(images_of(page)) == 4
    for image in images_of(page):
        assert Image.open(io.BytesIO(base64.b64decode(image))).size == (96, 96)
    for shown in ("cat/bad11.png: the file is empty", "cat/small.jpg", "70 x 70", "1 .heic", "fewer than 20 pictures"):
        assert shown in page, shown


def test_a_class_that_training_would_refuse_is_named_with_its_number(tmp_path, capsys):
    picture_folder(tmp_path / "pets", 5)
    for path in sorted((tmp_path / "pets" / "dog").iterdir())[1:]:
        path.unlink()
    assert main(["inspect", str(tmp_path / "pets"), "--output-file", "out.html", "--weights", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 class has fewer than 3 pictures, so that train refuses the folder: dog (1)." in lines
    assert "1 class has fewer than 20 pictures to train on: cat (5)." in lines


def test_the_command_prints_what_was_found_and_names_at_most_ten(folder, capsys):
    assert main(["inspect", str(folder), "--output-file", "out.html", "--weights", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["14 pictures in 2 classes can be read.", "12 files cannot be read."]
    assert "1 group of files has the same content, 0 across splits and 1 across classes." in lines
    assert "1 group of pictures looks alike, 0 across splits and 0 across classes." in lines
    assert [line for line in lines if "bad" in line] == [f"  cat/bad{n:02}.png: the file is empty" for n in range(10)]
    assert "  and 2 more" in lines and "  Look alike: cat/02.png, cat/small.jpg" in lines
    assert "  Same content: <b onclick=x>dog&/copy.png, cat/00.png" in lines
    assert lines[-1] == "The pictures are shown in out.html."
    assert main(["inspect", str(folder), "--quiet", "--weights", "none"]) == 0 and capsys.readouterr().out == ""


def test_the_page_is_bounded(folder, tmp_path, monkeypatch):
    for number in range(5):
        shutil.copy(folder / "cat" / "04.png", folder / "cat" / f"again{number}.png")
    monkeypatch.setattr(inspection, "MAX_SHOWN", 3)
    monkeypatch.setattr(inspection, "MAX_GROUPS", 1)
    lines = []
    write_inspection(folder, tmp_path / "page.html", log=lines.append)
    first = ", ".join(f"cat/{name}.png" for name in ("04", "again0", "again1", "again2"))
    assert f"  Same content: {first} and 2 more" in lines
    page = (tmp_path / "page.html").read_text("utf-8")
    assert len(images_of(page)) == 4 and "The first 1 of 2 groups are shown." in page


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "inspect_folder", lambda *_: pytest.fail("the work would be lost"))
    (tmp_path / "file").touch()
    is_folder = r"output_file must be a file, got '.*', which is a folder"
    no_page = r"output_file must end in \.html or \.htm, got '.*page\.txt'"
    files = (tmp_path / "file" / "page.html", "output_file"), (tmp_path, is_folder), (tmp_path / "page.txt", no_page)
    for path, problem in files:
        with pytest.raises(UserError, match=problem):
            write_inspection(folder, path)


@pytest.mark.slow
def test_labels_in_doubt_and_unusual_pictures_are_named_and_shown(tmp_path, capsys, monkeypatch):
    """Three of the ones lie in the folder of the zeros; what is unusual is made up."""
    monkeypatch.setattr(suspects, "unlike_all_others", lambda features: [(len(features) - 1, 9.0)])
    images, labels, _ = render_digits()
    for label, name in enumerate(("zero", "one")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number, image in enumerate(images[labels == label][:60]):
            wrong = label == 1 and number in (3, 7, 20)
            place = tmp_path / "pictures" / ("zero" if wrong else name) / f"{name} {number:02}.png"
            Image.fromarray(image).save(place)
    command = ["inspect", str(tmp_path / "pictures"), "--weights", "letters", "--output-file", "out.html"]
    assert main([*command, "--cache-dir", str(tmp_path / "cache")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  Label in doubt: zero/one 20.png, looks like one (") for line in lines)
    assert "  Unlike all others: zero/zero 59.png" in lines
    page = Path("out.html").read_text("utf-8")
    for shown in ("Labels in doubt", "Pictures unlike all others", "zero, looks like one"):
        assert shown in page, shown


def test_classes_whose_labels_are_not_judged_are_named(tmp_path, capsys, monkeypatch):
    def made_up(folder, *_):
        paths, labels = zip(*list_image_folder(folder).splits["train"], strict=True)
        return np.eye(len(paths), dtype="float32"), np.array(labels), list(paths)

    monkeypatch.setattr(suspects, "folder_features", made_up)
    sentence = "These have fewer: dog."
    for n, expected in ((9, True), (10, False)):  # four or five dogs
        assert main(["inspect", str(folder_of(tmp_path / str(n), n)), "--output-file", "out.html"]) == 0
        assert any(line.endswith(sentence) for line in capsys.readouterr().out.splitlines()) == expected
        assert (sentence in Path("out.html").read_text("utf-8")) == expected


def test_without_the_weights_the_reason_is_named_and_everything_else_is_found(folder, capsys, one_round):
    assert main(["inspect", str(folder), "--output-file", "out.html"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Wrong labels and unusual pictures were not looked for: ") for line in lines)
    assert "12 files cannot be read." in lines and "Wrong labels" in Path("out.html").read_text("utf-8")
