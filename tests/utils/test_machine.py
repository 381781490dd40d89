"""What is recorded of the machine."""

import json
import os

import psutil

from transfer_utils.utils import machine


def test_versions_name_python_and_every_package_that_decides_numbers():
    found = machine.versions()
    assert set(found) == {"python", *machine.PACKAGES}
    assert all(found.values())


def test_a_package_that_is_not_there_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package-at-all",))
    assert machine.versions()["no-such-package-at-all"] == "not installed"


def test_the_cores_are_those_that_this_process_may_use():
    allowed = machine.available_cores()
    assert 1 <= allowed <= (os.cpu_count() or 1)
    assert machine.machine()["cores"] == allowed


def test_the_machine_is_plain_json_and_names_no_host():
    text = json.dumps(machine.machine())
    assert os.uname().nodename not in text


def test_the_peak_is_at_least_what_is_held_now():
    held = psutil.Process().memory_info().rss >> 20
    assert machine.peak_memory_mb() >= held - 1
