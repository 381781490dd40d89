"""The command on the other backends of Keras, if they are installed. They are optional, so the lock has none."""

import importlib.util
import os
import subprocess
import sys

import pytest

from transfer_utils.records.folder import load_runs

SHORT = "train --preset offline --labels_per_class 5 --image_size 32 --epochs_stage1 1 --epochs_stage2 1 --quiet"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    ("model", "stage", "engine"), [("transfer", "stage2", "keras"), ("baseline", "baseline", None)]
)
def test_both_stages_and_the_baseline_run_on_another_backend(backend, model, stage, engine):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (pip install {backend}, and run this test again)")
    command = [sys.executable, "-m", "transfer_utils", *SHORT.split(), "--model", model, "--epochs_baseline", "1"]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [run] = load_runs("runs").runs
    network = run.record.network
    assert (run.record.status, network["backend"], network.get("engine")) == ("completed", backend, engine)
    assert len(run.record.curves[stage]["loss"]) == 1 and run.record.metrics["test_end2end"] > 0.05
