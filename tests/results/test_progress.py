import os
import shlex
from types import SimpleNamespace

import pytest

from transfer_utils.config.options import preset
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.progress import describe_progress, epochs_text, progress, resume_command, silence
from transfer_utils.results.table import Row


def row(tmp_path, lengths, status="running", is_live=True, **options):
    """Return a run of the offline preset with a number of recorded epochs, of 10 seconds each, for each stage."""
    config = preset("offline", **{"epochs_stage1": 4, "epochs_stage2": 10, "n_unfreeze": 30, **options})
    curves = {stage: {"val_accuracy": [0.5 + n / 100 for n in range(length)]} for stage, length in lengths.items()}
    for stage, length in lengths.items():
        curves[stage]["seconds"] = [10.0] * length
    record = RunRecord(status=status, config=config.model_dump(), fingerprint=config.fingerprint, curves=curves)
    return Row("run", Run(record, tmp_path / "0001-run" / "run.json"), is_live)


@pytest.mark.parametrize(
    ("lengths", "epochs", "text"),
    [
        ({}, "", "no epoch recorded yet"),
        ({"stage1": 3}, "3 of 14", "epoch 3 of 14 (stage 1) · about 10 s left of stage 1 · validation 52.0 %"),
        ({"stage1": 4}, "4 of 14", "epoch 4 of 14 (stage 1) · stage 1 is complete · validation 53.0 %"),
        ({"stage1": 2, "stage2": 3}, "5 of 12", "epoch 5 of 12 (stage 2) · about 1 min 10 s left · validation 52.0 %"),
        ({"stage1": 4, "stage2": 10}, "14", "epoch 14 of 14 (stage 2) · evaluating · validation 59.0 %"),
    ],
)
def test_the_epoch_and_the_time_left_follow_from_the_curves(tmp_path, lengths, epochs, text):
    run = row(tmp_path, lengths)
    assert (epochs_text(run), describe_progress(run)) == (epochs, text)


@pytest.mark.parametrize(
    ("lengths", "over", "text"),
    [
        ({"stage1": 2}, "trainable_stage2", "epoch 2 of 12 (stage 1) · stage 1 is complete · validation 51.0 %"),
        ({"stage1": 4, "stage2": 3}, "weights_from", "epoch 7 of 7 (stage 2) · evaluating · validation 52.0 %"),
    ],
)
def test_a_stage_that_stopped_early_has_no_time_left_once_it_is_over(tmp_path, lengths, over, text):
    run = row(tmp_path, lengths)
    run.record.network[over] = 1
    assert describe_progress(run) == text


def test_a_stopped_run_has_no_time_left(tmp_path):
    assert describe_progress(row(tmp_path, {"stage1": 3}, is_live=False)) == (
        "epoch 3 of 14 (stage 1) · validation 52.0 %"
    )


def test_the_baseline_and_runs_without_stage_2_have_one_stage(tmp_path):
    assert progress(row(tmp_path, {"baseline": 5}, model="baseline", epochs_baseline=0)).planned == 14
    assert progress(row(tmp_path, {"stage1": 1}, n_unfreeze=0)).planned == 4
    assert epochs_text(row(tmp_path, {"training": 7})) == "7"  # an old log does not tell its stages


def test_the_time_left_is_that_of_the_last_epochs_although_one_has_no_time(tmp_path):
    run = row(tmp_path, {"stage1": 4, "stage2": 8})
    run.record.curves["stage2"]["seconds"] = [100.0, 100.0, 100.0, 2.0, 2.0, None, 4.0, 2.0]
    assert progress(run).seconds_left == 4.0
    run.record.curves["stage2"].pop("seconds")
    assert progress(run).seconds_left is None


def test_the_time_left_counts_the_pixels_of_the_sides_to_come(tmp_path):
    options = {"image_size": 96, "image_size_start": 64, "views": 0, "schedule": "cosine"}
    run = row(tmp_path, {"stage1": 4, "stage2": 3}, **options)  # five epochs at 64 px, of 10 s each, then five at 96 px
    assert progress(run).seconds_left == pytest.approx(2 * 10 + 5 * 10 * (96 / 64) ** 2)


def test_silence_is_the_time_since_the_record_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr("transfer_utils.results.progress.time", SimpleNamespace(time=lambda: 1090.0))
    run = row(tmp_path, {})
    assert silence(run) == "its record cannot be found"
    run.run.folder.mkdir()
    run.record.save(run.run.path)
    os.utime(run.run.path, (0, 1000))
    assert silence(run) == "last written 1 min 30 s ago"


def test_the_command_that_resumes_a_run_names_its_folder_and_keeps_its_options(tmp_path):
    run = row(tmp_path / "my runs", {"stage1": 1}, status="interrupted", seed=3, model_path="kept.h5")
    words = shlex.split(resume_command(run))
    assert words[:2] == ["transfer-utils", "train"] and words[-2:] == ["--output_dir", "my runs"]
    assert words[words.index("--seed") + 1] == "3" and words[words.index("--model_path") + 1] == "kept.h5"
    assert not {"--model", "--epochs_baseline"} & set(words)


@pytest.mark.fault(35)
def test_only_a_run_that_this_version_resumes_has_a_command(tmp_path):
    assert resume_command(row(tmp_path, {}, is_live=False))
    assert not resume_command(row(tmp_path, {}, status="completed"))
    assert not resume_command(row(tmp_path, {}, status="diverged"))
    other = row(tmp_path, {}, status="failed")
    other.record.fingerprint = "of another version"
    assert not resume_command(other)
    log = row(tmp_path, {}, status="interrupted")
    log.run.path = tmp_path / "log.json"
    assert not resume_command(log)
