"""Start the dashboard in a separate process that only this machine can reach."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from transfer_utils.errors import UserError
from transfer_utils.utils.project import project_folder

SCRIPT = project_folder() / "dashboard.py"


def launch(runs_dir: str | os.PathLike, port: int = 8501) -> int:
    """Serve the dashboard for ``runs_dir`` until it is stopped; return the exit status of the server.

    The server listens on 127.0.0.1 only and sends no usage statistics.

    Raises:
        UserError: Streamlit or Plotly is not installed.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The dashboard needs {' and '.join(missing)}: pip install 'transfer-utils[dashboard]'")
    server = subprocess.Popen(command(runs_dir, port))
    try:
        return server.wait()
    except KeyboardInterrupt:  # the server receives it too and stops by itself
        return server.wait()
    finally:
        server.terminate()


def command(runs_dir: str | os.PathLike, port: int) -> list[str]:
    """Return the command line that serves ``runs_dir``."""
    # .streamlit/config.toml sets these too; options on the command line override every other configuration.
    options = ["--server.address=127.0.0.1", f"--server.port={port}", "--browser.gatherUsageStats=false"]
    streamlit = [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *options]
    return [*streamlit, "--", "--runs", os.path.abspath(runs_dir)]
