"""The isolation of tests by ``conftest.py``."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FETCH = "import urllib.request; urllib.request.urlopen('{}', timeout=5)"


@pytest.mark.parametrize("address", [("example.org", 80), ("192.0.2.1", 443)])
@pytest.mark.parametrize("method", ["create_connection", "connect", "connect_ex"])
def test_other_machines_cannot_be_reached(address, method):
    with pytest.raises(OSError, match=f"must not use the network.*{address[0]}"):
        if method == "create_connection":
            socket.create_connection(address, timeout=5)
        else:
            with socket.socket() as client:
                getattr(client, method)(address)


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


def test_child_processes_cannot_reach_other_machines():
    command = [sys.executable, "-c", FETCH.format("https://example.org")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Connection refused" in done.stderr


def test_the_working_folder_and_the_caches_are_temporary(tmp_path):
    assert Path.cwd() == tmp_path.resolve()
    for name in ("TRANSFER_UTILS_CACHE", "KERAS_HOME", "MPLCONFIGDIR"):
        assert Path(os.environ[name]).is_relative_to(tempfile.gettempdir())
