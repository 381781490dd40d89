import contextlib
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from transfer_utils.dashboard import launch
from transfer_utils.errors import UserError


@pytest.mark.fault(30)
def test_the_server_is_bound_to_this_machine_and_sends_no_statistics(tmp_path):
    command = launch.command(tmp_path, 8123)
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert {"--server.address=127.0.0.1", "--server.port=8123", "--browser.gatherUsageStats=false"} <= set(command)
    assert command[-2:] == ["--runs", str(tmp_path)]


@pytest.mark.fault(30)
def test_the_project_configuration_says_the_same():
    import streamlit.config as config

    config.get_config_options(force_reparse=True)
    config._main_script_path = str(launch.SCRIPT)
    config.get_config_options(force_reparse=True)
    assert config.get_option("server.address") == "127.0.0.1"
    assert config.get_option("browser.gatherUsageStats") is False


@pytest.mark.slow
@pytest.mark.fault(30)
def test_the_server_listens_to_this_machine_alone_and_calls_nobody(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(launch.command(tmp_path, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
        process = psutil.Process(server.pid)
        ends = [end for one in (process, *process.children(recursive=True)) for end in one.net_connections("inet")]
    finally:
        server.terminate()
        server.wait()
    assert [end.laddr for end in ends if end.status == psutil.CONN_LISTEN] == [("127.0.0.1", port)]
    assert {end.raddr.ip for end in ends if end.raddr} <= {"127.0.0.1"}


def wait_for(address: str, server: subprocess.Popen) -> None:
    while server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail("the server ended")


def test_launch_hands_on_the_exit_status(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "command", lambda runs, port: [sys.executable, "-c", "raise SystemExit(3)"])
    assert launch.launch(tmp_path) == 3


@pytest.mark.fault(30)
def test_the_server_does_not_outlive_its_starter(tmp_path, monkeypatch):
    started = []

    class Server(subprocess.Popen):
        def wait(self, timeout=None):
            if not started:
                started.append(self)
                raise SystemExit(143)
            return super().wait(timeout)

    monkeypatch.setattr(launch.subprocess, "Popen", Server)
    monkeypatch.setattr(launch, "command", lambda runs, port: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(SystemExit):
        launch.launch(tmp_path)
    assert started[0].wait(10) != 0


def test_what_is_missing_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(UserError, match="needs plotly: pip install"):
        launch.launch(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(launch, "SCRIPT", tmp_path / "dashboard.py")
    with pytest.raises(UserError, match="from a checkout"):
        launch.launch(tmp_path)
