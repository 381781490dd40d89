"""The workers of a sweep: threads of this process, or a Dask cluster. Each run is a child process of a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from transfer_utils.errors import UserError
from transfer_utils.utils.supervised import run_child, stop_children

CONNECT_SECONDS = 60  # how long to wait for a Dask scheduler and its first worker


@dataclass
class Workers:
    """Runs commands, ``count`` at a time, and stops them."""

    executor: Executor
    count: int
    stop: Callable[[str], None]  # calls ``stop_children`` with the given owner on every machine
    without: tuple[str, ...] = ()  # environment variables that a run does not inherit
    futures: list[Future] = field(default_factory=list)
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    def submit(self, arguments: Sequence[str], program: Sequence[str]) -> Future:
        """Queue a command; the result of the future is that of ``run_child``."""
        future = self.executor.submit(run_child, arguments, os.getcwd(), tuple(program), self.without, self.owner)
        self.futures.append(future)
        return future

    def cancel(self) -> None:
        """Drop the waiting commands and stop the running ones; on this machine, wait until they have ended."""
        for future in self.futures:
            future.cancel()
        self.stop(self.owner)
        while not all(future.done() for future in self.futures):
            time.sleep(0.1)
            self.stop(self.owner)  # again, because a thread may have been about to start its child


@contextmanager
def open_workers(count: int, scheduler: str) -> Iterator[Workers]:
    """Yield ``count`` workers of this machine, or those of the Dask cluster at ``scheduler``.

    If the block raises, for example on Ctrl-C, all commands are stopped.

    Raises:
        UserError: the scheduler cannot be reached, or it has no workers.
    """
    with _dask_workers(scheduler) if scheduler else _local_workers(count) as workers:
        try:
            yield workers
        except BaseException:
            workers.cancel()
            raise


@contextmanager
def _local_workers(count: int) -> Iterator[Workers]:
    with ThreadPoolExecutor(count, initializer=_block_interrupts) as executor:
        yield Workers(executor, count, stop_children)


def _block_interrupts() -> None:
    """Block SIGINT and SIGHUP in this thread and in the processes it starts.

    A terminal sends them to all at once; the main thread receives them and stops the runs in order.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])


@contextmanager
def _dask_workers(scheduler: str) -> Iterator[Workers]:
    import dask
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise UserError(f"scheduler must be the address of a Dask scheduler, got {scheduler!r}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except asyncio.TimeoutError:  # not the builtin one before Python 3.11
            raise UserError(f"The scheduler {scheduler} has no workers: start some with `dask worker`.") from None
        # Dask limits its workers to one thread by these variables; a run uses all cores.
        limits = tuple(dask.config.get("distributed.nanny.pre-spawn-environ", {}))
        executor = client.get_executor(pure=False)  # pure=False: a shared scheduler must not return old results
        count = sum(client.nthreads().values())
        yield Workers(executor, count, lambda owner: client.run(stop_children, owner), limits)
