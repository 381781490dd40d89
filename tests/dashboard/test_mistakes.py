"""The page "Mistakes": counts equal to the matrix, the right pictures in the right order, and honest gaps."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.dashboard.charts import button, sent
from tests.samples import TESTED_CLASSES, predictions, write_run, write_tested
from transfer_utils.dashboard import result_charts, store
from transfer_utils.dashboard.pages.mistakes import SHOWN
from transfer_utils.dashboard.tested import read_tested
from transfer_utils.records.predictions import PREDICTIONS_NAME, Predictions, load_predictions, save_predictions
from transfer_utils.records.record import read_record
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, save_thumbnails
from transfer_utils.teach.collection import create_collection


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tested")
    write_tested(folder / "one", predictions(1))
    write_tested(folder / "two", predictions(2))
    write_run(folder / "without", {}, "completed", 0)
    return folder


def gallery(app) -> list[dict]:
    """Return the pictures of the gallery of a page."""
    galleries = [data["pictures"] for data in sent(app) if "pictures" in data and data["clickable"]]
    return galleries[0] if galleries else []


def matrix(app) -> np.ndarray:
    """Return the counts that the chart of the confusion matrix shows."""
    [figure] = [json.loads(data["figure"]) for data in sent(app) if "figure" in data]
    return np.array([int(cell.replace(",", "")) for cell in figure["data"][2]["text"]]).reshape(3, 3)


def test_the_counts_are_those_of_the_matrix_and_each_cell_shows_its_pictures(folder, draw):
    test = predictions(1)
    app = draw(folder, "Mistakes", run="one")
    assert not app.exception
    np.testing.assert_array_equal(matrix(app), read_record(folder / "one" / "run.json").confusion_matrix)
    for true, predicted in ((0, 0), (0, 2), (2, 1)):
        app = draw(folder, "Mistakes", run="one", true=TESTED_CLASSES[true], predicted=TESTED_CLASSES[predicted])
        expected = np.flatnonzero((test.labels == true) & (test.predicted == predicted))
        shown = gallery(app)
        assert len(shown) == min(len(expected), SHOWN) and {picture["at"] for picture in shown} <= set(expected)
        count = f"{len(expected)} images of {TESTED_CLASSES[true]}, predicted {TESTED_CLASSES[predicted]}"
        assert count in [text.value for text in app.text]
        assert all(picture["right"] == (true == predicted) for picture in shown)
        assert all(picture["image"].startswith("data:image/webp;base64,UklGR") for picture in shown)


def test_no_matrix_is_made_of_more_classes_than_can_be_drawn(folder, draw, monkeypatch):
    monkeypatch.setattr(result_charts, "MAX_DRAWN_CLASSES", 2)
    monkeypatch.setattr(Predictions, "confusion_matrix", None)
    app = draw(folder, "Mistakes", run="one")
    assert not app.exception
    assert "A matrix of more than 2 classes is not drawn." in [caption.value for caption in app.caption]


def test_the_most_frequent_mistake_is_shown_at_first_and_pages_can_be_turned(folder, draw):
    test = load_predictions(folder / "one")["test"]
    counts = test.confusion_matrix() - np.diag(np.diag(test.confusion_matrix()))
    true, predicted = np.unravel_index(counts.argmax(), (3, 3))
    app = draw(folder, "Mistakes", run="one")
    shown = [app.selectbox(key=key).value for key in ("true", "predicted")]
    assert shown == [TESTED_CLASSES[true], TESTED_CLASSES[predicted]]
    app = draw(folder, "Mistakes", run="one", show="Least sure")
    first = [picture["at"] for picture in gallery(app)]
    assert first == test.least_sure()[:SHOWN].tolist()
    app.number_input[0].set_value(2).run()
    assert [picture["at"] for picture in gallery(app)] == test.least_sure()[SHOWN : 2 * SHOWN].tolist()


def test_the_surest_mistakes_come_in_order_with_what_they_are_and_were_taken_for(folder, draw):
    test = load_predictions(folder / "one")["test"]
    app = draw(folder, "Mistakes", run="one", show="Surest mistakes")
    shown = gallery(app)
    assert [picture["at"] for picture in shown] == test.mistakes()[:SHOWN].tolist()
    at = shown[0]["at"]
    sure = float(test.probabilities[at].max())
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in shown[0]["lines"]]
    assert lines == [
        f"{TESTED_CLASSES[test.predicted[at]]} {100 * sure:.1f} %",
        f"true: {TESTED_CLASSES[test.labels[at]]}",
    ]
    assert shown[0]["name"] == test.names[at]


def test_images_that_one_of_two_runs_classifies_rightly(folder, draw):
    one, two = predictions(1), predictions(2)
    right = [test.predicted == test.labels for test in (one, two)]
    for choice, mask in (
        ("only this run is right", right[0] & ~right[1]),
        ("only the other run is right", right[1] & ~right[0]),
    ):
        app = draw(folder, "Mistakes", run="one", show="One of two runs right", other="two", right=choice)
        assert f"{mask.sum()} images: {choice}" in [text.value for text in app.text]
        shown = [picture["at"] for picture in gallery(app)]
        assert set(shown) <= set(np.flatnonzero(mask)) and len(shown) == min(mask.sum(), SHOWN)
        assert gallery(app)[0]["lines"][-1].startswith("other: ")


def test_a_picture_that_only_the_other_run_has_kept_can_be_looked_at(tmp_path, draw):
    write_tested(tmp_path / "one", predictions(1), thumbnails=[0])
    write_tested(tmp_path / "two", predictions(2))
    app = draw(tmp_path, "Mistakes", run="one", show="One of two runs right", picture="7")
    [large] = [data["pictures"] for data in sent(app) if "pictures" in data and not data["clickable"]]
    assert large[0]["image"].startswith("data:image/webp;base64,UklGR")


def test_runs_on_other_images_are_not_compared(tmp_path, draw):
    write_tested(tmp_path / "one", predictions(1))
    other = predictions(2)
    write_tested(tmp_path / "two", replace(other, index=other.index + 1))
    app = draw(tmp_path, "Mistakes", run="one", show="One of two runs right")
    assert any("not tested on the same images" in info.value for info in app.info) and not gallery(app)


def test_one_picture_is_shown_with_its_classes(folder, draw):
    test = predictions(1)
    app = draw(folder, "Mistakes", run="one", picture="7")
    assert not app.exception
    assert test.names[7] in [text.value for text in app.text]
    assert any("has not kept the saved model" in caption.value for caption in app.caption)
    for odd in ("9999", "-1", "٣"):
        app = draw(folder, "Mistakes", run="one", picture=odd)
        assert not app.exception and not any("Grad-CAM" in caption.value for caption in app.caption)


def test_a_run_without_predictions_says_so_with_the_command_that_makes_them(folder, draw):
    app = draw(folder, "Mistakes", run="without")
    record = read_record(folder / "without" / "run.json")
    assert any("has no predictions" in info.value for info in app.info)
    assert [block.value for block in app.code] == [record.command] and sent(app)
    app = draw(folder, "Mistakes", run="no such run")
    assert app.warning and "no such run" in [text.value for text in app.text]
    assert draw(folder, "Mistakes").selectbox(key="run").value == "one", "the first run that keeps predictions"


def test_a_run_without_thumbnails_still_shows_every_prediction(tmp_path, draw):
    test = write_tested(tmp_path / "one", predictions(1), thumbnails=[0, 1])
    app = draw(tmp_path, "Mistakes", run="one", show="Surest mistakes")
    assert len(gallery(app)) == min(len(test.mistakes()), SHOWN)
    assert any("thumbnails of 2 of the 300 test images" in caption.value for caption in app.caption)
    (tmp_path / "one" / THUMBNAILS_NAME).unlink()
    app = draw(tmp_path, "Mistakes", run="one", show="Surest mistakes")
    assert {picture["image"] for picture in gallery(app)} == {""} and app.code


@pytest.mark.fault(23, 25)
@pytest.mark.parametrize("name", [PREDICTIONS_NAME, THUMBNAILS_NAME])
def test_damaged_files_are_named_and_links_that_lead_out_are_not_followed(tmp_path, draw, name):
    write_tested(tmp_path / "one", predictions(1))
    path = tmp_path / "one" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    app = draw(tmp_path, "Mistakes", run="one")
    assert app.warning and not app.exception
    assert not any(str(tmp_path) in text.value for text in app.text)
    outside = tmp_path.parent / f"{tmp_path.name}-{name}"
    outside.write_bytes(whole)
    path.unlink()
    path.symlink_to(outside)
    [row] = store.read(tmp_path).rows
    tested = read_tested(row)
    assert tested is None if name == PREDICTIONS_NAME else tested.thumbnails == {}


def test_classes_without_usable_names_are_told_apart(tmp_path, draw):
    write_tested(tmp_path / "one", predictions(1), names=[None, {}, {}])
    app = draw(tmp_path, "Mistakes", run="one")
    assert not app.exception and len(set(app.selectbox(key="true").options)) == 3


def test_ten_thousand_images_are_read_once_and_little_is_sent(tmp_path, draw, monkeypatch):
    names = [f"class {i}" for i in range(10)]
    write_tested(tmp_path / "one", predictions(1, 10_000, 10, names=False), range(2_000), names)
    app = draw(tmp_path, "Mistakes", run="one", show="Surest mistakes")
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read again"))
    app.segmented_control(key="show").set_value("Least sure").run()
    assert not app.exception and len(gallery(app)) == SHOWN
    assert sum(len(picture["image"]) for picture in gallery(app)) < 200_000


@pytest.mark.slow
def test_grad_cam_shows_where_the_model_of_the_run_looked(model_run, tmp_path, draw):
    shutil.copytree(model_run / "0001-colours", tmp_path / "one")
    labels = np.zeros(4, int)
    test = Predictions(np.eye(3)[[0, 0, 2, 1]], labels, np.arange(4), np.array([0, 0, 2, 1]))
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    pixels[:, :, 4:, 0] = 255  # the right half is red
    save_predictions(tmp_path / "one" / PREDICTIONS_NAME, {"test": test})
    save_thumbnails(tmp_path / "one" / THUMBNAILS_NAME, range(4), lambda rows: pixels[rows])
    app = draw(tmp_path, "Mistakes", run="one", picture="2")
    button(app, "Show where the network looked").click().run()
    assert not app.exception and not app.warning and len(app.image) == 2
    assert any("the model predicts <b>red</b>" in text.value for text in app.text)
    (tmp_path / "one" / "model.keras").write_bytes(b"no model")
    app = draw(tmp_path, "Mistakes", run="one", picture="2")
    button(app, "Show where the network looked").click().run()
    assert not app.exception and [box.value for box in app.warning] == ["The thumbnail could not be classified:"]
    assert not any(str(tmp_path) in text.value for text in app.text)


def test_pictures_of_a_collection_have_the_names_that_they_came_with(tmp_path):
    collection = create_collection(tmp_path, "pets")
    collection.names.write_text(json.dumps({"0.png": "my cat.jpg"}))
    folders = {
        "taught": collection.folder,
        "before the project was moved": tmp_path / "old" / "teach" / "pets",
        "elsewhere": tmp_path / "other" / "pets",
    }
    for name, data_dir in folders.items():
        test = write_tested(tmp_path / name, predictions(1), thumbnails=[])
        record = read_record(tmp_path / name / "run.json")
        record.config["data_dir"] = str(data_dir)
        record.save(tmp_path / name / "run.json")
    rows = {row.name: row for row in store.read(tmp_path).rows}
    taught, moved, elsewhere = (read_tested(rows[name]) for name in folders)
    for tested in (taught, moved):
        assert [tested.name(at) for at in (0, 1)] == [test.names[0].replace("0.png", "my cat.jpg"), test.names[1]]
    assert elsewhere.name(0) == test.names[0], "a record may not have the names of any folder read"
    assert taught.has_same_images(elsewhere)
