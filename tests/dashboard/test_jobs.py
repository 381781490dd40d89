import json
import threading

import pytest

from tests.waiting import wait_for
from transfer_utils.dashboard import jobs
from transfer_utils.utils import supervised

WAITS = "import sys; open(sys.argv[1], 'w').close(); sys.stdin.read(); sys.exit(143)"
FAILS = "import sys; print('a warning', file=sys.stderr); sys.exit('Error: no pictures')"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(jobs, "_jobs", {})


def test_a_job_runs_once_for_its_owner_and_ends_when_it_is_asked_to(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PROGRAM", ("-c", WAITS))
    jobs.start("kitchen", "measure", [str(tmp_path / "one")])
    jobs.start("kitchen", "measure", [str(tmp_path / "two")])
    wait_for((tmp_path / "one").exists)
    assert jobs.running("kitchen").kind == "measure" and jobs.running("garden") is None
    assert jobs.ended("kitchen") is None
    jobs.stop("kitchen")
    wait_for(lambda: not jobs.running("kitchen"))
    job = jobs.ended("kitchen")
    assert (job.status, job.stopping) == (143, True)
    assert not (tmp_path / "two").exists() and not supervised._children


def test_a_job_that_is_stopped_before_its_process_exists_ends_too(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PROGRAM", ("-c", WAITS))
    waiting = threading.Event()
    run = jobs._run
    monkeypatch.setattr(jobs, "_run", lambda *arguments: waiting.wait() and run(*arguments))
    jobs.start("kitchen", "measure", [str(tmp_path / "one")])
    jobs.stop("kitchen")
    waiting.set()
    wait_for(lambda: not jobs.running("kitchen"))
    assert jobs.ended("kitchen").status == 143


def test_the_last_line_of_a_failed_job_is_kept(monkeypatch):
    monkeypatch.setattr(jobs, "PROGRAM", ("-c", FAILS))
    jobs.start("kitchen", "measure", [])
    wait_for(lambda: jobs.ended("kitchen"))
    assert (jobs.ended("kitchen").status, jobs.ended("kitchen").message) == (1, "Error: no pictures")


def test_every_job_is_supervised(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "PROGRAM", ("-c", "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"))
    jobs.start("kitchen", "measure", [str(tmp_path / "words"), "teach"])
    wait_for(lambda: jobs.ended("kitchen"))
    assert json.loads((tmp_path / "words").read_text()) == ["teach", "--supervised"]
