"""Serve the dashboard in this process, to this machine only."""

from __future__ import annotations

import importlib.util
import os
import socket
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from transfer_utils.errors import UserError
from transfer_utils.records.folder import check_folder
from transfer_utils.utils.project import project_folder

SCRIPT = project_folder() / "dashboard.py"
DEFAULT_RUNS = "runs"
MAX_UPLOAD_MIB = 200  # of one file, before it is looked at: at least what ``collection`` allows a zip file


def launch(runs_dir: str | os.PathLike, port: int = 8501) -> int:
    """Serve the dashboard for ``runs_dir`` until it is stopped; return 0.

    The server listens on 127.0.0.1 only and sends no usage statistics. It runs in this process, so nothing is left of
    it however this process ends.

    Raises:
        UserError: Streamlit or Plotly is not installed, the port is in use, or there is no such folder; the default
            folder may be missing, as the first run creates it.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        # In double quotes: the command prompt of Windows takes single ones for a part of the name.
        raise UserError(f'The dashboard needs {needed}: pip install "transfer-utils[dashboard]"')
    folder = Path(runs_dir)
    if folder.exists() or str(folder) != DEFAULT_RUNS:
        check_folder(folder)
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        raise UserError(f"Port {port} is in use, perhaps by another dashboard: choose another one with --port.")
    from streamlit.web.cli import main as streamlit

    streamlit(server_arguments(runs_dir, port), prog_name="streamlit", standalone_mode=False)  # returns after Ctrl-C
    return 0


def server_arguments(runs_dir: str | os.PathLike, port: int) -> list[str]:
    """Return the arguments with which Streamlit serves ``runs_dir``."""
    hosts = ("localhost", "127.0.0.1")
    # On the command line, as a .streamlit/config.toml in the current folder overrides that of the project.
    settings = [
        ("server.address", "127.0.0.1"),
        ("server.port", port),
        ("server.enableCORS", "true"),  # which means that other origins are refused
        *(("server.corsAllowedOrigins", f"http://{host}:{port}") for host in hosts),
        *(("server.allowedHosts", host) for host in hosts),
        ("server.enableXsrfProtection", "true"),
        ("server.enableStaticServing", "false"),
        ("server.maxUploadSize", MAX_UPLOAD_MIB),
        ("server.fileWatcherType", "none"),
        ("client.showErrorDetails", "none"),
        ("client.toolbarMode", "minimal"),
        ("browser.gatherUsageStats", "false"),
        # Every chart is sent in full. A browser may drop one that it kept just before Streamlit refers to it, for
        # instance while a part of the page is drawn anew, and then loses the connection.
        ("global.minCachedMessageSize", "1e9"),
    ]
    # An unknown option would end the server. To ask Streamlit for its options has it log that they were read twice.
    if tuple(map(int, version("streamlit").split(".")[:2])) >= (1, 67):
        settings.append(("server.enableAgentApi", "false"))
    options = [f"--{name}={value}" for name, value in settings]
    return ["run", str(SCRIPT), *options, "--", "--runs", os.path.abspath(runs_dir)]
