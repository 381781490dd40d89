"""Execution of one notebook by papermill in its own kernel.

A notebook has succeeded only if its last cell printed the line of ``notebook.finish``: papermill also marks cells as
completed that a timeout or a dead kernel stopped.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from nbformat import NotebookNode

from transfer_utils.course.notebook import PRESET_VARIABLE, sentinel
from transfer_utils.utils.files import cache_folder
from transfer_utils.utils.progress import Progress

ENGINE = "transfer-utils"  # the name of ``CourseEngine`` in papermill's registry


@dataclass
class Running:
    """A notebook in progress: its current cell, for messages, and its kernel, to stop it."""

    name: str
    progress: Progress | None = None
    client: Any = None
    cell: int = 0
    cells: int = 0
    stopped: bool = False

    def start_cell(self, notebook: NotebookNode, index: int) -> None:
        """Record that the cell at ``index`` starts; ``cell`` and ``cells`` count code cells only."""
        is_code = [cell.cell_type == "code" for cell in notebook.cells]
        if not is_code[index]:
            return
        self.cell, self.cells = sum(is_code[: index + 1]), sum(is_code)
        if self.progress:
            self.progress(self.name, self.cell - 1, self.cells)
        if self.stopped:  # before the kernel had started
            self.stop()

    def stop(self) -> None:
        """Kill the kernel, if there is one; this ends the execution."""
        self.stopped = True
        provisioner = self.client.km.provisioner if self.client and self.client.km else None
        if provisioner and provisioner.pid and psutil.pid_exists(provisioner.pid):
            kernel = psutil.Process(provisioner.pid)
            for process in [*kernel.children(recursive=True), kernel]:
                process.kill()


def run_notebook(path: Path, copy: Path, parameters: Mapping[str, Any], running: Running, timeout: float) -> str:
    """Execute the notebook at ``path`` with these parameters and save the executed copy, even a partial one.

    ``running`` is updated when a cell starts; a cell may take ``timeout`` seconds. Returns the reason for a failure, or
    an empty string.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError

    _register_engine()
    # In a thread, because in the main thread nbclient would handle Ctrl-C and SIGTERM.
    with ThreadPoolExecutor(1) as pool:
        options = {"engine_name": ENGINE, "running": running, "progress_bar": False, "execution_timeout": timeout}
        future = pool.submit(
            papermill.execute_notebook, path, copy, parameters, kernel_name="python3", language="python", **options
        )
        try:
            executed = future.result()
        except papermill.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            return f"it took longer than {timeout:g} s."
        except RuntimeError as error:  # raised by nbclient if the kernel does not start or dies
            return f"its kernel died ({error})."
        except BaseException:
            running.stop()
            raise
    last = [cell for cell in executed.cells if cell.cell_type == "code"][-1]
    printed = "".join(output.text for output in last.outputs if output.output_type == "stream")
    if sentinel(path.stem) not in printed.splitlines():
        return f"it ended without the line {sentinel(path.stem)!r}"
    return ""


@contextmanager
def kernel_environment(**variables: str) -> Iterator[None]:
    """Set the environment of kernels started in the block: temporary folders for Jupyter, and ``variables``.

    The kernels do not use the home folder, which may be read-only, and TRANSFER_UTILS_PRESET is unset, so that the
    parameters select the preset. The previous environment is restored afterwards.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="transfer-utils-jupyter-", ignore_cleanup_errors=True) as folder:
        os.environ.update(
            JUPYTER_RUNTIME_DIR=os.path.join(folder, "runtime"),
            JUPYTER_PREFER_ENV_PATH="1",  # a kernel "python3" in the home folder may be another Python
            IPYTHONDIR=os.path.join(folder, "ipython"),
            **variables,
        )
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
        os.environ.pop(PRESET_VARIABLE, None)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _register_engine() -> None:
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class CourseEngine(NBClientEngine):
        """The engine of papermill, with access to the client and to the start of each cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, running, execution_timeout, **unused):
            running.client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, timeout=execution_timeout)
            running.client.on_cell_start = lambda cell, cell_index: running.start_cell(nb_man.nb, cell_index)
            # Discards the log of the kernel; standard error of the cells is part of the outputs.
            return running.client.execute(stderr=subprocess.DEVNULL)

    papermill_engines.register(ENGINE, CourseEngine)
