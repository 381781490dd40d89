"""The facts about the machine in the run record."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from transfer_utils.utils import machine


def test_versions_list_python_and_the_packages_whether_installed_or_not(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("keras", "no-such-package-at-all"))
    monkeypatch.setattr(machine, "OTHER_BACKENDS", ("numpy", "no_such_backend"))  # named only where installed
    versions = machine.versions()
    assert set(versions) == {"python", "keras", "no-such-package-at-all", "numpy"}
    assert versions["keras"] == importlib.metadata.version("keras")
    assert versions["no-such-package-at-all"] == "not installed"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_available_cores_respects_the_cpu_affinity():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert machine.machine()["cores"] == machine.available_cores() <= os.cpu_count()


def test_the_facts_are_json_and_do_not_contain_the_host_name():
    text = json.dumps(machine.machine())
    assert os.uname().nodename not in text


def test_the_peak_memory_is_at_least_the_current_memory_and_in_megabytes():
    current = psutil.Process().memory_info().rss >> 20
    assert current - 1 <= machine.peak_memory_mb() < 100 * current


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak apart")
def test_the_peak_memory_is_not_that_of_the_process_that_started_this_one():
    held = np.ones(400 << 17)  # 400 MiB
    command = [sys.executable, "-c", "from transfer_utils.utils import machine; print(machine.peak_memory_mb())"]
    assert int(subprocess.check_output(command, text=True)) < 300
    assert held.nbytes >> 20 == 400 < machine.peak_memory_mb()
