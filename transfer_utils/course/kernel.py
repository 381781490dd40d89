"""Execution of notebooks by papermill, each in its own kernel.

A notebook has succeeded only if its last cell printed the line of ``notebook.finish``: papermill also marks cells as
completed that a timeout or a dead kernel stopped.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from nbformat import NotebookNode

from transfer_utils.course.notebook import PRESET_VARIABLE, sentinel
from transfer_utils.utils.files import cache_folder
from transfer_utils.utils.progress import Progress

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

ENGINE = "transfer-utils"  # the name of ``CourseEngine`` in papermill's registry
# A kernel loads these while it waits for its notebook, which gets no name from that: it must still import what it uses.
LOADED = "for _i in ('transfer_utils', 'keras'): __import__(_i)"


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
        _kill(self.client.km if self.client else None)


class Kernels:
    """Kernels for a number of notebooks: while one runs, the kernel of the next starts and loads Keras.

    Use it in a ``with`` statement.
    """

    def __init__(self, notebooks: int) -> None:
        self._to_come = notebooks
        # One thread for all: a kernel belongs to the event loop of the thread that started it. Not the main thread,
        # where nbclient would handle Ctrl-C and SIGTERM.
        self._thread = ThreadPoolExecutor(1)
        self._ahead: AsyncKernelManager | None = None

    def __enter__(self) -> Kernels:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown()
        _kill(self._ahead)

    def run(self, path: Path, copy: Path, parameters: Mapping[str, Any], **options: Any) -> NotebookNode:
        """Execute a notebook by ``papermill.execute_notebook``, with these of its options; it raises what that does."""
        import papermill

        _register_engine()
        kernel, self._ahead = self._ahead, None
        self._to_come -= 1
        options |= {"engine_name": ENGINE, "kernel": kernel, "start_next": self._start_next if self._to_come else None}
        options |= {"kernel_name": "python3", "language": "python", "progress_bar": False}
        return self._thread.submit(papermill.execute_notebook, path, copy, parameters, **options).result()

    async def _start_next(self) -> None:
        from jupyter_client.manager import AsyncKernelManager

        self._ahead = AsyncKernelManager(kernel_name="python3")
        await self._ahead.start_kernel(
            extra_arguments=[f"--IPKernelApp.exec_lines={LOADED}"], stderr=subprocess.DEVNULL
        )


def _kill(manager: AsyncKernelManager | None) -> None:
    provisioner = manager.provisioner if manager else None
    if provisioner and provisioner.pid:
        with suppress(psutil.NoSuchProcess):
            kernel = psutil.Process(provisioner.pid)
            for process in [*kernel.children(recursive=True), kernel]:
                with suppress(psutil.NoSuchProcess):  # a child may end at any moment
                    process.kill()


def run_notebook(
    path: Path, copy: Path, parameters: Mapping[str, Any], running: Running, timeout: float, kernels: Kernels
) -> str:
    """Execute the notebook at ``path`` with these parameters and save the executed copy, even a partial one.

    ``running`` is updated when a cell starts; a cell may take ``timeout`` seconds. Returns the reason for a failure, or
    an empty string.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError

    try:
        executed = kernels.run(path, copy, parameters, running=running, execution_timeout=timeout)
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
        def execute_managed_notebook(cls, nb_man, kernel_name, *, running, kernel, start_next, execution_timeout, **_):
            async def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
                nonlocal start_next
                running.start_cell(nb_man.nb, cell_index)
                if start_next:
                    starting, start_next = start_next(), None
                    await starting

            client = PapermillNotebookClient(
                nb_man, km=kernel, kernel_name=kernel_name, timeout=execution_timeout, coalesce_streams=True
            )
            client.on_cell_start, running.client = on_cell_start, client
            # Discards the log of the kernel; standard error of the cells is part of the outputs.
            return client.execute(stderr=subprocess.DEVNULL, cleanup_kc=True)

    papermill_engines.register(ENGINE, CourseEngine)
