"""One run from options to record: what is recorded, however the run ends, and how an interrupted run resumes."""

import functools
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from sklearn.metrics import confusion_matrix

from tests import tiny
from tests.conftest import ROOT
from tests.tiny import quiet
from transfer_utils.config.options import RunConfig
from transfer_utils.data.images import decode_image
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import Diverged, UserError
from transfer_utils.evaluation.not_sure import sentence
from transfer_utils.experiment import phases
from transfer_utils.experiment import session as sessions
from transfer_utils.experiment.run import finished_run, run_experiment
from transfer_utils.models.saving import load_model, names_and_threshold
from transfer_utils.models.weights import sha256_of_weights
from transfer_utils.records.folder import load_runs
from transfer_utils.records.predictions import load_predictions
from transfer_utils.records.record import RECORD_NAME, RunRecord, finite, read_record, unpack_bits
from transfer_utils.records.thumbnails import load_thumbnails
from transfer_utils.training import stages
from transfer_utils.utils import disk
from transfer_utils.utils.files import lock

pytestmark = pytest.mark.usefixtures("small_backbone")
EPOCHS, RATE = 12, 0.3

# The keys in the record of the original script.
OLD_KEYS = {"config": {"base_model", "n_unfreeze", "augment", "batch_size", "epochs_stage2"}, "timing_sec": {"total"}}
OLD_KEYS |= {"metrics": {"val_end2end", "test_end2end"}, "curves": set()}


def config(**options) -> RunConfig:
    stages = {"epochs_stage1": EPOCHS, "epochs_stage2": EPOCHS, "patience": 0}
    return tiny.config(**{**stages, "not_sure_rate": RATE, **options})


def interrupt(options: RunConfig, moment: str) -> None:
    """Run until a step of this title, and interrupt it there."""

    def progress(title: str, done: int, total: int) -> None:
        if title == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(options, progress=progress, log=quiet)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return a run that was not interrupted, and its record after each save."""
    folder, records, lines = tmp_path_factory.mktemp("uninterrupted"), [], []
    save = RunRecord.save

    def keep(self, path):
        save(self, path)
        records.append(read_record(path))

    with pytest.MonkeyPatch.context() as patch:
        tiny.use_backbone(patch)
        patch.setattr(RunRecord, "save", keep)
        paths = {"output_dir": str(folder / "runs"), "model_path": str(folder / "model.h5")}
        run = run_experiment(config(json_output_path=str(folder / "log.json"), **paths), log=lines.append)
    return SimpleNamespace(run=run, records=records, folder=folder, lines=lines)


def outcome(folder: Path) -> tuple:
    """Return what is identical to the bit when a run is repeated."""
    record = read_record(folder / RECORD_NAME)
    curves = {name: {k: v for k, v in curve.items() if k != "seconds"} for name, curve in record.curves.items()}
    weights = sha256_of_weights(load_model(folder / "model.keras"))
    measured = record.metrics, record.not_sure, record.cross_validation
    return weights, curves, *measured, record.confusion_matrix, record.test_correct


def epochs_of(record: RunRecord, stage: str) -> int:
    return len(record.curves.get(stage, {}).get("loss", []))


@pytest.mark.slow
def test_a_completed_run_has_a_complete_record_and_keeps_no_checkpoints(uninterrupted):
    record = json.loads((uninterrupted.run.folder / RECORD_NAME).read_text("utf-8"), parse_constant=pytest.fail)
    for key, names in OLD_KEYS.items():
        assert names <= set(record[key]), key
    assert record["config"]["base_model"] == "MobileNetV2" and record["status"] == "completed"
    log = json.loads((uninterrupted.folder / "log.json").read_text("utf-8"))
    assert record | {"updated": ""} == log | {"updated": ""}, "they are written one after the other"
    assert (record["run_id"], uninterrupted.run.name) == ("0001-shapes-transfer", "0001-shapes-transfer")
    assert {len(values) for stage in ("stage1", "stage2") for values in record["curves"][stage].values()} == {EPOCHS}
    phases_timed = {"data", "features", "stage1", "building", "boundary", "stage2", "saving", "evaluation"}
    phases_timed |= {"loading", "thumbnails"}
    assert phases_timed | {"total"} == set(record["timing_sec"])
    assert sum(record["timing_sec"][name] for name in phases_timed) <= record["timing_sec"]["total"] + 0.01
    assert record["network"]["weights_from"] == "stage2" and record["notes"] == []
    assert record["network"]["boundary"] == {"layer": "add", "shape": [8, 8, 8]}
    sizes = [record["network"][name] for name in ("trainable_stage1", "trainable_stage2", "parameters")]
    assert sizes == sorted(set(sizes))
    assert record["dataset"]["images"] == {"train": 40, "validation": 10, "test": 10}
    assert record["dataset"]["class_names"] == tiny.CLASSES
    assert len(record["dataset"]["fingerprint"]) == len(record["weights"]["sha256"]) == 64
    assert {"python", "keras", "tensorflow"} <= set(record["versions"]) and record["machine"]["cores"] >= 1
    files = {path.name for path in uninterrupted.run.folder.iterdir()}
    assert "model.keras" in files and not {name for name in files if name.startswith("checkpoint")}


@pytest.mark.slow
def test_the_metrics_are_those_of_the_saved_model_on_each_split(uninterrupted):
    record, dataset = uninterrupted.run.record, load_dataset(config())
    model = load_model(uninterrupted.run.folder / record.files["model"])
    for key, split in (("train", dataset.train), ("val", dataset.validation)):
        assert record.metrics[f"{key}_end2end"] == (model(split.take()).numpy().argmax(axis=1) == split.labels).mean()
    test = dataset.test
    for path in (uninterrupted.run.folder / record.files["model"], uninterrupted.folder / "model.h5"):
        predicted = load_model(path)(test.take()).numpy().argmax(axis=1)
        assert record.metrics["test_end2end"] == (predicted == test.labels).mean()
        assert unpack_bits(record.test_correct, 10).tolist() == (predicted == test.labels).tolist()
        assert record.confusion_matrix == confusion_matrix(test.labels, predicted).tolist()
    assert record.metrics["test_low"] < record.metrics["test_end2end"] <= record.metrics["test_high"]


@pytest.mark.slow
def test_the_threshold_of_not_sure_is_chosen_on_validation_and_kept_beside_every_copy(uninterrupted):
    record, validation = uninterrupted.run.record, load_dataset(config()).validation
    model = load_model(uninterrupted.run.folder / record.files["model"])
    largest = np.sort(model(validation.take()).numpy().max(axis=1))
    assert record.not_sure["rate"] == RATE and record.not_sure["val_share"] == 0.3
    assert largest[2] < record.not_sure["threshold"] and record.not_sure["threshold"] == pytest.approx(largest[3])
    copy, own = uninterrupted.folder / "model.h5", uninterrupted.run.folder / "model.keras"
    assert names_and_threshold(copy, 2)[1] == names_and_threshold(own, 2)[1] == record.not_sure["threshold"]
    assert json.loads(copy.with_name("model.h5.classes.json").read_text())["class_names"] == tiny.CLASSES
    assert any(line == sentence(record.not_sure) for line in uninterrupted.lines)


@pytest.mark.slow
def test_with_few_images_the_head_is_cross_validated_and_the_log_says_how_sure_one_can_be(uninterrupted):
    record, metrics = uninterrupted.run.record, uninterrupted.run.record.metrics
    checked = record.cross_validation
    assert {name: checked[name] for name in ("images", "folds", "repeats")} == {"images": 50, "folds": 5, "repeats": 3}
    assert checked["low"] < checked["accuracy"] < checked["high"]
    (line,) = (line for line in uninterrupted.lines if line.startswith("Few images leave"))
    wide = f"{100 * (metrics['test_high'] - metrics['test_low']):.0f} points wide on 10 test images"
    assert wide in line and f"classifies {100 * checked['accuracy']:.1f} %" in line


@pytest.mark.slow
def test_every_prediction_for_validation_and_test_is_kept_with_the_file_of_its_image(uninterrupted):
    run, folder = uninterrupted.run, Path(tiny.image_folder())
    model, kept = load_model(run.folder / "model.keras"), load_predictions(run.folder)
    assert run.record.files["predictions"] == "predictions.npz" and list(kept) == ["val", "test"]
    for key, split in (("val", "validation"), ("test", "test")):
        predictions = kept[key]
        images = np.stack([decode_image(folder / name, 32) for name in predictions.names])
        assert sorted(predictions.names) == sorted(f"{split}/{name}/{i}.png" for name in tiny.CLASSES for i in range(5))
        np.testing.assert_allclose(predictions.probabilities, model(images).numpy(), atol=2e-3)
        assert [tiny.CLASSES[label] for label in predictions.labels] == [n.split("/")[1] for n in predictions.names]
    assert kept["test"].confusion_matrix().tolist() == run.record.confusion_matrix


@pytest.mark.slow
def test_thumbnails_of_all_test_images_are_kept_if_they_are_few_and_the_mistakes_come_first(uninterrupted):
    run, test = uninterrupted.run, load_predictions(uninterrupted.run.folder)["test"]
    thumbnails = load_thumbnails(run.folder / run.record.files["thumbnails"])
    assert sorted(thumbnails) == list(range(10))
    assert list(thumbnails)[: len(test.mistakes())] == test.mistakes().tolist()
    images = np.stack([decode_image(Path(tiny.image_folder()) / name, 32) for name in test.names]).astype(int)
    for at, content in thumbnails.items():
        difference = np.abs(decode_image(content, 32).astype(int) - images).mean(axis=(1, 2, 3))
        assert difference.argmin() == at and difference[at] < 25


@pytest.mark.slow
def test_the_record_is_updated_after_each_epoch(uninterrupted):
    assert [record.status for record in uninterrupted.records[:-2]] == ["running"] * (len(uninterrupted.records) - 2)
    saved = [tuple(epochs_of(record, f"stage{i}") for i in (1, 2)) for record in uninterrupted.records]
    epochs = [(i, 0) for i in range(1, EPOCHS + 1)] + [(EPOCHS, i) for i in range(1, EPOCHS + 1)]
    assert [pair for pair in dict.fromkeys(saved) if pair != (0, 0)] == epochs
    totals = [record.timing_sec["total"] for record in uninterrupted.records]
    assert totals == sorted(totals)


@pytest.mark.slow
def test_a_finished_run_is_reused_on_request(uninterrupted, computing, tmp_path):
    same, lines = config(output_dir=str(uninterrupted.folder / "runs")), []
    again = run_experiment(same, reuse=True, log=lines.append)
    assert again.path == uninterrupted.run.path
    used = f"{again.name} has the same options and is complete: it is used again."
    assert lines == [used, "Saved the model as shapes.h5."] and Path("shapes.h5").is_file()
    copies = {"json_output_path": str(tmp_path / "log.json"), "model_path": str(tmp_path / "mine.keras")}
    run_experiment(same.model_copy(update=copies), reuse=True, log=quiet)
    assert read_record(tmp_path / "log.json").run_id == again.name
    assert sha256_of_weights(load_model(tmp_path / "mine.keras")) == outcome(again.folder)[0]
    assert names_and_threshold(tmp_path / "mine.keras", 2)[1] == again.record.not_sure["threshold"] > 0
    assert finished_run(config(output_dir=same.output_dir, baseline="compact")).path == again.path, "it trains no CNN"
    assert finished_run(config(output_dir=same.output_dir, seed=1)) is None
    assert finished_run(config(output_dir="elsewhere")) is None
    model = again.folder / "model.keras"
    model.rename(model.with_suffix(".away"))
    assert finished_run(same) is None, "a run without its model is of no use"
    model.with_suffix(".away").rename(model)
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is not a Keras model: .*[^.]\. If the file is damaged, delete it"):
        run_experiment(same, reuse=True, log=quiet)
    model.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.fault(4, 31)
def test_a_run_that_is_interrupted_several_times_gives_the_result_of_an_uninterrupted_one(uninterrupted, tmp_path):
    moments = [
        "features",
        f"stage1, epoch 5 of {EPOCHS}",
        "view 2 of 2",
        f"stage2, epoch {EPOCHS} of {EPOCHS}",
        "evaluating on val",
    ]
    options = config(cache_dir=str(tmp_path / "cache"), model_path="model.h5")
    for moment in moments:
        interrupt(options, moment)
        record = read_record(Path("runs/0001-shapes-transfer") / RECORD_NAME)
        assert (record.status, record.error) == ("interrupted", "")
    record.timing_sec["evaluation"] = 1e6
    record.save(Path("runs/0001-shapes-transfer") / RECORD_NAME)
    lines = []
    run = run_experiment(options, log=lines.append)
    assert lines[0] == "Resuming 0001-shapes-transfer." and os.listdir("runs") == ["0001-shapes-transfer"]
    assert outcome(run.folder) == outcome(uninterrupted.run.folder)
    assert run.record.status == "completed"
    assert run.record.timing_sec["evaluation"] < 1e6, "it starts again, and so does its time"


@pytest.mark.slow
@pytest.mark.fault(4)
@pytest.mark.parametrize("changed", ["images", "weights"])
def test_a_run_whose_images_or_weights_changed_before_it_resumed_starts_again(tmp_path, changed):
    """Otherwise, images that it has trained on could be in its new test split."""
    images, weights = tmp_path / "images", tmp_path / "own.weights.h5"
    shutil.copytree(Path(tiny.image_folder()) / "train", images)
    tiny.backbone().save_weights(weights)
    options = {"data_dir": str(images), "weights": str(weights), "epochs_stage1": 2, "n_unfreeze": 0}
    options = config(**options, model_path="none")
    interrupt(options, "stage1, epoch 2 of 2")
    if changed == "images":
        for picture in (images / tiny.CLASSES[0]).glob("1*.png"):
            shutil.copy(picture, picture.with_name(f"again-{picture.name}"))
    else:
        other = tiny.backbone()
        other.set_weights([weight + 0.01 for weight in other.get_weights()])
        other.save_weights(weights)
    lines = []
    run = run_experiment(options, log=lines.append)
    assert lines[0] == "Resuming 0001-images-transfer." and any("training starts again" in line for line in lines)
    assert finished_run(options).path == run.path
    if changed == "images":
        fresh = run_experiment(options.model_copy(update={"output_dir": "fresh"}), log=quiet)
        assert outcome(run.folder) == outcome(fresh.folder)
        next((images / tiny.CLASSES[0]).iterdir()).unlink()
    else:
        tiny.backbone().save_weights(weights)
    assert finished_run(options) is None, f"a run on other {changed} was reused"


# How a run ends; nothing is computed.


@pytest.fixture
def computing(monkeypatch):
    """Return a function that replaces what a run computes; by default, nothing may be computed."""
    compute = functools.partial(monkeypatch.setattr, phases, "compute")
    compute(lambda session: pytest.fail("it was computed"))
    return compute


def failing(error):
    def compute(session):
        session.record.metrics = {"val_end2end": 0.5}
        (session.folder / "checkpoint-stage1.npz").touch()
        raise error

    return compute


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), "interrupted", ""),
        (SystemExit(143), "interrupted", ""),
        (Diverged("The loss became nan."), "diverged", "The loss became nan."),
        (UserError("weights must be there."), "failed", "UserError: weights must be there."),
        (OSError(28, "No space left on device"), "failed", "OSError: [Errno 28] No space left on device"),
        (MemoryError(), "failed", "MemoryError: "),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.fault(6)
def test_every_error_is_recorded_and_raised_and_the_lock_is_released(computing, error, status, text):
    computing(failing(error))
    with pytest.raises(type(error)) as raised:
        run_experiment(config(), log=quiet)
    assert raised.value is error
    record = read_record("runs/0001-shapes-transfer/run.json")
    assert (record.status, record.error, record.metrics) == (status, text, {"val_end2end": 0.5})
    left = Path("runs/0001-shapes-transfer/checkpoint-stage1.npz").exists()
    assert left == (status != "diverged"), "what diverged is never resumed"
    with lock("runs/0001-shapes-transfer/run.json", timeout=0):
        pass
    computing(lambda session: None)
    again = run_experiment(config(), log=quiet)
    expected = "0002-shapes-transfer" if status == "diverged" else "0001-shapes-transfer"
    assert (again.name, again.record.status, again.record.error) == (expected, "completed", "")


def test_a_completed_run_stays_completed_when_its_checkpoints_cannot_be_removed(computing, monkeypatch):
    computing(lambda session: (session.folder / "checkpoint-stage1.npz").touch())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", tiny.raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config(), log=quiet)
    assert read_record("runs/0001-shapes-transfer/run.json").status == "completed"


def test_a_folder_whose_name_is_not_utf_8_is_the_same_in_the_record():
    options = config(dataset="folder", data_dir=os.fsdecode(b"caf\xe9"))
    record = RunRecord(fingerprint="f", config=finite(options.model_dump()))
    assert sessions.same_configuration(record, options)
    assert not sessions.same_configuration(record, config(dataset="folder", data_dir="tea"))


@pytest.mark.slow
@pytest.mark.fault(16)
def test_a_run_whose_learning_rate_is_far_too_high_diverges():
    too_high = config(learning_rate_stage1=1e9, optimizer_stage1="SGD", head_start="random", hidden_units=8)
    with pytest.raises(Diverged, match="lower its learning rate, 1e"):
        run_experiment(too_high, log=quiet)
    content = Path("runs/0001-shapes-transfer/run.json").read_text()
    record = json.loads(content)
    assert record["status"] == "diverged" and "became nan" in record["error"]
    assert "NaN" not in content and "Infinity" not in content


@pytest.mark.fault(6)
def test_an_interrupt_while_the_libraries_are_imported_is_recorded(monkeypatch):
    class Interrupted:
        def find_spec(self, name, *rest):
            if name == "transfer_utils.experiment.phases":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "transfer_utils.experiment.phases")
    monkeypatch.delattr("transfer_utils.experiment.phases")
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config(), log=quiet)
    assert read_record("runs/0001-shapes-transfer/run.json").status == "interrupted"


@pytest.mark.fault(5)
def test_a_run_on_a_disk_that_is_full_at_the_end_is_not_completed(computing, monkeypatch):
    lines, save = [], RunRecord.save

    def full(self, path):
        if self.status != "running":
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(RunRecord, "save", full)
    computing(lambda session: None)
    with pytest.raises(OSError, match="No space left"):
        run_experiment(config(), log=lines.append)
    computing(failing(UserError("the first error")))
    with pytest.raises(UserError, match="the first error"):
        run_experiment(config(seed=1), log=lines.append)
    assert sum("The record could not be written" in line for line in lines) == 3


@pytest.mark.fault(27)
def test_time_is_summed_over_sessions_by_a_monotonic_clock(computing, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def compute(session):
        session._started = clock[0]
        with session.phase("stage1"):
            clock[0] += 10
            if session._seconds_before == 0:
                raise KeyboardInterrupt
        clock[0] += 1

    computing(compute)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config(), log=quiet)
    clock[0] = 5.0  # the next session is another process
    assert run_experiment(config(), log=quiet).record.timing_sec == {"loading": 0.0, "stage1": 20.0, "total": 21.0}


def test_a_killed_run_has_counted_its_phase_up_to_the_last_save(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    session = claim()
    session._started = clock[0]
    with session.phase("stage1"):
        clock[0] += 10
        session.save()
        assert read_record(session.folder / RECORD_NAME).timing_sec == {"stage1": 10.0, "total": 10.0}
        clock[0] += 5
    assert session.record.timing_sec["stage1"] == 15.0


# Which folder a run gets.


def claim(**options):
    session = sessions.claim_session(config(**options), None, quiet)
    session.save()
    return session


@pytest.mark.fault(7)
def test_a_run_in_progress_keeps_its_folder_and_an_interrupted_one_is_resumed():
    first, second = claim(), claim()
    assert (first.folder.name, second.folder.name) == ("0001-shapes-transfer", "0002-shapes-transfer")
    second.release()
    third = claim()
    assert third.folder == second.folder
    third.release()
    third = claim(baseline="compact")
    assert third.folder == second.folder, "a transfer run has no baseline"
    assert third.record.fingerprint == third.config.fingerprint, "the record has the fingerprint of its options"
    assert third.record.command == third.config.command() and "compact" in third.record.command
    assert claim(seed=1).folder.name == "0003-shapes-transfer", "it has other options"


def test_a_run_on_the_original_images_does_not_resume_one_on_a_copy_of_them():
    copy = claim(dataset="cifar10", data_dir="copy")
    copy.release()
    assert claim(dataset="cifar10", data_dir="").folder != copy.folder
    assert claim(dataset="cifar10", data_dir="moved").folder == copy.folder


def test_a_resumed_run_records_the_versions_that_it_goes_on_with(monkeypatch):
    claim().release()
    again = claim()
    assert again.record.sessions == [], "nothing has changed"
    before = again.record.versions
    again.release()
    monkeypatch.setattr(sessions, "versions", lambda: {"keras": "99"})
    record = claim().record
    assert record.versions == {"keras": "99"}
    assert [each["versions"] for each in record.sessions] == [before]


def test_a_resumed_run_keeps_the_gpus_and_the_peak_memory_of_its_earlier_sessions_until_it_starts_again():
    session, earlier = claim(), {"gpus": ["GPU:0"], "peak_memory_mb": 10**6}
    session.record.machine |= earlier
    session.save()
    session.release()
    session = claim()
    assert session.record.machine | earlier == session.record.machine and session.record.on_gpu
    session.restart_if_changed("The images", "old", "new")
    session.save()
    session.save()  # the second time, it compares with the first
    peak = session.record.machine["peak_memory_mb"]
    assert "gpus" not in session.record.machine and peak < 10**6 and isinstance(peak, int)


def test_the_peak_memory_of_a_phase_is_that_of_its_greediest_session(monkeypatch):
    session, phases = claim(), ("features", "stage2", "features", "stage2")
    peaks = iter([300, 500, 400, 200])
    monkeypatch.setattr(sessions, "peak_memory_mb", lambda: next(peaks))
    for phase in phases:
        with session.phase(phase):
            pass
    monkeypatch.setattr(sessions, "peak_memory_mb", lambda: None)  # as on Windows
    with session.phase("export"):
        pass
    assert session.record.peak_memory_mb == {"features": 400, "stage2": 500}
    session.release()


def test_a_record_that_cannot_be_read_is_named_before_a_new_run_begins():
    claim().release()
    damaged, lines = Path("runs/0001-shapes-transfer/run.json"), []
    damaged.write_text("{")
    session = sessions.claim_session(config(), None, lines.append)
    assert session.folder.name == "0002-shapes-transfer"
    assert len(lines) == 1 and lines[0].startswith(f"{damaged} cannot be read (not JSON")


def test_an_interrupted_run_of_another_user_is_left_to_them(monkeypatch):
    theirs = claim()
    theirs.release()
    acquire = FileLock.acquire

    def refused(self, *args, **options):
        if str(theirs.folder) in self.lock_file:
            raise PermissionError(13, "Permission denied")
        return acquire(self, *args, **options)

    monkeypatch.setattr(FileLock, "acquire", refused)
    assert claim().folder.name == "0002-shapes-transfer"


def test_the_lock_of_another_user_does_not_keep_a_run_of_the_same_options_from_being_computed(computing, monkeypatch):
    acquire = FileLock.acquire

    def refused(self, *args, **options):
        if Path(self.lock_file).name.startswith("."):
            raise PermissionError(13, "Permission denied")
        return acquire(self, *args, **options)

    monkeypatch.setattr(FileLock, "acquire", refused)
    computing(lambda session: None)
    assert run_experiment(config(), reuse=True, log=quiet).record.status == "completed"


def test_a_run_whose_images_have_changed_keeps_nothing_that_was_found_on_the_old_ones():
    session = claim()
    before = session.record.model_copy(deep=True)
    session.record.metrics, session.record.inference = {"test_end2end": 0.9}, {"images": 1}
    session.record.test_correct, session.record.confusion_matrix = "AA==", [[1]]
    session._seconds_before = 1e6
    with session.phase("data"):
        session.record.timing_sec["stage1"], session.record.peak_memory_mb["stage1"] = 60.0, 500
        session.restart_if_changed("The images", "old", "new")
    assert list(session.record.timing_sec) == ["data"], "the time of this session counts"
    assert "stage1" not in session.record.peak_memory_mb
    session.save()
    assert session.record.timing_sec["total"] < 1e6
    session.record.timing_sec, session.record.peak_memory_mb = before.timing_sec, before.peak_memory_mb
    assert session.record.model_dump(exclude={"updated"}) == before.model_dump(exclude={"updated"})


@pytest.mark.fault(7)
def test_a_run_that_is_completed_while_another_process_reads_it_is_not_resumed(monkeypatch):
    stale = claim()
    load = sessions.load_runs

    def slowly(folder):
        listing = load(folder)
        stale.record.status = "completed"
        stale.save()
        stale.release()
        return listing

    monkeypatch.setattr(sessions, "load_runs", slowly)
    late = claim()
    assert late.folder.name == "0002-shapes-transfer"
    assert read_record(stale.folder / RECORD_NAME).status == "completed"
    with lock(stale.folder / RECORD_NAME, timeout=0):
        late.release()


CLAIM = """
import sys
from transfer_utils.config.options import preset
from transfer_utils.experiment.session import claim_session
session = claim_session(preset("offline"), None, print)
session.save()
print(session.folder.name, flush=True)
sys.stdin.read()
"""


@pytest.mark.fault(7)
def test_processes_with_the_same_output_folder_get_different_runs():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", CLAIM], **pipes) for _ in range(6)]
    names = [process.stdout.readline().strip() for process in processes]  # all of them hold their runs now
    for process in processes:
        process.communicate()
    assert sorted(names) == [f"{i:04d}-offline-transfer" for i in range(1, 7)] == sorted(os.listdir("runs"))
    assert {run.name: run.record.run_id for run in load_runs("runs").runs} == {name: name for name in names}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"model_path": "model.pb"}, r"model_path must end in .keras or .h5, got 'model.pb'"),
        ({"model_path": "folder.h5"}, "model_path must be a file, got 'folder.h5', which is a folder"),
        ({"model_path": "file/model.h5"}, "model_path must lie in a folder, but 'file' is a file"),
        ({"json_output_path": "folder.h5"}, "json_output_path must be a file"),
        ({"json_output_path": "file/a/log.json"}, "json_output_path must lie in a folder, but 'file' is a file"),
        ({"output_dir": "file"}, "output_dir must lie in a folder, but 'file' is a file"),
        ({"cache_dir": "file/cache"}, "cache_dir must lie in a folder, but 'file' is a file"),
        ({"figures_dir": "file"}, "figures_dir must lie in a folder, but 'file' is a file"),
        ({"output_dir": 300 * "x"}, "output_dir cannot be 'x*': File name too long"),
        ({"cache_dir": 300 * "x"}, "cache_dir cannot be 'x*': File name too long"),
        ({"model_path": f"{240 * 'x'}.keras"}, r"model_path cannot be 'x*\.keras': File name too long"),
        ({"json_output_path": "a\0b"}, "json_output_path cannot be .*: embedded null (byte|character)"),
    ],
)
def test_unusable_paths_are_refused_before_anything_is_computed(computing, paths, message):
    Path("folder.h5").mkdir()
    Path("file").touch()
    for reuse in (False, True):
        with pytest.raises(UserError, match=message):
            run_experiment(config(**paths), reuse=reuse, log=quiet)
        assert sorted(os.listdir()) == ["file", "folder.h5"]


@pytest.mark.parametrize("place", ["output_dir", "json_output_path", "model_path", "figures_dir", "cache_dir"])
@pytest.mark.fault(40)
def test_every_place_that_a_run_writes_to_is_tried_before_anything_is_computed(computing, monkeypatch, tmp_path, place):
    full = tmp_path / "full"
    full.mkdir()

    def temporary_file(dir):
        if Path(dir) == full:
            raise OSError(28, "No space left on device")
        return io.BytesIO()

    monkeypatch.setattr(disk, "tempfile", SimpleNamespace(TemporaryFile=temporary_file))
    files = {"json_output_path": full / "log.json", "model_path": full / "m.h5"}
    value = files.get(place, full if place == "cache_dir" else full / "new")  # the others are only made later
    with pytest.raises(UserError, match=f"{place} cannot be in .*full.*: the disk is full: .* choose another folder"):
        run_experiment(config(**{place: str(value)}), log=quiet)
    assert not Path("runs").exists() and not (full / "new").exists()
    monkeypatch.setattr(disk, "tempfile", SimpleNamespace(TemporaryFile=lambda dir: 1 / 0))
    monkeypatch.setattr(sessions, "check_writable", lambda name, folder: tried.append(name))
    tried: list[str] = []
    computing(lambda session: None)
    run_experiment(config(), log=quiet)
    assert set(tried) == {"output_dir", "model_path", "cache_dir"}, "by default, the copy is in the current folder"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transfer", "baseline"])
@pytest.mark.fault(40)
def test_the_room_for_the_training_is_measured_before_it_begins(monkeypatch, model):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    monkeypatch.setattr(stages, "fit", lambda *ignored: pytest.fail("it was trained"))
    message = "The training in runs/0001-photo-digits-.* needs .*B more, but only 100 bytes are free.*--output_dir"
    with pytest.raises(UserError, match=message):
        run_experiment(config(model=model, data_dir="", dataset="photo-digits", stored_size=32), log=quiet)


def test_there_must_be_room_for_the_model_two_checkpoints_and_the_copy(monkeypatch):
    asked = []
    monkeypatch.setattr(sessions, "check_disk", lambda folder, needed, *rest, **what: asked.append((folder, needed)))
    session = sessions.claim_session(config(model_path="there/m.h5"), None, quiet)
    session.check_room(1000, 600)
    assert asked == [(session.folder, 4 * (1000 + 8 * 600)), (Path("there"), 4 * 1000)]
    (session.folder / "checkpoint-stage2.npz").write_bytes(bytes(4 * 4 * 600))
    session.check_room(1000, 600)
    assert asked[2][1] == 4 * (1000 + 4 * 600), "of a resumed run, one is there already"
    session.release()


@pytest.mark.parametrize("options", [{}, {"preset": "cifar10"}, {"preset": "cifar10", "model": "baseline"}])
def test_a_run_over_an_image_folder_bears_its_name_whatever_the_preset(options):
    Path("my flowers\x1b[31m" + 60 * "é").mkdir()
    named = config(data_dir=next(Path().glob("my*")).name).model_copy(update=options)
    session = sessions.claim_session(named, None, quiet)
    name = "0001-" + ("my flowers_x1b[31m" + 60 * "é")[:60] + f"-{options.get('model', 'transfer')}"
    assert session.folder.name == name
    session.release()


def test_folders_are_numbered_after_the_last_run_whatever_else_the_folder_contains():
    for name in ("0009-old-run", "notes", "x-12", ".hidden"):
        Path("runs", name).mkdir(parents=True)
    session = claim()
    assert session.folder.name == "0010-shapes-transfer"
    session.release()


# The command, in its own process.


def start(program: list[str], options: RunConfig) -> subprocess.Popen:
    command = [sys.executable, *program, "train", *options.arguments()]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def wait_for(process: subprocess.Popen, stage: str, epochs: int) -> None:
    """Wait until this process computes the only run, and its record has the given number of epochs of a stage."""
    while process.poll() is None:
        for path in Path("runs").glob(f"*/{RECORD_NAME}"):
            record = read_record(path)
            if record.status == "running" and epochs_of(record, stage) >= epochs:
                return
        time.sleep(0.01)
    pytest.fail(f"it ended before epoch {epochs} of {stage}: {process.communicate()}")


HINT = "Interrupted. Run the same command again to continue.\n"


@pytest.mark.fault(6, 34)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_stopped_records_it_and_says_how_to_continue(number, status):
    process = start(["-c", tiny.TRAINING], config(n_unfreeze=0, epochs_stage2=10_000))
    wait_for(process, "stage1", 1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err.lstrip("\n")) == (status, HINT) and "Recorded" not in out
    record = read_record(Path("runs/0001-shapes-transfer") / RECORD_NAME)
    assert record.status == "interrupted" and epochs_of(record, "stage1") >= 1


@pytest.mark.slow
@pytest.mark.fault(4, 6, 31)
def test_a_command_that_was_stopped_or_killed_resumes_and_gives_the_result_of_an_uninterrupted_one(uninterrupted):
    delay, path = random.Random(0), Path("runs/0001-shapes-transfer") / RECORD_NAME
    for number, stage, epochs, code, status in (
        (signal.SIGINT, "stage1", 2, 130, "interrupted"),
        (signal.SIGKILL, "stage2", 3, -9, "running"),
    ):
        process = start(tiny.SMALL, config())
        wait_for(process, stage, epochs)
        time.sleep(delay.uniform(0, 0.05))
        process.send_signal(number)
        out, err = process.communicate()
        record = read_record(path)
        assert (process.returncode, record.status) == (code, status)
        assert epochs_of(record, stage) >= epochs and "Recorded" not in out
        assert err.lstrip("\n") == ("" if number == signal.SIGKILL else HINT)
    process = start(tiny.SMALL, config())
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Resuming 0001-shapes-transfer.\n") and out.endswith(f"Recorded in {path}.\n")
    assert os.listdir("runs") == ["0001-shapes-transfer"]
    assert outcome(path.parent) == outcome(uninterrupted.run.folder), "several processes with the same seed"


# Runs that are interrupted at random moments, in one process, as Ctrl-C would interrupt them.
INTERRUPTS = """
import random, shutil, signal, sys, time
import keras
from tests import tiny
from transfer_utils.config.options import preset
from transfer_utils.experiment.run import run_experiment
from transfer_utils.utils import interrupts

keras.applications.MobileNetV2 = tiny.backbone
options = preset("none", data_dir=sys.argv[1], **tiny.OPTIONS)
delay, interrupted = random.Random(0), 0

def run():
    shutil.rmtree("runs", ignore_errors=True)
    run_experiment(options, log=lambda line: None)

run()
started = time.monotonic()
run()
duration = time.monotonic() - started
interrupts.handle_signals({signal.SIGALRM: KeyboardInterrupt})
for _ in range(int(sys.argv[2])):
    try:
        signal.setitimer(signal.ITIMER_REAL, delay.uniform(0.02, duration / 2))
        run()
        signal.setitimer(signal.ITIMER_REAL, 0)
        interrupts.raise_pending()
    except KeyboardInterrupt:
        interrupted += 1
print(interrupted)
"""


@pytest.mark.parametrize("times", [3, pytest.param(200, marks=pytest.mark.torture)])
@pytest.mark.slow
@pytest.mark.fault(6)
@pytest.mark.timeout(3000)
def test_interrupts_at_random_moments_neither_crash_tensorflow_nor_become_other_errors(tally, times):
    command = [sys.executable, "-c", INTERRUPTS, tiny.image_folder(), str(times)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    tally(times, done.returncode != 0)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 0
