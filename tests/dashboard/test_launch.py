import json
import os
import subprocess
import sys

import pytest

from transfer_utils.dashboard import launch
from transfer_utils.errors import UserError

WEAK = """
[server]
address = "0.0.0.0"
enableCORS = false
corsAllowedOrigins = ["http://example.org"]
allowedHosts = ["*"]
enableXsrfProtection = false
enableStaticServing = true
enableAgentApi = true
maxUploadSize = 2000
[client]
showErrorDetails = "full"
[browser]
gatherUsageStats = true
"""


@pytest.mark.fault(30)
def test_the_server_is_bound_to_localhost_and_sends_no_statistics(tmp_path):
    command = launch.command(tmp_path, 8123)
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert {"--server.address=127.0.0.1", "--server.port=8123", "--browser.gatherUsageStats=false"} <= set(command)
    assert command[-2:] == ["--runs", str(tmp_path)]


@pytest.mark.fault(30)
def test_another_configuration_cannot_weaken_the_server(tmp_path, monkeypatch):
    """The server is started in a folder whose configuration allows everything, with such environment variables."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(WEAK)
    seen = tmp_path / "seen.json"
    script = tmp_path / "print_options.py"
    script.write_text(
        "import json, pathlib, sys\nfrom streamlit import config\nfrom streamlit.web import bootstrap\n"
        "from streamlit.web.cli import main\nnames = json.loads(sys.argv.pop(1))\n"
        f"bootstrap.run = lambda *arguments: pathlib.Path({str(seen)!r}).write_text("
        "json.dumps({name: config.get_option(name) for name in names}))\nmain()\n"
    )
    expected = {
        "server.address": "127.0.0.1",
        "server.port": 8123,
        "server.enableCORS": True,
        "server.corsAllowedOrigins": ["http://localhost:8123", "http://127.0.0.1:8123"],
        "server.allowedHosts": ["localhost", "127.0.0.1"],
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.maxUploadSize": 20,
        "client.showErrorDetails": "none",
        "browser.gatherUsageStats": False,
    }
    command = launch.command(tmp_path, 8123)
    command[1:3] = [str(script), json.dumps(list(expected))]
    environment = {**os.environ, "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    found = json.loads(seen.read_text())
    for name in ("server.corsAllowedOrigins", "server.allowedHosts"):
        found[name] = list(found[name])
    assert found == expected


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


def test_a_missing_library_or_script_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(UserError, match="needs plotly: pip install"):
        launch.launch(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(launch, "SCRIPT", tmp_path / "dashboard.py")
    with pytest.raises(UserError, match="from a checkout"):
        launch.launch(tmp_path)
