"""Sweeps: which runs they start, what happens when a sweep or a worker is killed, and what they report."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest

from tests import tiny
from tests.conftest import ROOT
from tests.studies.samples import EPOCHS, write_record, write_study
from tests.waiting import wait_for
from transfer_utils import cli
from transfer_utils.cli.sweep_table import draw, dry_run
from transfer_utils.config.options import NO_COPY, preset
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment.session import configuration_lock
from transfer_utils.records.folder import load_runs
from transfer_utils.records.record import RECORD_NAME, read_record
from transfer_utils.studies import sweep, workers
from transfer_utils.studies.cost import Forecast
from transfer_utils.studies.spec import load_study
from transfer_utils.studies.sweep import Job, Sweep, plan, run_sweep
from transfer_utils.utils.machine import available_cores
from transfer_utils.utils.supervised import run_child


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    """These runs end within seconds."""
    monkeypatch.setattr(sweep, "SECONDS_BETWEEN_UPDATES", 0.5)


REFUSE = ["-c", "raise SystemExit('started')"]

# The command line with a training that only writes records: it waits until the sweep has seen the first one.
FAKE = """
import sys, time
from pathlib import Path
from transfer_utils.cli.main import main
from transfer_utils.errors import UserError
from transfer_utils.experiment import run
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RECORD_NAME, RunRecord

def run_experiment(config, **hooks):
    number = len(list(Path(config.output_dir).glob("*"))) + 1
    path = Path(config.output_dir) / f"{number:04d}-fake" / RECORD_NAME
    record = RunRecord(status="running", fingerprint=config.fingerprint, config=config.model_dump())
    record.curves = {"stage1": {"val_accuracy": [0.25]}}
    record.save(path)
    while not Path("seen").exists():
        time.sleep(0.02)
    failed = config.weights != "random"
    record.status, record.error = ("failed", "UserError: bad weights") if failed else ("completed", "")
    record.save(path)
    if failed:
        raise UserError("bad weights")
    return Run(record, path)

run.run_experiment = run_experiment
sys.exit(main())
"""


def epochs_done(stage: str) -> int:
    """Return the number of epochs of a stage in the run that has most: workers may start their runs in any order."""
    records = [read_record(path) for path in Path("runs").glob(f"*/{RECORD_NAME}")]
    return max((len(record.curves.get(stage, {}).get("loss", [])) for record in records), default=0)


# Which runs are started, and what is reported.


def test_a_failed_run_is_named_the_others_finish_and_recorded_runs_are_not_repeated():
    study, lines, tables = write_study(bad={"weights": "nowhere.h5"}), [], []

    def on_update(state: Sweep) -> None:
        rows = list(zip(*(column.cells for column in draw(state).columns), strict=True))
        tables.append((draw(state).caption, rows))
        if any(row[1:3] == ("running", "25.0 %") for row in rows):
            Path("seen").touch()

    assert run_sweep(study, log=lines.append, on_update=on_update, program=["-c", FAKE]) == 1
    runs = load_runs("runs").runs
    statuses = [(run.record.status, run.record.config["n_unfreeze"]) for run in runs]
    assert statuses == [("completed", 0), ("completed", 3), ("failed", 3)]
    assert {run.record.config["model_path"] for run in runs} == {NO_COPY}, "the model stays in its run's folder"
    first, *results, summary = lines
    assert first == "3 runs: 0 on record, 3 to do." and summary == "2 of 3 runs are completed."
    assert results[0] == "[1/3] depth: n_unfreeze 0, seed 0 (0001-fake): completed, validation 25.0 %, 0 s"
    assert results[3] == "bad: seed 0 (runs/0003-fake) failed: UserError: bad weights"
    assert results[4].strip() == f"{study.of_group('bad')[0].command()} --model_path none"
    assert tables[-1][0].startswith("3 of 3 ended")
    lines.clear()
    damaged = Path("runs/0003-fake", RECORD_NAME)
    damaged.write_text("{")
    assert run_sweep(study.chosen(["depth"]), log=lines.append, program=REFUSE) == 0
    left_out = f"{damaged} cannot be read (not JSON"
    assert lines[0].startswith(left_out) and dry_run(plan(study)).startswith(left_out)
    assert lines[1:] == ["2 runs: 2 on record, 0 to do.", "2 of 2 runs are completed."]


TOGETHER = """
import os, pathlib, time
pathlib.Path(f"{os.getpid()}.at").touch()
for _ in range(600):
    if len(list(pathlib.Path().glob("*.at"))) == 2:
        raise SystemExit("together")
    time.sleep(0.1)
"""


def test_two_workers_do_two_runs_at_a_time():
    lines = []
    assert run_sweep(write_study(), workers=2, log=lines.append, program=["-c", TOGETHER]) == 1
    assert len([line for line in lines if line.endswith("failed: together")]) == 2, lines


def test_a_run_that_was_killed_while_it_trained_is_running_only_once_it_is_resumed():
    study, running = write_study(), []
    write_record(study.of_group("depth")[1], 7, status="running")

    def on_update(state: Sweep) -> None:
        running.append(sum(job.status == "running" for job in state.jobs))
        if state.jobs[0].status == "running":
            Path("seen").touch()

    assert run_sweep(study, log=tiny.quiet, on_update=on_update, program=["-c", FAKE]) == 0
    assert max(running) == 1


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('no such luck')", "no such luck"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("pass", "its record is not in runs: do the workers share this folder?"),
    ],
)
def test_a_run_whose_process_ends_without_a_record_is_reported_with_the_reason(program, reason):
    lines = []
    assert run_sweep(write_study(), log=lines.append, program=["-c", program]) == 1
    assert [line for line in lines if reason in line] == [
        f"depth: n_unfreeze 0, seed 0 failed: {reason}",
        f"depth: n_unfreeze 3, seed 0 failed: {reason}",
    ]


RESUMING = """
from transfer_utils.records.record import read_record

record = read_record("runs/0002-x/run.json")
record.status, record.error = "completed", ""
record.save("runs/0002-x/run.json")
"""


def test_a_run_that_resumed_an_older_attempt_than_the_newest_is_completed():
    study, lines = write_study(), []
    first, second = study.of_group("depth")
    write_record(first)
    for number, status in ((2, "interrupted"), (3, "failed")):
        write_record(second, number, status=status)
    assert run_sweep(study, log=lines.append, program=["-c", RESUMING]) == 0
    assert lines[-1] == "2 of 2 runs are completed."


def test_a_process_that_ends_before_it_resumes_is_reported_with_its_own_reason():
    study, lines = write_study(), []
    first, second = study.of_group("depth")
    write_record(first)
    write_record(second, 2, status="interrupted", error="UserError: last week's")
    assert run_sweep(study, log=lines.append, program=["-c", "raise SystemExit('no such luck')"]) == 1
    assert "depth: n_unfreeze 3, seed 0 (runs/0002-x) failed: no such luck" in lines


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("it was lost"), "it was lost"), (OSError(), "its worker is gone")]
)
def test_a_run_whose_worker_is_gone_is_reported_with_the_reason(monkeypatch, error, reason):
    def lose(*arguments):
        raise error

    lines = []
    monkeypatch.setattr(workers, "run_child", lose)
    assert run_sweep(write_study(), log=lines.append) == 1
    assert len([line for line in lines if line.endswith(f" failed: {reason}")]) == 2, lines


def test_the_time_left_is_that_of_the_jobs_that_have_not_ended_shared_by_the_workers():
    config = preset("offline")
    forecast = Forecast([write_record(config, timing_sec={"total": 100.0}, machine={"cores": available_cores()})])
    begun = write_record(config, 2, status="running", timing_sec={"total": 40.0})
    jobs = [Job(config, ["g"], "a", "completed"), Job(config, ["g"], "b", "running", begun), Job(config, ["g"], "c")]
    assert Sweep(jobs, forecast, workers=2).seconds_left == (60 + 100) / 2


def test_a_diverged_run_and_one_of_another_preset_are_not_repeated_and_an_interrupted_one_is():
    study, lines = write_study(), []
    first, second = study.of_group("depth")
    write_record(first.model_copy(update={"preset": "cifar10"}))
    write_record(second, 2, status="interrupted")
    assert [job.status for job in plan(study).jobs] == ["on record", "waiting"]
    same = second.model_copy(update={"epochs_baseline": 5})  # no effect on the transfer model
    write_record(same, 2, status="diverged", error="The loss became nan.", metrics={})
    assert run_sweep(study, log=lines.append, program=REFUSE) == 1
    assert lines[0] == "2 runs: 2 on record, 0 to do."
    assert lines[1] == "depth: n_unfreeze 3, seed 0 (runs/0002-x) diverged: The loss became nan."
    assert lines[-1] == "1 of 2 runs is completed."


def test_the_command_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(sweep, "run_sweep", lambda study, **options: calls.append((study, options)) or 0)
    write_offline_study({"n_unfreeze": 10}, {"n_unfreeze": 30}, seeds=[3, 4])
    words = "--cache_dir c --output_dir there --groups 1, --seeds 4 --scheduler tcp://x:1 --notebook"
    assert cli.main(["sweep", "study.yaml", *words.split()]) == 0
    study, options = calls[0]
    [config] = (run.config for run in study.planned())
    assert (config.cache_dir, config.output_dir, config.n_unfreeze, config.seed) == ("c", "there", 30, 4)
    passed = [options[name] for name in ("scheduler", "notebook", "on_update")]
    assert passed == ["tcp://x:1", True, None]
    path = Path("study.yaml")
    path.write_text(path.read_text().replace('"image_size": 32', '"output_dir": "results"'))
    assert cli.main(["sweep", "study.yaml", "--workers", "3"]) == 0 and calls[1][1]["workers"] == 3
    assert {run.config.output_dir for run in calls[1][0].planned()} == {"results"}


# Killed and interrupted sweeps.


# The real training imports TensorFlow first, and meanwhile a run whose sweep or worker was killed ends.
STARTING = f"import time; time.sleep(1)\n{tiny.TRAINING}"
PROGRAMS = [["-c", STARTING], pytest.param(tiny.SMALL, marks=pytest.mark.torture)]


def check_both_runs_are_complete() -> None:
    head_alone, both = sorted((run.record for run in load_runs("runs").runs), key=lambda run: run.config["n_unfreeze"])
    assert head_alone.status == both.status == "completed" and list(head_alone.curves) == ["stage1"]
    losses = both.curves["stage2"]["loss"]
    assert len(losses) == EPOCHS and len(set(losses)) == EPOCHS, "an epoch was lost or repeated"


SCRIPT = """
import sys
from transfer_utils.studies import load_study
from transfer_utils.studies.sweep import run_sweep
if __name__ == "__main__":
    sys.exit(run_sweep(load_study("study.yaml", output_dir="runs"), program=sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.fault(4)
@pytest.mark.parametrize("program", PROGRAMS, ids=["fake", "real"])
def test_a_killed_sweep_leaves_no_process_and_the_same_command_completes_its_runs(program):
    write_study()
    command = [sys.executable, "-c", SCRIPT, *program]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: epochs_done("stage2") >= 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert children
    # At once: the run of the killed sweep may still be closing its record.
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert "2 runs: 1 on record, 1 to do." in again.stdout
    assert psutil.wait_procs(children, timeout=60)[1] == []
    check_both_runs_are_complete()


@pytest.mark.fault(6)
def test_an_interrupted_sweep_ends_its_run_whose_record_says_interrupted():
    def interrupt(state: Sweep) -> None:
        if epochs_done("stage1") >= 1:
            runs.extend(set(psutil.Process().children()) - before)
            raise KeyboardInterrupt

    before, runs = set(psutil.Process().children()), []
    with pytest.raises(KeyboardInterrupt):
        run_sweep(write_study(), log=lambda line: None, on_update=interrupt, program=["-c", tiny.TRAINING])
    assert len(runs) == 1 and not runs[0].is_running()
    assert [run.record.status for run in load_runs("runs").runs] == ["interrupted"]


# A run that would end at once on Ctrl-C, and that notes how it ends.
NOTING = """
import signal, sys, time
from pathlib import Path
from transfer_utils.utils.supervised import end_with_starter

def note(number, frame):
    Path(signal.Signals(number).name).touch()
    sys.exit(1)

signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
end_with_starter()
with open("started", "a") as file:
    file.write("x")
time.sleep(600)
"""


@pytest.mark.fault(6)
def test_ctrl_c_in_a_terminal_reaches_a_run_only_through_its_sweep_and_starts_no_other():
    write_study()
    command = [sys.executable, "-c", SCRIPT, "-c", NOTING]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: Path("started").exists() and Path("started").stat().st_size, process)
    children = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the sweep and to its run
    assert process.wait(timeout=60) != 0
    assert len(children) == 1 and not children[0].is_running()
    assert Path("SIGTERM").exists() and not Path("SIGINT").exists()
    assert Path("started").read_text() == "x"


# A Dask cluster.


@contextmanager
def cluster(count: int):
    """Start a scheduler and workers, each a process of its own without a nanny; yield its address and the workers."""
    dask = [sys.executable, "-m", "dask"]
    file = Path("scheduler.json")
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", *local, "--port", "0", "--scheduler-file", file])]
    try:
        wait_for(lambda: file.exists() and file.stat().st_size, processes[0])
        worker = [*dask, "worker", json.loads(file.read_text())["address"], *local, "--nthreads", "1", "--no-nanny"]
        worker += ["--local-directory", "scratch"]
        processes += [subprocess.Popen(worker) for _ in range(count)]
        yield json.loads(file.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.fault(4)
@pytest.mark.parametrize("program", PROGRAMS, ids=["fake", "real"])
def test_on_a_cluster_another_worker_resumes_the_run_of_a_killed_one(program, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Dask sets it for its workers
    study, lines, killed, limited = write_study(), [], [], []

    def kill_worker(state: Sweep) -> None:
        if killed or epochs_done("stage2") < 2:
            return
        for process in processes:
            runs = psutil.Process(process.pid).children()
            if any("--n_unfreeze 3" in " ".join(run.cmdline()) for run in runs):
                limited.extend(run for run in runs if "OMP_NUM_THREADS" in run.environ())
                killed.extend(runs)
                process.kill()
                process.wait()

    with cluster(2) as (address, processes):
        status = run_sweep(study, scheduler=address, log=lines.append, on_update=kill_worker, program=program)
    assert status == 0 and lines[-1] == "2 of 2 runs are completed."
    assert killed and psutil.wait_procs(killed, timeout=60)[1] == []
    assert not limited, "a run uses all cores"
    check_both_runs_are_complete()


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"scheduler must be the address of a Dask scheduler, got 'tcp://127.0.0.1:9'"):
        run_sweep(write_study(), scheduler="tcp://127.0.0.1:9", program=REFUSE)


# The process of a run.


LISTENING = "import time; from transfer_utils.utils.supervised import end_with_starter; end_with_starter(); {}"


def test_a_child_ends_when_its_parent_is_gone_and_not_before():
    patient = LISTENING.format("time.sleep(0.2); print('done')")
    with open("/dev/zero", "rb") as zeros:
        assert subprocess.run([sys.executable, "-c", patient], stdin=zeros, capture_output=True).stdout
    waiting = subprocess.Popen([sys.executable, "-c", LISTENING.format("time.sleep(600)")], stdin=subprocess.PIPE)
    waiting.stdin.close()
    assert waiting.wait(timeout=60) == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_ends_all_the_same():
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += "from transfer_utils.utils import supervised as child; "
    deaf += "child.GRACE_SECONDS = 0.1; " + LISTENING.format("time.sleep(600)")
    waiting = subprocess.Popen([sys.executable, "-c", deaf], stdin=subprocess.PIPE)
    waiting.stdin.close()
    assert waiting.wait(timeout=60) == 128 + signal.SIGTERM


def test_a_child_runs_in_the_given_folder_without_the_given_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    values = "[os.getcwd(), os.environ.get('OMP_NUM_THREADS', '-'), *sys.argv[1:]]"
    program = ["-c", f"import os, sys; sys.exit(' '.join({values}))"]
    assert run_child(["a", "b c"], str(tmp_path), program) == (1, f"{tmp_path} 1 a b c")
    assert run_child(["a"], str(tmp_path), program, without=["OMP_NUM_THREADS"]) == (1, f"{tmp_path} - a")


def test_the_message_of_a_child_may_hold_any_letters(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # in which Windows writes what does not go to a terminal
    program = ["-c", "raise SystemExit('Tasse gro\\xdf')"]
    assert run_child([], str(tmp_path), program) == (1, "Tasse groß")


def test_the_arguments_of_a_config_give_exactly_that_config(monkeypatch):
    unusual = {"seed": 7, "data_dir": "-odd folder", "n_unfreeze": -1, "learning_rate_stage2": 1 / 3, "augment": True}
    unusual |= {"horizontal_flip": False, "dropout": 0.0}
    unusual |= {"output_dir": "a b", "model_path": NO_COPY, "cache_dir": "c'd"}
    calls = []
    monkeypatch.setattr("transfer_utils.cli.commands.end_with_starter", lambda: None)
    monkeypatch.setattr(
        "transfer_utils.experiment.run.run_experiment", lambda config, **hooks: calls.append((config, hooks))
    )
    for config in (preset("none", **unusual), preset("cifar10", **unusual, tta=False), preset("offline")):
        cli.main(["train", "--quiet", "--supervised", *config.arguments()])
        assert calls[-1][0] == config and calls[-1][1]["reuse"] is True


def test_a_run_waits_for_another_process_with_the_same_options_and_reuses_its_result(monkeypatch):
    from transfer_utils.experiment import run as experiment

    options, lines = tiny.config(model_path=NO_COPY), []
    monkeypatch.setattr(experiment, "claim_session", lambda *given: pytest.fail("it did not look again"))
    # The baseline's epochs have no effect on a transfer model: the other process computes the same run.
    other = configuration_lock(options.model_copy(update={"epochs_baseline": 9}))
    other.acquire()

    def finish_meanwhile(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            images = {"fingerprint": load_dataset(options).fingerprint}
            run = write_record(options, files={"model": "model.keras"}, dataset=images)
            (run.folder / "model.keras").touch()
            other.release()

    assert experiment.run_experiment(options, reuse=True, log=finish_meanwhile).name == "0001-x"
    assert lines[0].startswith("Another process is computing a run of these options")


# Notebook 04 as a run.


def write_offline_study(*groups: dict, seeds=(3,)):
    """Return a study of groups of these options, which are named by their place."""
    groups = [{"name": str(n), "question": "?", "options": options} for n, options in enumerate(groups)]
    study = {"preset": "offline", "options": {"image_size": 32}, "seeds": list(seeds), "groups": groups}
    Path("study.yaml").write_text(json.dumps(study))
    return load_study("study.yaml")


def test_only_runs_of_two_stages_with_a_solved_head_and_its_backbone_are_done_with_notebook_04():
    lines = []
    program = ["-c", "import sys; sys.exit(' '.join(sys.argv[1:]))"]
    others = [{"n_unfreeze": 0}, {"epochs_stage2": 0}, {"model": "baseline"}]
    others += [{"hidden_units": 8}, {"head": "plain"}, {"strategy": "mirrored"}, {"head_start": "random"}]
    others += [{"weights": "random", **network} for network in ({"alpha": 0.5}, {"backbone": "EfficientNetB0"})]
    study = write_offline_study({"n_unfreeze": 30}, *others)
    run_sweep(study, notebook=True, workers=2, log=lines.append, program=program)
    both, *rest = (line.split("failed: ")[1] for line in lines if "failed: " in line)
    assert both.startswith("course --supervised --quiet") and "--notebook 04" in both and "--parameter seed 3" in both
    for options, command in zip(others, rest, strict=True):
        assert command.startswith("train --supervised --quiet --preset offline"), options


# What notebook 04 does with its options, without the training; its cells are executed by tests/notebooks.
SAVE = """
from transfer_utils.records.record import RunRecord
record = RunRecord(status="completed", fingerprint=config.fingerprint, config=config.model_dump())
record.save(f"{config.output_dir}/0001-x/run.json")
print("04_two_stage_fine_tuning: finished.")
"""


@pytest.mark.slow
@pytest.mark.course
def test_a_run_done_with_notebook_04_is_recorded_and_leaves_the_executed_notebook():
    study, lines = write_offline_study({"n_unfreeze": 30}), []
    notebook = nbformat.read(ROOT / "notebooks" / "04_two_stage_fine_tuning.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["parameters"] or "begin(" in cell.source]
    notebook.cells = [*cells, nbformat.v4.new_code_cell(SAVE)]
    Path("notebooks").mkdir()
    nbformat.write(notebook, "notebooks/04_two_stage_fine_tuning.ipynb")
    assert run_sweep(study, notebook=True, log=lines.append) == 0, lines
    [run] = load_runs("runs").runs
    options = {"image_size": 32, "seed": 3, "n_unfreeze": 30, "preset": "offline", "model_path": NO_COPY}
    assert options.items() <= run.record.config.items()
    executed = list(Path("runs/notebooks").glob("*/*.ipynb"))
    assert [path.parent.name for path in executed] == [run.record.fingerprint]
    assert "04_two_stage_fine_tuning: finished." in executed[0].read_text("utf-8")
    assert run_sweep(study, notebook=True, log=lines.append, program=REFUSE) == 0


ON_WINDOWS = """
import os, signal, sys, time
from transfer_utils.utils import supervised
def end(number, frame):
    print("recorded", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
os.kill = lambda process, number: os._exit(number)  # as on Windows: TerminateProcess, which runs no handler
del signal.pthread_kill  # which Windows lacks
supervised.end_with_starter()
for _ in range(600):
    time.sleep(0.1)
"""


def test_a_child_can_finish_its_record_on_windows_too():
    child = subprocess.Popen([sys.executable, "-c", ON_WINDOWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.close()
    assert (child.wait(timeout=60), child.stdout.read().strip()) == (128 + signal.SIGTERM, b"recorded")
