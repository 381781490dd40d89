import pytest

from tests import tiny
from tests.pictures import new_collection, picture, uploaded
from transfer_utils import cli
from transfer_utils.data.uploads import take_upload
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.experiment import cross_validation
from transfer_utils.models.saving import load_model
from transfer_utils.models.weights import sha256_of_weights
from transfer_utils.records.record import read_record
from transfer_utils.teach.collection import FOLDER
from transfer_utils.teach.messages import Measurement, read_model
from transfer_utils.utils.files import sha256_of

OPTIONS = ["--weights", "random", "--image_size", "32", "--model_path", "none", "--n_unfreeze", "0", "--quiet"]


def arguments(collection, runs) -> list[str]:
    return ["--dataset", "folder", "--data_dir", str(collection.folder), "--output_dir", str(runs), *OPTIONS]


@pytest.mark.slow
def test_a_click_on_train_measures_and_makes_the_run_of_the_command_line(tmp_path, small_backbone, monkeypatch):
    collection = new_collection(tmp_path, n=12)
    assert cli.main(["teach", *arguments(collection, tmp_path)]) == 0
    measured = read_model(collection.measurement, Measurement)
    assert measured.pictures_digest == collection.digest() and not collection.step.exists()
    assert (measured.n, measured.folds, measured.repeats) == (24, 5, 3)
    assert (measured.different, measured.alike) == (23, 2)  # two of the drawn pictures look like shifted copies
    assert set(measured.recall) == {"cup", "plate"} and measured.guessing == 0.5
    interval = wilson_interval(round(23 * measured.accuracy), 23)  # neither repeats nor twins narrow it
    for found in (measured, measured.curve[-1]):
        assert (found.accuracy, found.low, found.high) == (measured.accuracy, *interval)
    assert measured.accuracy == pytest.approx(sum(measured.recall.values()) / 2)
    stored = {f"{name}/{file}" for name, files in collection.classes().items() for file in files}
    assert {mistake.file for mistake in measured.mistakes} <= stored

    assert cli.main(["train", *arguments(collection, tmp_path / "by hand")]) == 0
    folders = tmp_path / "0001-kitchen-transfer", tmp_path / "by hand" / "0001-kitchen-transfer"
    records = [read_record(folder / "run.json") for folder in folders]
    weights = {sha256_of_weights(load_model(folder / "model.keras")) for folder in folders}
    assert len(weights) == 1 and records[0].metrics == records[1].metrics
    assert records[0].status == "completed" and records[0].fingerprint == records[1].fingerprint
    assert records[0].command == records[1].command and records[0].command.startswith("transfer-utils train ")
    assert [record.dataset["class_names"] for record in records] == [["cup", "plate"]] * 2

    before = sha256_of(folders[0] / "model.keras")
    assert cli.main(["teach", *arguments(collection, tmp_path)]) == 0
    assert len(list(tmp_path.glob("0*"))) == 1 and sha256_of(folders[0] / "model.keras") == before, "it is used again"
    monkeypatch.setattr(cross_validation, "FEW_PICTURES", 25)
    take_upload(uploaded(collection, "cup", {"new.png": picture(number=99)}))
    assert cli.main(["teach", *arguments(collection, tmp_path)]) == 0
    assert len(list(tmp_path.glob("0*"))) == 2, "of other pictures, another run"
    measured = read_model(collection.measurement, Measurement)
    assert (measured.n, measured.repeats) == (25, 1), "many pictures are classified once"


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused_with_a_sentence(tmp_path, small_backbone, capsys):
    few = new_collection(tmp_path, n=4)
    assert cli.main(["teach", *arguments(few, tmp_path)]) == 2
    assert "needs at least 5 pictures of each class that can be read; 'cup' has 4" in capsys.readouterr().err
    words = ["teach", "--data_dir", tiny.image_folder(), "--output_dir", str(tmp_path), *OPTIONS]
    assert cli.main(words) == 2
    assert "must be a folder of the page Teach" in capsys.readouterr().err
    assert cli.main(["teach", "--preset", "photos", "--data_dir", str(few.folder)]) == 2
    assert not list(tmp_path.glob("0*")) and (tmp_path / FOLDER).is_dir()


@pytest.mark.slow
@pytest.mark.fault(11)
def test_without_the_imagenet_weights_the_message_names_them(tmp_path, capsys, monkeypatch, one_round):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    collection = new_collection(tmp_path, n=5)
    words = ["--data_dir", str(collection.folder), "--output_dir", str(tmp_path), "--model_path", "none", "--quiet"]
    assert cli.main(["teach", *words]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert "ImageNet weights" in errors[-1], "the page looks for this in the last line"
    assert not collection.measurement.exists()
