"""One notebook, run by papermill in a kernel of its own; what went wrong comes back as a sentence.

A notebook counts as run only when its last cell printed the line of ``notebook.finish``: papermill marks cells as
completed that were cut off by a timeout or a dead kernel.
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

ENGINE = "transfer-utils"  # what papermill knows our way of running by


@dataclass
class Running:
    """A notebook while it runs: where it is, so that a failure can be told and an interrupt can stop it."""

    name: str
    progress: Progress | None = None
    client: Any = None
    cell: int = 0
    cells: int = 0
    stopped: bool = False

    def starts(self, notebook: NotebookNode, index: int) -> None:
        """Note that the cell at ``index`` of all the notebook's cells starts; only those with code are counted."""
        code = [cell.cell_type == "code" for cell in notebook.cells]
        if not code[index]:
            return
        self.cell, self.cells = sum(code[: index + 1]), sum(code)
        if self.progress:
            self.progress(self.name, self.cell - 1, self.cells)
        if self.stopped:  # before there was a kernel to kill
            self.stop()

    def stop(self) -> None:
        """Kill the kernel, where there is one; what waits for it then ends."""
        self.stopped = True
        provisioner = self.client.km.provisioner if self.client and self.client.km else None
        if provisioner and provisioner.pid and psutil.pid_exists(provisioner.pid):
            kernel = psutil.Process(provisioner.pid)
            for process in [*kernel.children(recursive=True), kernel]:
                process.kill()


def run_notebook(path: Path, copy: Path, parameters: Mapping[str, Any], running: Running, timeout: float) -> str:
    """Run the notebook at ``path`` with these parameters and keep it, executed as far as it comes, at ``copy``.

    Args:
        running: is told which cell runs.
        timeout: seconds a single cell may take.

    Returns:
        What went wrong, or an empty text.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError

    _register_engine()
    # In a thread of its own: in the main thread nbclient would take over Ctrl-C and SIGTERM.
    with ThreadPoolExecutor(1) as pool:
        options = {"engine_name": ENGINE, "running": running, "progress_bar": False, "execution_timeout": timeout}
        work = pool.submit(
            papermill.execute_notebook, path, copy, parameters, kernel_name="python3", language="python", **options
        )
        try:
            executed = work.result()
        except papermill.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            return f"it took longer than {timeout:g} s."
        except RuntimeError as error:  # nbclient raises these when a kernel does not start, or dies
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
    """Set what the kernels of the block inherit: Jupyter's own files in a temporary folder, and ``variables``.

    Nothing is read from or written to the user's home, which may be read-only; the parameters decide about the preset.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="transfer-utils-jupyter-", ignore_cleanup_errors=True) as folder:
        os.environ.update(
            JUPYTER_RUNTIME_DIR=os.path.join(folder, "runtime"),
            JUPYTER_PREFER_ENV_PATH="1",  # a kernel called python3 in the user's home may be another Python
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
        """Papermill's own way of running a notebook, but one can see where it is, and stop it."""

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, running, execution_timeout, **unused):
            running.client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, timeout=execution_timeout)
            running.client.on_cell_start = lambda cell, cell_index: running.starts(nb_man.nb, cell_index)
            # The kernel's own log; what cells write to standard error comes as outputs.
            return running.client.execute(stderr=subprocess.DEVNULL)

    papermill_engines.register(ENGINE, CourseEngine)
