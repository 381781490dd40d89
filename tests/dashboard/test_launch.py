import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from streamlit.config import get_config_options

from tests.dashboard.server import free_port, wait_until_ready
from transfer_utils.dashboard import launch
from transfer_utils.errors import UserError
from transfer_utils.teach.collection import MAX_ARCHIVE_BYTES

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
# What protects the server and its readers, however it is started.
SETTINGS = {
    "server.address": "127.0.0.1",
    "server.enableCORS": True,
    "server.allowedHosts": ["localhost", "127.0.0.1"],
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.maxUploadSize": 200,
    "client.showErrorDetails": "none",
    "browser.gatherUsageStats": False,
    "global.minCachedMessageSize": 1e9,
}


@pytest.mark.fault(30)
def test_another_configuration_cannot_weaken_the_server(tmp_path):
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
    own_origins = ["http://localhost:8123", "http://127.0.0.1:8123"]
    expected = SETTINGS | {"server.port": 8123, "server.corsAllowedOrigins": own_origins}
    if "server.enableAgentApi" in get_config_options():  # an option that Streamlit has had since 1.67
        expected["server.enableAgentApi"] = False
    command = [sys.executable, str(script), json.dumps(list(expected)), *launch.server_arguments(tmp_path, 8123)]
    environment = {**os.environ, "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    assert json.loads(seen.read_text()) == expected


@pytest.mark.fault(30)
def test_the_project_configuration_sets_the_same(monkeypatch):
    import streamlit.config as config

    monkeypatch.setattr(config, "_main_script_path", str(launch.SCRIPT))
    monkeypatch.setattr(config, "_config_options", None)  # read anew, and only here
    assert {name: config.get_option(name) for name in SETTINGS} == SETTINGS
    assert MAX_ARCHIVE_BYTES <= launch.MAX_UPLOAD_MIB << 20, "a file over our limit is refused with our sentence"


@pytest.mark.slow
@pytest.mark.fault(30, 34)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_the_server_ends_with_the_command_that_started_it(tmp_path, number):
    port = free_port()
    command = [sys.executable, "-m", "transfer_utils", "dashboard", "--runs", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/_stcore/health", process)
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive and "Traceback" not in errors
    assert "please restart" not in errors, "Streamlit had read its options twice"
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_folder_that_does_not_exist_is_an_error_unless_it_is_the_default(tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda words, **options: served.append(words[-1]))
    (tmp_path / "file").touch()
    for name, problem in (("none", "does not exist"), ("file", "is a file, not a folder")):
        with pytest.raises(UserError, match=f"runs must be a folder of run records, got '{name}', which {problem}"):
            launch.launch(name)
    (tmp_path / "mine").mkdir()
    assert [launch.launch(name) for name in ("runs", "mine")] == [0, 0]
    assert served == [str(tmp_path / "runs"), str(tmp_path / "mine")]


def test_a_port_in_use_is_an_error_that_names_the_option(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use, .*: choose another one with --port"):
            launch.launch(tmp_path, port)


def test_a_missing_library_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(UserError, match=r'needs plotly: pip install "transfer-utils\[dashboard\]"'):
        launch.launch(tmp_path)
