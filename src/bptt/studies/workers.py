"""Who does the units of a study: this process, processes of this machine, a Dask cluster."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from bptt.errors import BpttError
from bptt.studies.store import Row
from bptt.studies.work import Unit, run_unit

# How long is waited for a unit before it is seen whether Ctrl-C has been pressed.
PATIENCE = 0.2
# In a worker process: set when units are to end early.
_stopped: Any = None


class ThisProcess:
    """Units one after another, here; an interrupt is seen between two calls of the engine."""

    count = 1

    def __init__(self, received: list[int]) -> None:
        self._received = received
        self._waiting: list[Unit] = []

    def __enter__(self) -> "ThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()

    def submit(self, unit: Unit) -> int:
        """See `bptt.studies.execution.Workers`."""
        self._waiting.append(unit)
        return id(unit)

    def finished(self) -> Iterator[tuple[int, list[Row]]]:
        """See `bptt.studies.execution.Workers`."""
        unit = self._waiting.pop(0)
        yield id(unit), run_unit(unit, lambda: bool(self._received))

    def stop(self) -> None:
        """See `bptt.studies.execution.Workers`: the list of signals is looked at by the units."""


def _begin(stopped: Any) -> None:
    """In a new worker process: end when the process that started it has ended, however."""
    global _stopped
    _stopped = stopped
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(unit: Unit) -> list[Row]:
    """In a worker process: a unit, unless work has been stopped."""
    return run_unit(unit, _stopped.is_set)


class LocalWorkers:
    """Processes of this machine, started afresh (spawn), one thread of arithmetic in each."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> "LocalWorkers":
        context = get_context("spawn")
        self._stopped = context.Event()
        self._before = os.environ.get("NUMBA_NUM_THREADS")
        os.environ["NUMBA_NUM_THREADS"] = "1"  # read by the processes when they start
        self._pool = ProcessPoolExecutor(
            self.count, context, initializer=_begin, initargs=(self._stopped,)
        )
        self._futures: set[Future[list[Row]]] = set()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        if self._before is None:
            del os.environ["NUMBA_NUM_THREADS"]
        else:
            os.environ["NUMBA_NUM_THREADS"] = self._before

    def submit(self, unit: Unit) -> Future[list[Row]]:
        """See `bptt.studies.execution.Workers`."""
        # May start a process, which inherits what is blocked: Ctrl-C is for this process alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            future = self._pool.submit(_do, unit)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._futures.add(future)
        return future

    def finished(self) -> Iterator[tuple[Future[list[Row]], list[Row]]]:
        """See `bptt.studies.execution.Workers`."""
        done, _ = wait(self._futures, PATIENCE, FIRST_COMPLETED)
        for future in done:
            self._futures.remove(future)
            try:
                yield future, future.result()
            except BrokenProcessPool:
                raise BpttError(
                    "a worker process was ended from outside, perhaps for lack of memory: "
                    "go on with --resume, with fewer --workers"
                ) from None

    def stop(self) -> None:
        """See `bptt.studies.execution.Workers`."""
        self._stopped.set()


class ClusterWorkers:
    """The workers of a `distributed.Client`. A unit whose worker is lost is done by another; only
    this process writes results."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._futures: set[Any] = set()
        self._given_up = False

    @property
    def count(self) -> int:
        """How many units the cluster does at a time."""
        threads: int = sum(self._client.nthreads().values())
        return max(1, threads)

    def __enter__(self) -> "ClusterWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.cancel(list(self._futures))

    def submit(self, unit: Unit) -> Any:
        """See `bptt.studies.execution.Workers`."""
        # Three more trials if a unit raises; as many lost workers are allowed by the scheduler.
        future = self._client.submit(run_unit, unit, pure=False, retries=3)
        self._futures.add(future)
        return future

    def finished(self) -> Iterator[tuple[Any, list[Row]]]:
        """See `bptt.studies.execution.Workers`."""
        if self._given_up:
            gone, self._futures = self._futures, set()
            yield from ((future, []) for future in gone)
        until = time.monotonic() + PATIENCE
        while not any(future.done() for future in self._futures) and time.monotonic() < until:
            time.sleep(0.01)
        for future in [each for each in self._futures if each.done()]:
            self._futures.discard(future)
            if future.status == "cancelled":
                raise BpttError("the Dask scheduler is gone: start it again, go on with --resume")
            try:
                yield future, future.result()
            except Exception as error:
                if type(error).__name__ != "KilledWorker":
                    raise
                raise BpttError(
                    "several Dask workers were lost in the same unit of work, perhaps for lack of "
                    "memory: go on with --resume, with workers that have more"
                ) from None

    def stop(self) -> None:
        """See `bptt.studies.execution.Workers`: the units of a cluster are given up."""
        self._given_up = True
        self._client.cancel(list(self._futures))
