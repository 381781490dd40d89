"""Sweeps: what is run and what is left out, what a killed sweep or worker leaves, and what is said about it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from tests import tiny
from transfer_utils import cli
from transfer_utils.cli.sweep_table import draw, dry_run, watching
from transfer_utils.config import NO_COPY, RunConfig, preset
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.records import RECORD_NAME, Run, RunRecord, load_runs, read_record
from transfer_utils.studies import sweep
from transfer_utils.studies.cost import Forecast, disk
from transfer_utils.studies.spec import load_study
from transfer_utils.studies.sweep import Job, Sweep, plan, run_sweep
from transfer_utils.utils.files import lock
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.supervised import run_child

EPOCHS = 12
SMALL = [str(Path(tiny.__file__))]  # the command line with the small backbone
REFUSE = ["-c", "raise SystemExit('started')"]


def study(folder="runs", **more):
    """Return a study of two runs in one group, and groups ``more`` with fixed options."""
    options = {**tiny.OPTIONS, "data_dir": tiny.image_folder(), "epochs_stage1": EPOCHS, "epochs_stage2": EPOCHS}
    groups = [{"name": "depth", "question": "How deep?", "grid": {"n_unfreeze": [0, 3]}}]
    groups += [{"name": name, "question": "What then?", "options": options} for name, options in more.items()]
    content = {"preset": "none", "options": {**options, "patience": 0}, "groups": groups}
    Path("study.yaml").write_text(json.dumps(content))  # JSON is YAML
    return load_study("study.yaml", output_dir=str(folder))


def outcome(record: RunRecord) -> tuple:
    """Return what must be the same to the bit when a run is repeated."""
    curves = {name: {k: v for k, v in curve.items() if k != "seconds"} for name, curve in record.curves.items()}
    return record.fingerprint, record.status, curves, record.metrics, record.confusion_matrix, record.test_correct


def outcomes(folder) -> list[tuple]:
    return sorted((outcome(run.record) for run in load_runs(folder).runs), key=lambda found: found[0])


def completed(config: RunConfig, number: int = 1, **changes) -> Run:
    """Write the record of a completed run and return it."""
    values = {"status": "completed", "fingerprint": config.fingerprint, "config": config.model_dump()}
    record = RunRecord(**{**values, "metrics": {"val_end2end": 0.75}, **changes})
    path = Path(config.output_dir) / f"{number:04d}-x" / RECORD_NAME
    record.save(path)
    return Run(record, path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return what an undisturbed sweep of two runs that work and one that fails left, said and drew."""
    folder, said, drawn = tmp_path_factory.mktemp("swept"), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        wanted = study(bad={"weights": "nowhere.h5"})
        status = run_sweep(
            wanted, log=said.append, on_update=lambda found: drawn.append(text_of(draw(found))), program=SMALL
        )
    return {"folder": folder, "status": status, "said": said, "drawn": drawn, "study": wanted}


def text_of(table) -> str:
    console = Console(width=120, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(table)
    return console.export_text()


# The sweep itself, with real processes and a real cluster.


@pytest.mark.slow
def test_runs_are_recorded_a_failed_one_is_named_and_the_others_finish(swept):
    runs = load_runs(swept["folder"] / "runs").runs
    assert [run.record.status for run in runs] == ["completed", "completed", "failed"]
    assert [run.record.config["n_unfreeze"] for run in runs] == [0, 3, 3]
    assert swept["status"] == 1
    first, *lines, summary = swept["said"]
    assert first == "3 runs: 0 on record, 3 to do." and summary == "2 of 3 runs are on record."
    assert lines[0].startswith("[1/3] depth: n_unfreeze 0, seed 0 (0001-shapes-transfer): completed, validation ")
    assert lines[3].startswith("bad: seed 0 (runs/0003-shapes-transfer) failed: UserError: weights must be 'imagenet'")
    assert lines[4].strip() == f"{swept['study'].of_group('bad')[0].command()}"


@pytest.mark.slow
def test_a_model_stays_in_its_runs_folder_and_places_stay_relative(swept):
    assert not list(swept["folder"].glob("*.h5"))
    run = load_runs(swept["folder"] / "runs").runs[0]
    assert (run.folder / "model.keras").is_file() and run.record.files == {"model": "model.keras"}
    assert (run.record.config["model_path"], run.record.config["output_dir"]) == (NO_COPY, "runs")


@pytest.mark.slow
def test_the_table_follows_the_runs(swept):
    everything = "\n".join(swept["drawn"])
    assert "running" in everything and "completed" in everything and "1 of 3 ended" in everything


@pytest.mark.slow
def test_what_is_on_record_is_not_run_again(swept, monkeypatch):
    monkeypatch.chdir(swept["folder"])
    before, said = outcomes("runs"), []
    assert run_sweep(swept["study"].chosen(["depth"]), log=said.append, program=REFUSE) == 0
    assert said == ["2 runs: 2 on record, 0 to do.", "2 of 2 runs are on record."]
    assert outcomes("runs") == before


STARTED = """
import sys
from transfer_utils.studies import load_study
from transfer_utils.studies.sweep import run_sweep
if __name__ == "__main__":
    sys.exit(run_sweep(load_study("study.yaml", output_dir="runs"), program=sys.argv[1:]))
"""


def wait_until(reached, process=None) -> None:
    while not reached():
        assert process is None or process.poll() is None, "it ended before that"
        time.sleep(0.05)


def epochs_done(stage: str) -> int:
    """Return how far a stage has come in whichever run has it: two workers may claim their folders in either order."""
    records = [read_record(path) for path in Path("runs").glob(f"*/{RECORD_NAME}")]
    return max((len(record.curves.get(stage, {}).get("loss", [])) for record in records), default=0)


@pytest.mark.slow
@pytest.mark.fault(4)
def test_a_killed_sweep_leaves_no_process_and_the_same_command_ends_with_the_same_records(swept):
    study()
    Path("started.py").write_text(STARTED)
    command = [sys.executable, "started.py", *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: epochs_done("stage2") >= 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(children) >= 2, "a worker and its run"
    again = subprocess.run(
        command, capture_output=True, text=True
    )  # at once: the run of the first may still be closing
    assert (again.returncode, again.stderr) == (0, "")
    assert "2 runs: 1 on record, 1 to do." in again.stdout
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert outcomes("runs") == [found for found in outcomes(swept["folder"] / "runs") if found[1] == "completed"]


@pytest.mark.slow
@pytest.mark.fault(6)
def test_a_sweep_that_is_interrupted_ends_its_run_which_says_so():
    def interrupt(found: Sweep) -> None:
        if epochs_done("stage1") >= 1:
            everyone = psutil.Process().children(recursive=True)
            runs.extend(child for child in everyone if SMALL[0] in child.cmdline())
            raise KeyboardInterrupt

    runs: list[psutil.Process] = []
    with pytest.raises(KeyboardInterrupt):
        run_sweep(study(), log=lambda line: None, on_update=interrupt, program=SMALL)
    assert len(runs) == 1 and psutil.wait_procs(runs, timeout=60)[1] == []
    assert [run.record.status for run in load_runs("runs").runs] == ["interrupted"]


TOGETHER = """
import os, pathlib, time
pathlib.Path(f"{os.getpid()}.at").touch()
for _ in range(600):
    if len(list(pathlib.Path().glob("*.at"))) == 2:
        raise SystemExit("together")
    time.sleep(0.1)
"""


def test_two_workers_do_two_runs_at_a_time():
    said = []
    assert run_sweep(study(), workers=2, log=said.append, program=["-c", TOGETHER]) == 1
    assert len([line for line in said if line.endswith("failed: together")]) == 2, said


@contextmanager
def cluster(workers: int):
    """Start a scheduler and workers, each a process of its own without a nanny; yield its address and the workers."""
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1"]
    file = Path("scheduler.json")
    started = [
        subprocess.Popen(
            [*dask, "scheduler", *here, "--port", "0", "--no-dashboard", "--scheduler-file", file], **options
        )
    ]
    try:
        wait_until(lambda: file.exists() and file.stat().st_size, started[0])
        address = json.loads(file.read_text())["address"]
        plain = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", "scratch"]
        started += [subprocess.Popen([*dask, "worker", address, *here, *plain], **options) for _ in range(workers)]
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def unfreezes(process: psutil.Process) -> bool:
    """Say whether a process is the run of the study that has a stage 2."""
    return "--n_unfreeze 3" in " ".join(process.cmdline())


@pytest.mark.slow
@pytest.mark.fault(4)
def test_on_a_cluster_whose_worker_is_killed_another_one_goes_on_with_its_run(swept):
    wanted, said, killed = study(), [], []

    def kill_the_one_at_work(found: Sweep) -> None:
        if killed or epochs_done("stage2") < 2:
            return
        [worker] = [one for one in workers if any(unfreezes(run) for run in psutil.Process(one.pid).children())]
        killed.extend(psutil.Process(worker.pid).children())
        worker.kill()
        worker.wait()

    with cluster(2) as (address, workers):
        status = run_sweep(wanted, scheduler=address, log=said.append, on_update=kill_the_one_at_work, program=SMALL)
    assert status == 0 and said[-1] == "2 of 2 runs are on record."
    assert killed and psutil.wait_procs(killed, timeout=60)[1] == []
    assert outcomes("runs") == [found for found in outcomes(swept["folder"] / "runs") if found[1] == "completed"]


# What is left out, and what is said, without a run.


def test_a_run_that_diverged_is_told_and_not_repeated():
    wanted = study()
    first, second = wanted.of_group("depth")
    completed(first)
    same = second.model_copy(update={"epochs_baseline": 5})  # which does not matter to the pretrained network
    completed(same, 2, status="diverged", error="The loss became nan.", metrics={})
    said = []
    assert run_sweep(wanted, log=said.append, program=REFUSE) == 1
    assert said[0] == "2 runs: 2 on record, 0 to do."
    assert said[1] == "depth: n_unfreeze 3, seed 0 (runs/0002-x) diverged: The loss became nan."
    assert said[-1] == "1 of 2 runs are on record."


def test_a_run_of_another_preset_that_asks_the_same_is_on_record_and_an_unfinished_one_is_to_do():
    wanted = study()
    first, second = wanted.of_group("depth")
    completed(first.model_copy(update={"preset": "cifar10"}))
    completed(second, 2, status="interrupted")
    assert [job.status for job in plan(wanted).jobs] == ["on record", "waiting"]


def test_a_run_whose_process_dies_is_told_with_the_reason():
    said = []
    assert run_sweep(study(), log=said.append, program=["-c", "raise SystemExit('no such luck')"]) == 1
    assert [line for line in said if "no such luck" in line] == [
        "depth: n_unfreeze 0, seed 0 failed: no such luck",
        "depth: n_unfreeze 3, seed 0 failed: no such luck",
    ]
    said.clear()
    assert run_sweep(study(), log=said.append, program=["-c", "import os; os.kill(os.getpid(), 9)"]) == 1
    assert "depth: n_unfreeze 0, seed 0 failed: killed by SIGKILL" in said
    said.clear()
    assert run_sweep(study(), log=said.append, program=["-c", "pass"]) == 1
    assert any("its record is not in runs: do the workers share this folder?" in line for line in said)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(sweep, "WORKERS_TO_APPEAR", 1)
    with pytest.raises(UserError, match=r"scheduler must be the address of a Dask scheduler, got 'tcp://127.0.0.1:9'"):
        run_sweep(study(), scheduler="tcp://127.0.0.1:9", program=REFUSE)


# The process of a run.


LISTENING = "import time; from transfer_utils.utils.supervised import end_with_starter; end_with_starter(); {}"


def test_a_child_ends_when_whoever_started_it_is_gone_and_not_before():
    patient = LISTENING.format("time.sleep(0.2); print('done')")
    assert subprocess.run([sys.executable, "-c", patient], stdin=open("/dev/zero", "rb"), capture_output=True).stdout  # noqa: SIM115
    waiting = subprocess.Popen([sys.executable, "-c", LISTENING.format("time.sleep(600)")], stdin=subprocess.PIPE)
    waiting.stdin.close()
    assert waiting.wait(timeout=60) == -signal.SIGTERM


def test_a_child_that_does_not_heed_is_ended_all_the_same():
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += "from transfer_utils.utils import supervised as child; "
    deaf += "child.GRACE_SECONDS = 0.1; " + LISTENING.format("time.sleep(600)")
    waiting = subprocess.Popen([sys.executable, "-c", deaf], stdin=subprocess.PIPE)
    waiting.stdin.close()
    assert waiting.wait(timeout=60) == 128 + signal.SIGTERM


def test_a_child_has_the_folder_and_the_variables_it_is_to_have(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = "[os.getcwd(), os.environ.get('OMP_NUM_THREADS', '-'), *sys.argv[1:]]"
    program = ["-c", f"import os, sys; sys.exit(' '.join({told}))"]
    assert run_child(["a", "b c"], str(tmp_path), program) == (1, f"{tmp_path} 1 a b c")
    assert run_child(["a"], str(tmp_path), program, without=["OMP_NUM_THREADS"]) == (1, f"{tmp_path} - a")


def test_the_words_of_a_config_say_exactly_that_config(monkeypatch):
    unusual = {"seed": 7, "data_dir": "-odd folder", "n_unfreeze": -1, "learning_rate_stage2": 1 / 3, "augment": True}
    unusual |= {
        "horizontal_flip": False,
        "output_dir": "a b",
        "model_path": NO_COPY,
        "cache_dir": "c'd",
        "dropout": 0.0,
    }
    asked = []
    monkeypatch.setattr("transfer_utils.utils.supervised.end_with_starter", lambda: None)
    monkeypatch.setattr(
        "transfer_utils.experiment.run.run_experiment", lambda config, **how: asked.append((config, how))
    )
    for config in (
        preset("none", **unusual),
        preset("cifar10", **unusual, tta=False),
        preset("offline", model_path="x.h5"),
    ):
        cli.main(["train", "--quiet", "--supervised", *config.arguments()])
        assert asked[-1][0] == config and asked[-1][1]["reuse"] is True


# The plan and the table.


def test_the_plan_lists_runs_with_time_and_disk_and_starts_none(capsys):
    wanted = study()
    completed(wanted.of_group("depth")[0], timing_sec={"total": 100.0}, machine={"cores": available_cores()})
    assert cli.main(["sweep", "study.yaml", "--dry-run", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"depth: n_unfreeze 0, seed 0 +on record as 0001-x +depth", out)
    assert re.search(r"depth: n_unfreeze 3, seed 0 +waiting +\d.* (s|minutes|hours) +depth", out)
    assert re.search(r"2 runs, 1 to do: about .* with 2 at a time, \d+\.\d GB of cache\.", out)
    assert os.listdir("runs") == ["0001-x"]


def test_quiet_says_nothing_a_file_gets_lines_and_a_terminal_a_table_as_well(capsys, monkeypatch):
    wanted = plan(study())
    with watching(quiet=True) as (log, on_update):
        log("hidden")
    assert on_update is None
    with watching(quiet=False) as (log, on_update):
        log("[a] line")
    assert on_update is None and capsys.readouterr().out == "[a] line\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    with watching(quiet=False) as (log, on_update):
        log("[a] line")
        on_update(wanted)
    out = capsys.readouterr().out
    assert "[a] line" in out and "0 of 2 ended" in out


def test_the_command_hands_over_what_it_is_told(monkeypatch):
    study()
    asked = []
    monkeypatch.setattr(sweep, "run_sweep", lambda chosen, **how: asked.append((chosen, how)) or 0)
    options = ["--data_dir", tiny.image_folder(), "--output_dir", "there", "--groups", " depth ,", "--seeds", "0"]
    assert cli.main(["sweep", "study.yaml", *options, "--workers", "3", "--scheduler", "tcp://x:1"]) == 0
    chosen, how = asked[0]
    assert {one.config.output_dir for one in chosen.planned()} == {"there"}
    assert (how["workers"], how["scheduler"], how["look"]) == (3, "tcp://x:1", None)
    assert cli.main(["sweep", "study.yaml", "--seeds", "one"]) == 2
    assert cli.main(["sweep", "none.yaml"]) == 2


def test_the_table_shows_what_ended_badly_what_runs_and_what_comes_next():
    options = preset("offline")
    jobs = [Job(options, ["g"], f"late {number}") for number in range(20)]
    curves = {"stage1": {"val_accuracy": [0.5]}, "stage2": {"val_accuracy": [0.6, 0.71]}}
    run = Run(RunRecord(status="running", curves=curves, timing_sec={"total": 5.0}), Path("runs/0001-x/run.json"))
    jobs += [Job(options, ["g"], "now", "running", run), Job(options, ["g"], "broken", "diverged", error="nan")]
    jobs += [Job(options, ["g"], "long ago", "on record")]
    text = text_of(draw(Sweep(jobs, Forecast([]))))
    assert re.search(r"now .*running.* 71\.0 % .*\d+ (s|minutes)", text) and re.search(r"broken .*diverged", text)
    assert "late 0 " in text and "late 19" not in text and "long ago" not in text
    assert "2 of 23 ended" in text
    assert "23 runs, 21 to do" in dry_run(Sweep(jobs, Forecast([])))


def test_a_forecast_goes_by_like_runs_then_by_how_far_off_the_estimate_was():
    few = {"machine": {"cores": available_cores()}}
    first, other = preset("offline", learning_rate_stage2=0.5), preset("offline", n_unfreeze=60)
    runs = [
        completed(first, 1, timing_sec={"total": 40.0}, **few),
        completed(first, 2, timing_sec={"total": 60.0}, **few),
    ]
    runs += [completed(first, 3, timing_sec={"total": 9e9}, machine={"cores": 10**6})]
    learned, blank = Forecast(runs), Forecast([])
    assert learned.seconds(preset("offline", seed=5)) == 50.0
    off = learned.seconds(preset("offline")) / blank.seconds(preset("offline"))
    assert learned.seconds(other) == pytest.approx(off * blank.seconds(other))
    assert learned.seconds(preset("cifar10")) == blank.seconds(preset("cifar10"))


def test_what_several_runs_cache_together_is_counted_once():
    one = preset("cifar10")
    same = [one, one.model_copy(update={"learning_rate_stage2": 0.1}), one.model_copy(update={"output_dir": "x"})]
    assert disk(same) == disk([one]) > 0
    assert disk([*same, preset("cifar10", seed=1)]) > disk(same)
    assert disk([preset("cifar10", model="baseline")]) < disk([one])


def test_a_run_that_reuses_waits_for_another_that_is_at_it(monkeypatch):
    from transfer_utils.experiment import run as experiment

    options, said = tiny.config(), []
    monkeypatch.setattr(experiment, "claim_session", lambda *given: pytest.fail("it did not look again"))
    held = lock(Path("runs") / f".{options.fingerprint}")
    held.acquire()

    def finish_meanwhile(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            images = {"fingerprint": load_dataset(options).fingerprint}
            run = completed(options, files={"model": "model.keras"}, dataset=images)
            (run.folder / "model.keras").touch()
            held.release()

    assert experiment.run_experiment(options, reuse=True, log=finish_meanwhile).name == "0001-x"
    assert said[0].startswith("Another process is computing a run of these options")


@pytest.mark.slow
@pytest.mark.course
def test_runs_of_two_stages_can_be_done_as_notebook_04_and_others_without_it():
    short = {"epochs_stage1": 1, "epochs_stage2": 1, "views": 1, "labels_per_class": 5, "image_size": 32}
    groups = [{"name": "depth", "question": "How deep?", "grid": {"n_unfreeze": [0, 30]}}]
    Path("study.yaml").write_text(json.dumps({"preset": "offline", "options": short, "seeds": [3], "groups": groups}))
    wanted, said = load_study("study.yaml"), []
    assert run_sweep(wanted, notebook=True, log=said.append) == 0, said
    head_alone, both = load_runs("runs").runs
    assert (head_alone.record.config["n_unfreeze"], both.record.config["n_unfreeze"]) == (0, 30)
    for name, value in {**short, "seed": 3, "preset": "offline", "model_path": NO_COPY}.items():
        assert both.record.config[name] == value
    executed = list(Path("runs/notebooks").glob("*/*.ipynb"))
    assert [path.parent.name for path in executed] == [both.record.fingerprint]
    assert "04_two_stage_fine_tuning: finished." in executed[0].read_text("utf-8")
    assert outcomes("runs") and run_sweep(wanted, notebook=True, log=said.append, program=REFUSE) == 0
