"""The command, killed at many moments, and on a disk that is full at every file that a run writes."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.experiment.test_run import config, outcome, start
from tests.tiny import SMALL

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(3000)]

REAL, ON_FULL_DISK = ["-m", "transfer_utils"], ["-m", "tests.full_disk"]
KILLS = 25
VARIANTS = {
    "cached views": {},
    "drawn anew, with mixup": {"views": 0, "use_mixup": True, "optimizer_stage2": "Adam", "learning_rate_stage2": 1e-4},
    "plain images, no stage 1": {"augment": False, "epochs_stage1": 0, "schedule": "cosine", "n_unfreeze": -1},
    "baseline": {"model": "baseline", "epochs_baseline": 60},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.fault(4)
def test_kills_of_the_real_command_at_random_moments_do_not_change_the_result(tally, variant):
    number = list(VARIANTS).index(variant)
    times = KILLS // len(VARIANTS) + (number < KILLS % len(VARIANTS))
    options = config(**{"alpha": 0.1, "n_unfreeze": 30, "epochs_stage1": 60, "epochs_stage2": 60, **VARIANTS[variant]})
    begun = time.monotonic()
    # By the command as well: what a process has computed before can change the last bits of what it computes next.
    out, err = start(REAL, options.model_copy(update={"output_dir": "other", "cache_dir": "another"})).communicate()
    assert "Recorded in " in out, err
    expected, whole = outcome(next(Path("other").iterdir())), time.monotonic() - begun
    delay, kills, runs = random.Random(number), 0, 1

    def resume() -> subprocess.Popen:
        return start(REAL, options.model_copy(update={"output_dir": f"runs{runs}", "cache_dir": f"cache{runs}"}))

    while kills < times:
        process = resume()
        try:
            process.wait(delay.uniform(0, whole))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        out, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL) and "Traceback" not in err, err
        runs += process.returncode == 0  # it ended before it could be killed: start another run
    out, err = resume().communicate()
    assert "Recorded in " in out, err
    # A command that is killed after its last word has left a complete run, and the next one begins another beside it.
    lost = sum(outcome(folder) != expected for folder in sorted(Path().glob("runs*/0*")))
    tally(kills, lost)
    assert not lost


@pytest.mark.parametrize("third", range(3))
@pytest.mark.fault(5)
def test_a_disk_that_is_full_at_any_file_is_named_and_the_same_command_completes_the_run(monkeypatch, tally, third):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    written = {"checkpoint"} | files_of("whole")
    assert {"run.json", "model.keras", "model.h5", "predictions.npz", "model-float32.tflite"} <= written
    expected, lost = outcome(next(Path("whole/runs").iterdir())), []
    names = sorted(written)[third::3]
    for number, name in enumerate(names):
        status, err = command(f"full{number}", [*ON_FULL_DISK, name])
        named = status in (1, 2) and "the disk is full" in err and "Traceback" not in err
        complete = files_of(f"full{number}") >= written - {"checkpoint"}
        same = outcome(next(Path(f"full{number}/runs").iterdir())) == expected
        if not (named and complete and same):
            lost.append((name, status, err, complete, same))
    tally(len(names), len(lost))
    assert not lost


def command(folder: str, program: list[str]) -> tuple[int, str]:
    """Run the command with all of its paths in ``folder``; return its exit status and its standard error."""
    paths = {"output_dir": "runs", "cache_dir": "cache", "model_path": "model.h5", "json_output_path": "log.json"}
    paths = {option: str(Path(folder, path)) for option, path in paths.items()}
    Path(folder).mkdir(exist_ok=True)
    process = start(program, config(export="float32", epochs_stage1=2, epochs_stage2=2, **paths))
    _, err = process.communicate()
    return process.returncode, err


def files_of(folder: str) -> set[str]:
    """Run the command to its end; return the names of all files in ``folder`` that are not empty."""
    status, err = command(folder, SMALL)
    assert status == 0, err
    return {path.name for path in Path(folder).rglob("*") if path.is_file() and os.path.getsize(path)}
