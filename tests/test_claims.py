"""Which run a command takes over or begins: the part of ``experiment`` that several processes meet in."""

import json
import subprocess
import sys

import pytest

from transfer_utils import experiment
from transfer_utils.config import preset
from transfer_utils.records import RunRecord, load_runs

CLAIM = """
import sys
from transfer_utils.config import preset
from transfer_utils import experiment
experiment.machine = dict  # what it ran on is of no interest here, and slow to find out
print("ready", flush=True)
sys.stdin.readline()
sitting = experiment._claim(preset("offline", output_dir=sys.argv[1]), None, lambda line: None)
sitting.save()
print(sitting.folder.name, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _unknown_machine(monkeypatch):
    monkeypatch.setattr(experiment, "machine", dict)


def claim(folder, **options):
    sitting = experiment._claim(preset("offline", output_dir=str(folder), **options), None, lambda line: None)
    sitting.save()
    return sitting


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    folders = {run.stdout.readline().strip() for run in runs}
    for run in runs:
        run.communicate("\n")
    assert len(folders) == 6
    assert {run.name for run in load_runs(tmp_path).runs} == folders


def test_a_run_that_was_killed_is_taken_over_by_the_same_command_and_by_no_other(tmp_path):
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    run.stdin.write("\n")
    run.stdin.flush()
    assert run.stdout.readline() == "ready\n"
    folder = run.stdout.readline().strip()
    assert claim(tmp_path).folder.name != folder, "it is still at work"
    run.kill()
    run.communicate()
    assert claim(tmp_path, seed=1).folder.name != folder
    assert claim(tmp_path).folder.name == folder


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_a_run_that_is_over_is_not_taken_over(tmp_path, status):
    first = claim(tmp_path)
    experiment._close(first, status)
    first._lock.release()
    assert claim(tmp_path).folder != first.folder


def test_a_run_that_ends_just_before_it_would_be_taken_over_is_left_alone(tmp_path, monkeypatch):
    first = claim(tmp_path)

    def as_it_was_a_moment_ago(folder):
        listing = load_runs(folder)
        experiment._close(first, "completed")
        first._lock.release()
        return listing

    monkeypatch.setattr(experiment, "load_runs", as_it_was_a_moment_ago)
    assert claim(tmp_path).folder != first.folder
    assert json.loads((first.folder / "run.json").read_text())["status"] == "completed"


def test_the_number_of_a_run_counts_up_whatever_else_lies_in_the_folder(tmp_path):
    for name in ("0007-x", "notes", "0003", "²-odd"):
        (tmp_path / name).mkdir()
    RunRecord().save(tmp_path / "9.json")
    assert claim(tmp_path).folder.name == "0008-offline-transfer"
