"""Start the dashboard in a separate process that only this machine can reach."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from transfer_utils.errors import UserError

SCRIPT = Path(__file__).parents[2] / "dashboard.py"


def launch(runs_dir: str | os.PathLike, port: int = 8501) -> int:
    """Serve the dashboard for ``runs_dir`` until it is stopped; return the exit status of the server.

    The server listens on 127.0.0.1 only and sends no usage statistics.

    Raises:
        UserError: Streamlit or Plotly is not installed, or the package was installed without the project.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The dashboard needs {' and '.join(missing)}: pip install 'transfer-utils[dashboard]'")
    if not SCRIPT.is_file():
        raise UserError(f"The dashboard runs from a checkout of the project: {SCRIPT} does not exist.")
    server = subprocess.Popen(command(runs_dir, port))
    try:
        return server.wait()
    except KeyboardInterrupt:  # the server receives it too and stops by itself
        return server.wait()
    finally:
        server.terminate()


def command(runs_dir: str | os.PathLike, port: int) -> list[str]:
    """Return the command line that serves ``runs_dir``."""
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
        ("server.enableAgentApi", "false"),
        ("server.maxUploadSize", 20),  # megabytes; the only upload is one picture
        ("server.fileWatcherType", "none"),
        ("client.showErrorDetails", "none"),
        ("client.toolbarMode", "minimal"),
        ("browser.gatherUsageStats", "false"),
    ]
    options = [f"--{name}={value}" for name, value in settings]
    return [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *options, "--", "--runs", os.path.abspath(runs_dir)]
