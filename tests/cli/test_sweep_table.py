"""The output of `transfer-utils sweep`: the plan, the lines and the table."""

import io
import os
import re
from pathlib import Path

from rich.console import Console

from tests.studies.samples import write_record, write_study
from transfer_utils import cli
from transfer_utils.cli.sweep_table import draw, dry_run, watching
from transfer_utils.config.options import preset
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.studies.cost import Forecast
from transfer_utils.studies.sweep import Job, Sweep, plan
from transfer_utils.utils.machine import available_cores


def test_a_dry_run_lists_the_runs_with_time_and_disk_and_starts_none(capsys):
    study = write_study()
    machine = {"cores": available_cores()}
    write_record(study.of_group("depth")[0], timing_sec={"total": 100.0}, machine=machine)
    assert cli.main(["sweep", "study.yaml", "--dry-run", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"depth: n_unfreeze 0, seed 0 +on record as 0001-x +depth", out)
    assert re.search(r"depth: n_unfreeze 3, seed 0 +waiting +\d.* (s|min|h)\b.* +depth", out)
    assert re.search(r"2 runs, 1 to do: about .* with 2 at a time, \d+\.\d [kMG]B of cache\.", out)
    assert os.listdir("runs") == ["0001-x"]


def test_a_sweep_checks_the_weights_of_every_model_and_no_place_that_its_runs_do_not_write_to(capsys, monkeypatch):
    tried: list[str] = []
    monkeypatch.setattr("transfer_utils.experiment.session.check_writable", lambda name, folder: tried.append(name))
    write_study()
    assert cli.main(["sweep", "study.yaml", "--dry-run"]) == 0
    assert "output_dir" in tried and "model_path" not in tried, "a sweep has no such option"
    write_study(own={"weights": "none.h5"}, scratch={"weights": "none.h5", "model": "baseline"})
    assert cli.main(["sweep", "study.yaml", "--dry-run"]) == 2
    assert "or an existing file, got 'none.h5'." in capsys.readouterr().err


def test_a_name_in_brackets_is_no_markup():
    assert "[/x] a" in dry_run(Sweep([Job(preset("offline"), ["g"], "[/x] a")], Forecast([])))


def test_quiet_prints_nothing_a_file_gets_lines_and_a_terminal_also_a_table(capsys, monkeypatch):
    sweep = plan(write_study())
    with watching(quiet=True) as (log, on_update):
        log("hidden")
    assert on_update is None
    with watching(quiet=False) as (log, on_update):
        log("[a] line")
    assert on_update is None and capsys.readouterr().out == "[a] line\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    with watching(quiet=False) as (log, on_update):
        log("[a] line")
        on_update(sweep)
    out = capsys.readouterr().out
    assert "[a] line" in out and "0 of 2 ended" in out


def test_the_table_shows_running_and_failed_jobs_and_the_next_ones():
    config = preset("offline")
    jobs = [Job(config, ["g"], f"late {number}") for number in range(20)]
    curves = {"stage1": {"val_accuracy": [0.5]}, "stage2": {"val_accuracy": [0.6, 0.71]}}
    run = Run(RunRecord(status="running", curves=curves, timing_sec={"total": 5.0}), Path("runs/0001-x/run.json"))
    jobs += [Job(config, ["g"], "now", "running", run), Job(config, ["g"], "broken", "diverged", error="nan")]
    jobs += [Job(config, ["g"], "long ago", "on record")]
    sweep = Sweep(jobs, Forecast([]))
    console = Console(width=120, file=io.StringIO())
    console.print(draw(sweep))
    text = console.file.getvalue()
    assert re.search(r"now .*running.* 71\.0 % .*\d+ (s|min)", text) and re.search(r"broken .*diverged", text)
    assert "late 0 " in text and "late 19" not in text and "long ago" not in text
    assert "2 of 23 ended" in text
    assert "23 runs, 21 to do" in dry_run(sweep)
