import subprocess
import sys

import pytest

from transfer_utils.dashboard import launch
from transfer_utils.errors import UserError


@pytest.mark.fault(30)
def test_the_server_is_bound_to_localhost_and_sends_no_statistics(tmp_path):
    command = launch.command(tmp_path, 8123)
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert {"--server.address=127.0.0.1", "--server.port=8123", "--browser.gatherUsageStats=false"} <= set(command)
    assert command[-2:] == ["--runs", str(tmp_path)]


@pytest.mark.fault(30)
def test_the_project_configuration_sets_the_same():
    import streamlit.config as config

    config.get_config_options(force_reparse=True)
    config._main_script_path = str(launch.SCRIPT)
    config.get_config_options(force_reparse=True)
    assert config.get_option("server.address") == "127.0.0.1"
    assert config.get_option("browser.gatherUsageStats") is False


def test_launch_returns_the_exit_status(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "command", lambda runs, port: [sys.executable, "-c", "raise SystemExit(3)"])
    assert launch.launch(tmp_path) == 3


@pytest.mark.fault(30)
def test_the_server_ends_with_its_starter(tmp_path, monkeypatch):
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


def test_a_missing_library_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(UserError, match="needs plotly: pip install"):
        launch.launch(tmp_path)
