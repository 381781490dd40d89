import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from tests.dashboard.charts import button, figures
from tests.pictures import bomb, new_collection, picture, zipped
from transfer_utils.cli.options import photo_config
from transfer_utils.config.options import preset
from transfer_utils.dashboard import jobs, teach_gallery, teach_pictures
from transfer_utils.dashboard.jobs import BackgroundJob
from transfer_utils.dashboard.pages import teach
from transfer_utils.dashboard.store import View
from transfer_utils.dashboard.teach_results import measured_verdict
from transfer_utils.errors import UserError
from transfer_utils.records.record import RunRecord
from transfer_utils.teach.collection import Collection, collections
from transfer_utils.teach.messages import CurvePoint, Measurement, Mistake, Receipt, write_model


@pytest.fixture(autouse=True)
def started(monkeypatch) -> list[tuple]:
    """Return the list of jobs that a test starts; none of them runs."""
    started = []
    monkeypatch.setattr(jobs, "_jobs", {})
    monkeypatch.setattr(jobs, "start", lambda *arguments: started.append(arguments))
    return started


def texts(app) -> str:
    return "\n".join(element.value for kind in (app.text, app.markdown, app.caption) for element in kind)


def measurement(collection: Collection, **changes) -> Measurement:
    cup, plate = (f"{name}/{collection.classes()[name][0]}" for name in ("cup", "plate"))
    values = {"pictures_digest": collection.digest(), "weights": "letters", "folds": 5, "repeats": 3, "grouped": False}
    values |= {"n": 10, "different": 9, "alike": 0, "accuracy": 0.8, "low": 0.49, "high": 0.94, "guessing": 0.5}
    values |= {"gain": 0.2, "gain_low": 0.05, "gain_high": 0.35}
    values |= {
        "recall": {"cup": 0.7, "plate": 0.9},
        "mistakes": [
            Mistake(file=cup, true="cup", predicted="plate", probability=0.9),
            Mistake(file=plate, true="plate", predicted="cup", probability=0.6),
            Mistake(file="cup/gone.png", true="cup", predicted="plate", probability=0.5),
            Mistake(file="odd", true="cup", predicted="plate", probability=0.5),
        ],
        "curve": [
            CurvePoint(per_class=2, accuracy=0.6, low=0.3, high=0.8),
            CurvePoint(per_class=4, accuracy=0.8, low=0.49, high=0.94),
        ],
    }
    return Measurement(**{**values, **changes})


def test_a_classifier_is_created_and_opened(tmp_path, draw):
    app = draw(tmp_path, "Teach")
    assert "Collect some pictures of each kind" in texts(app)
    app.text_input(key="new name").set_value(" kitchen ")
    app.text_input(key="new classes").set_value("cup, plate ,")
    app.button[0].click().run()
    assert not app.exception and app.query_params["classifier"] == "kitchen"
    assert list(Collection(tmp_path / "teach" / "kitchen").classes()) == ["cup", "plate"]
    assert app.selectbox(key="classifier").value == "kitchen"
    assert app.button(key="camera for cup").label == app.button(key="camera for plate").label == "Use the camera"
    app.text_input(key="new class").set_value("../bowl")
    button(app, "Add").click().run()
    assert "must not begin with" in texts(app)
    app.text_input(key="new class").set_value("bowl")
    button(app, "Add").click().run()
    assert list(Collection(tmp_path / "teach" / "kitchen").classes()) == ["bowl", "cup", "plate"]
    app.button(key="remove class bowl").click().run()
    assert list(Collection(tmp_path / "teach" / "kitchen").classes()) == ["cup", "plate"]


@pytest.mark.parametrize("comma", [",", "\uff0c", "\u3001", "\u060c"])
def test_classes_are_divided_by_the_comma_of_any_keyboard(tmp_path, draw, comma):
    app = draw(tmp_path, "Teach")
    app.text_input(key="new name").set_value("kitchen")
    app.text_input(key="new classes").set_value(f"cup{comma}plate{comma} bowl")
    app.button[0].click().run()
    assert not app.exception
    assert list(Collection(tmp_path / "teach" / "kitchen").classes()) == ["bowl", "cup", "plate"]


@pytest.mark.fault(24, 39)
def test_a_name_that_cannot_be_taken_is_refused_with_a_sentence(tmp_path, draw):
    for name, problem in (("../../etc", "must not begin with"), ("", "needs a name")):
        app = draw(tmp_path, "Teach")
        app.text_input(key="new name").set_value(name)
        app.button[0].click().run()
        assert not app.exception and problem in texts(app)
    assert collections(tmp_path) == []


@pytest.mark.fault(25, 39)
def test_an_address_opens_only_a_classifier_of_the_folder(tmp_path, draw):
    new_collection(tmp_path / "runs")
    new_collection(tmp_path / "other", ("secret",))
    for name in ("../../other/teach/kitchen", "/etc", ".."):
        app = draw(tmp_path / "runs", "Teach", classifier=name)
        assert not app.exception and app.selectbox(key="classifier").value == "kitchen"
        assert "secret" not in texts(app)


@pytest.mark.slow
@pytest.mark.fault(39)
def test_uploads_are_counted_and_refused_ones_are_named_at_their_class(tmp_path, draw):
    collection = new_collection(tmp_path)
    app = draw(tmp_path, "Teach")
    archive = zipped({f"{i}.png": picture(number=i) for i in (1, 2)})
    files = {"a.png": picture(), "photos.zip": archive, "bomb.png": bomb(), "note.txt": b"hello"}
    chosen = [(name, content, "image/png") for name, content in files.items()]
    app.file_uploader(key="upload to kitchen/cup 0").set_value(chosen).run()
    assert not app.exception and len(collection.classes()["cup"]) == 3
    assert app.warning[0].value == "Refused:"
    assert "bomb.png: 60000 x 60000 pixels" in texts(app) and "note.txt: not a picture that can be read" in texts(app)
    assert [badge for badge in app.markdown if "3 pictures" in badge.value]
    assert not list(collection.beside.glob("upload-*")), "what was uploaded is not left behind"
    assert app.file_uploader(key="upload to kitchen/cup 1").value == [], "the widget is empty again"


@pytest.mark.slow
def test_files_for_two_classes_are_both_kept_and_leave_the_memory(tmp_path, draw, monkeypatch):
    removed, remove = [], MemoryUploadedFileManager.remove_file

    def remove_file(self, session_id, file_id):
        removed.append(file_id)
        remove(self, session_id, file_id)

    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", remove_file)
    collection = new_collection(tmp_path)
    app = draw(tmp_path, "Teach")
    for name in ("cup", "plate"):  # the second while the first are judged
        app.file_uploader(key=f"upload to kitchen/{name} 0").set_value([("a.png", picture(name), "image/png")])
    app.run()
    assert not app.exception and [len(found) for found in collection.classes().values()] == [1, 1]
    assert not app.warning and len(set(removed)) == 2


def test_a_newer_run_of_the_page_waits_for_the_files_that_are_being_judged():
    begun, go_on, calls, sent = Event(), Event(), [], {}

    def judge():
        calls.append(1)
        begun.set()
        assert go_on.wait(60)
        return Receipt(added={"cup": 1})

    def send(files):
        return teach_pictures.once(sent, ("kitchen", "cup"), files, judge)

    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(send, ["a", "b"])
        assert begun.wait(60)
        newer = pool.submit(send, ["a", "b"])
        go_on.set()
        assert newer.result(60) is older.result(60)
    assert len(calls) == 1
    send(["c"])
    assert len(calls) == 2, "other files are judged"


def test_a_classifier_opened_before_the_files_of_another_one_are_judged_does_not_get_them(tmp_path, draw, monkeypatch):
    for name in ("kitchen", "canteen"):
        new_collection(tmp_path, name=name)
    sent_to = []
    monkeypatch.setattr(teach_pictures, "_send", lambda collection, *_: sent_to.append(collection.folder.name))
    app = draw(tmp_path, "Teach", classifier="kitchen")
    app.file_uploader(key="upload to kitchen/cup 0").set_value([("a.png", picture(), "image/png")]).run()
    app.selectbox(key="classifier").set_value("canteen").run()
    assert not app.exception and sent_to == ["kitchen"]


@pytest.mark.slow
def test_the_camera_is_open_for_one_class_and_each_shot_is_kept(tmp_path, draw):
    collection = new_collection(tmp_path)
    app = draw(tmp_path, "Teach")
    assert not app.camera_input
    app.button(key="camera for plate").click().run()
    shot = ("shot.jpg", picture("plate", form="JPEG"), "image/jpeg")
    app.camera_input(key="shot for kitchen/plate 0").set_value(shot).run()
    assert not app.exception and [len(found) for found in collection.classes().values()] == [0, 1]
    assert app.camera_input(key="shot for kitchen/plate 1").value is None, "ready for the next picture"
    app.button(key="camera for plate").click().run()
    assert not app.camera_input


def test_a_class_keeps_its_buttons_where_another_window_has_changed_the_classes(tmp_path, draw):
    collection = new_collection(tmp_path, ("cup", "plate", "spoon"))
    app = draw(tmp_path, "Teach")
    collection.remove_class("cup")  # in the other window
    app.button(key="remove class plate").click().run()
    assert not app.exception and list(collection.classes()) == ["spoon"]
    app.button(key="remove class spoon").click()
    collection.remove_class("spoon")
    assert not app.run().exception


def test_a_picture_that_cannot_be_removed_is_named_on_the_page(tmp_path, draw, monkeypatch):
    collection = new_collection(tmp_path, n=5)
    app = draw(tmp_path, "Teach")
    app.button(key="see class plate").click().run()
    app.session_state[teach_gallery.MARKED] = (str(collection.folder / "plate"), set(collection.newest("plate")))
    app.run()

    def held_open(self, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", held_open)
    app.button(key="remove marked").click().run()
    assert not app.exception and "Permission denied. Change who may use it" in texts(app) and app.warning
    assert len(collection.classes()["plate"]) == 5


@pytest.mark.slow
def test_an_upload_whose_dashboard_was_killed_is_removed_by_the_next_one_after_a_day(tmp_path):
    collection = new_collection(tmp_path)
    old, new = collection.beside / "upload-old", collection.beside / "upload-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    teach_pictures.submit(collection, "cup", [])
    assert not old.exists() and new.exists()


@pytest.mark.slow
def test_an_upload_is_taken_although_that_of_another_window_ends_meanwhile(tmp_path, monkeypatch):
    collection = new_collection(tmp_path)
    gone = collection.beside / "upload-gone"
    monkeypatch.setattr(Path, "glob", lambda *_: [gone])
    assert teach_pictures.submit(collection, "cup", []) is not None


class Uploaded(io.BytesIO):
    """A file as Streamlit hands it out."""

    name, size = "a.png", 5


@pytest.mark.fault(39)
def test_an_upload_beyond_the_limits_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    collection = new_collection(tmp_path)
    monkeypatch.setattr(teach_pictures, "run_child", lambda *_, **__: pytest.fail("a command was started"))
    with pytest.raises(UserError, match="at most 2,000 files, got 10,000"):
        teach_pictures.submit(collection, "cup", [Uploaded(b"12345")] * 10_000)
    assert list(collection.beside.iterdir()) == []


def test_a_failed_command_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    collection = new_collection(tmp_path)
    monkeypatch.setattr(teach_pictures, "run_child", lambda *_, **__: (1, "Error: the disk is full"))
    with pytest.raises(UserError, match=r"^the disk is full$"):
        teach_pictures.submit(collection, "cup", [Uploaded(b"12345")])
    assert list(collection.beside.iterdir()) == []


def test_training_waits_for_five_pictures_of_each_class_and_then_starts(tmp_path, draw, started):
    new_collection(tmp_path / "few", n=4)
    app = draw(tmp_path / "few", "Teach")
    assert "Each class needs at least 5 pictures: cup has 4, plate has 4." in texts(app)
    assert all(button.disabled for button in app.button if button.label in ("Train", "Fine-tune"))

    collection = new_collection(tmp_path / "enough", n=5)
    app = draw(tmp_path / "enough", "Teach", network="letters")
    assert "knows no animals, faces or things" in app.warning[0].value
    for label, words in (("Train", ["teach", "--n_unfreeze", "0"]), ("Fine-tune", ["train"])):
        button(app, label).click().run()
        owner, _, arguments = started.pop()
        assert owner == str(collection.folder) and arguments[: len(words)] == words
        assert arguments[-4:] == ["--weights", "letters", "--image_size", "64"]


def test_a_click_asks_for_what_the_command_line_would_do(tmp_path):
    """The page's arguments give the options of ``train --dataset folder``, but for those of the head and of paths."""
    collection, view = new_collection(tmp_path, n=5), View(tmp_path, [], {})
    for kind, n_unfreeze in ((teach.MEASURE, 0), (teach.FINE_TUNE, 30)):
        words = teach.arguments(collection, view, "photographs", kind)[1:]
        options = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
        config, _ = photo_config(options)
        data = {"dataset": "folder", "data_dir": str(collection.folder)}
        by_hand, _ = photo_config({**data, "n_unfreeze": str(n_unfreeze)})
        assert by_hand.weights == "imagenet" and by_hand.n_unfreeze == n_unfreeze
        assert config.model_copy(update={"export": "none"}).fingerprint == by_hand.fingerprint
        assert config.output_dir == str(tmp_path) and preset("photos", **config.model_dump(exclude={"preset"}))


def test_a_running_job_shows_its_step_and_can_be_stopped(tmp_path, draw):
    collection = new_collection(tmp_path, n=5)
    job = jobs._jobs[str(collection.folder)] = BackgroundJob(teach.MEASURE)
    app = draw(tmp_path, "Teach")
    assert not app.file_uploader and all(button.disabled for button in app.button if button.label == "Train")
    button(app, "Stop").click().run()
    assert job.stopping and button(app, "Stop").disabled
    write_model(collection.measurement, measurement(collection))
    app = draw(tmp_path, "Teach")
    removing = [button for button in app.button if button.label == "Remove"]
    assert removing and all(button.disabled for button in removing), "the pictures are being read"
    job.status = 143
    app = draw(tmp_path, "Teach")
    assert app.info[0].value == "Stopped." and app.file_uploader


@pytest.mark.fault(11)
def test_without_the_imagenet_weights_the_embedded_ones_are_offered_with_a_warning(tmp_path, draw):
    collection = new_collection(tmp_path, n=5)
    message = "Error: the ImageNet weights of MobileNetV2 could not be downloaded: put the file into place."
    jobs._jobs[str(collection.folder)] = BackgroundJob(teach.MEASURE, status=2, message=message)
    app = draw(tmp_path, "Teach")
    assert "could not be downloaded" in texts(app) and "knows no animals, faces or things" in texts(app)
    next(button for button in app.button if "ships with the package" in button.label).click().run()
    assert app.query_params["network"] == "letters" and "knows no animals" in app.warning[0].value
    jobs._jobs[str(collection.folder)] = BackgroundJob(teach.MEASURE, status=1, message="Error: the disk is full")
    app = draw(tmp_path, "Teach")
    assert "the disk is full" in texts(app) and not [b for b in app.button if "ships with" in b.label]


def test_the_measurement_is_shown_with_how_it_was_made_and_mistakes_can_be_removed(tmp_path, draw):
    collection = new_collection(tmp_path, n=5)
    write_model(collection.measurement, measurement(collection))
    app = draw(tmp_path, "Teach")
    assert not app.exception
    values = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert values["Right answers"] == ("80.0 %", "95 %: 49.0–94.0") and values["By guessing"][0] == "50.0 %"
    assert "3 × 5-fold, stratified: each picture was classified 3 times by a head that had not seen it" in texts(app)
    original = collection.original_names()[collection.classes()["cup"][0]]
    assert f"cup, taken for\nplate (90.0 %)\n{original}" in texts(app)
    [chart] = figures(app)
    [points] = chart["data"]
    assert points["y"] == [0.6, 0.8] and points["error_y"]["arrayminus"] == pytest.approx([0.3, 0.31])
    removing = [button for button in app.button if button.label == "Remove"]
    assert len(removing) == 2, "a picture that is gone is not shown"
    removing[0].click().run()
    assert len(collection.classes()["cup"]) == 4 and "Train again to measure them" in app.info[0].value


def test_all_pictures_of_a_class_are_shown_and_marked_ones_are_removed(tmp_path, draw):
    collection = new_collection(tmp_path, n=5)
    app = draw(tmp_path, "Teach")
    app.button(key="see class plate").click().run()
    assert not app.exception and app.query_params["class"] == "plate" and "plate: 5 pictures" in texts(app)
    assert app.button(key="remove marked").disabled
    first, second, *others = collection.newest("plate")
    app.session_state[teach_gallery.MARKED] = (str(collection.folder / "plate"), {first, "gone.png"})
    app.run()
    assert app.button(key="remove marked").label == "Remove 1 picture"
    app.button(key="remove marked").click().run()
    assert collection.newest("plate") == [second, *others] and "plate: 4 pictures" in texts(app)
    jobs._jobs[str(collection.folder)] = BackgroundJob(teach.MEASURE)
    app = draw(tmp_path, "Teach", **{"class": "cup"})
    assert "no picture can be removed" in texts(app) and "remove marked" not in [button.key for button in app.button]
    assert "All pictures" not in texts(draw(tmp_path, "Teach", **{"class": "../plate"}))


def test_a_page_of_the_gallery_that_is_gone_gives_way_to_the_last(tmp_path, draw, monkeypatch):
    monkeypatch.setattr(teach_gallery, "SHOWN", 2)
    collection = new_collection(tmp_path, n=5)
    app = draw(tmp_path, "Teach", **{"class": "cup"})
    assert "of 3" in texts(app)
    app.number_input(key="page of cup").set_value(3).run()
    collection.remove("cup", collection.newest("cup")[0])
    app.run()
    assert not app.exception and app.number_input(key="page of cup").value == 2 and "of 2" in texts(app)


def test_what_more_pictures_bring_is_said_by_the_interval(tmp_path):
    collection = new_collection(tmp_path, n=1)
    rising = measurement(collection)
    assert measured_verdict(rising) == (
        "From half of the pictures to all, the accuracy changed by +20.0 points (+5.0 to +35.0); in parentheses, its "
        "95 % interval. It is still rising: more pictures of the same kind should help."
    )
    assert "No clear gain" in measured_verdict(measurement(collection, gain_low=-0.01))
    assert "(−1.0 to +35.0)" in measured_verdict(measurement(collection, gain_low=-0.01))
    assert "(0.0 to +35.0)" in measured_verdict(measurement(collection, gain_low=-0.0001)), "no zero has a sign"
    assert "too few" in measured_verdict(measurement(collection, gain=None, gain_low=None, gain_high=None))


def test_pictures_that_look_alike_are_spoken_of(tmp_path, draw):
    collection = new_collection(tmp_path, n=1)
    write_model(collection.measurement, measurement(collection, alike=4, grouped=True))
    assert "4 pictures look like another one. They were kept together" in texts(draw(tmp_path, "Teach"))
    write_model(collection.measurement, measurement(collection, alike=4))
    assert any("the accuracy is too high" in warning.value for warning in draw(tmp_path, "Teach").warning)


def chosen_model(app) -> str:
    return next(box.value for box in app.selectbox if box.label == "Classifier of the run")


def test_the_newest_classifier_is_chosen_until_another_one_is(tmp_path, draw):
    collection = new_collection(tmp_path)

    def train(name: str) -> None:
        config = {"dataset": "folder", "data_dir": str(collection.folder)}
        RunRecord(run_id=name, config=config, files={"model": "model.keras"}).save(tmp_path / name / "run.json")
        (tmp_path / name / "model.keras").write_bytes(b"")

    train("0001")
    train("0002")
    app = draw(tmp_path, "Teach")
    assert chosen_model(app) == "0002"
    app.selectbox(key="teach model 0002").select("0001").run()
    assert chosen_model(app.run()) == "0001"
    train("0003")
    assert chosen_model(app.run()) == "0003"


@pytest.mark.slow
@pytest.mark.fault(25)
def test_the_classifier_is_tried_and_its_files_are_offered(tmp_path, draw, model_run, picture):
    collection = new_collection(tmp_path, n=1)
    folder = tmp_path / "0001-kitchen-transfer"
    folder.mkdir()
    (folder / "model.keras").write_bytes((model_run / "0001-colours" / "model.keras").read_bytes())
    (folder / "model-float32.tflite").write_bytes(b"lite")
    dataset = {"class_names": ["<b>red</b>", "green", "blue"], "images": {"train": 1, "validation": 1, "test": 1}}
    files = {"model": "model.keras", "float32": "model-float32.tflite"}
    config = {"dataset": "folder", "data_dir": str(collection.folder), "model": "transfer"}
    record = RunRecord(run_id="0001", config=config, dataset=dataset, files=files, command="transfer-utils train")
    record.save(folder / "run.json")
    RunRecord(run_id="0002", config={**config, "data_dir": "/other"}, files=files).save(tmp_path / "0002" / "run.json")
    app = draw(tmp_path, "Teach")
    assert not app.exception and chosen_model(app) == "0001-kitchen-transfer"
    assert "It was made from 3 pictures; now there are 2." in texts(app)
    offered = ["Model", "Class names (Model)", "LiteRT", "Class names (LiteRT)", "Record"]
    assert [button.label for button in app.download_button] == offered
    app.file_uploader(key="try file").set_value(("red.png", picture, "image/png")).run()
    [chart] = figures(app)
    assert chart["layout"]["yaxis"]["ticktext"][0] == "&lt;b&gt;red&lt;/b&gt;"
    record.files = {"model": "model.keras", "float32": "../../secret.tflite"}
    record.dataset = dataset | {"images": ["odd"]}
    record.save(folder / "run.json")
    (tmp_path.parent / "secret.tflite").write_bytes(b"secret")
    assert [button.label for button in draw(tmp_path, "Teach").download_button] == [*offered[:2], "Record"]


def test_markup_in_names_is_shown_as_text(tmp_path, draw):
    name = "**cup** :red[x] $x^2$ `a`"
    collection = new_collection(tmp_path, ("plate",))
    (collection.folder / name).mkdir()
    app = draw(tmp_path, "Teach")
    assert not app.exception and name in [text.value for text in app.text]
    assert not any(name in element.value for element in (*app.markdown, *app.caption))


def test_a_receipt_of_another_classifier_is_not_shown(tmp_path, draw):
    collection = new_collection(tmp_path)
    app = draw(tmp_path, "Teach")
    for folder, shown in ((str(collection.folder), True), ("/other", False)):
        app.session_state[teach_pictures.NEWS] = (folder, "cup", Receipt(refused=["a.png: no"]))
        assert ("a.png: no" in texts(app.run())) is shown


def test_a_page_drawn_before_a_job_of_another_window_began_removes_nothing(tmp_path, draw):
    collection = new_collection(tmp_path, n=5)
    write_model(collection.measurement, measurement(collection))
    mistakes = draw(tmp_path, "Teach")
    marking = draw(tmp_path, "Teach", **{"class": "plate"})
    marking.session_state[teach_gallery.MARKED] = (str(collection.folder / "plate"), {collection.newest("plate")[0]})
    marking.run()
    jobs._jobs[str(collection.folder)] = BackgroundJob("measure")  # started in another window
    next(button for button in mistakes.button if button.label == "Remove").click().run()
    marking.button(key="remove marked").click().run()
    assert [len(pictures) for pictures in collection.classes().values()] == [5, 5]
    assert teach_gallery.IN_USE in texts(mistakes) and not mistakes.exception and not marking.exception


@pytest.mark.parametrize(("weights", "seen"), [("imagenet", "photographs"), ("letters", "letters")])
def test_a_measurement_names_its_network(tmp_path, draw, weights, seen):
    collection = new_collection(tmp_path, n=5)
    write_model(collection.measurement, measurement(collection, weights=weights))
    assert f"Measured with the network that has seen {seen}, by cross-validation" in texts(draw(tmp_path, "Teach"))
