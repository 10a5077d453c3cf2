"""Who does the units of a study: this process, processes of this machine, a Dask cluster."""

import contextlib
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import IO, Any

from bptt.errors import BpttError
from bptt.processes import helper
from bptt.studies.store import Row
from bptt.studies.work import Unit, run_unit

# How long is waited for a unit before it is seen whether Ctrl-C has been pressed.
PATIENCE = 0.2


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


class LocalWorkers:
    """Processes of this machine, one thread of arithmetic in each.

    They are started by their code alone (`bptt.processes.helper`), not by `multiprocessing`, which
    would run the user's script again in each: a script needs no guard for `__main__`, and a study
    may run within a process pool.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._stopped = threading.Event()
        self._mine = threading.local()  # a thread's process
        self._processes: list[subprocess.Popen[bytes]] = []
        self._writing = threading.Lock()
        self._futures: set[Future[list[Row]]] = set()

    def __enter__(self) -> "LocalWorkers":
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="bptt-study")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._threads.shutdown()
        for process in self._processes:
            process.communicate()

    def submit(self, unit: Unit) -> Future[list[Row]]:
        """See `bptt.studies.execution.Workers`."""
        future = self._threads.submit(self._ask, unit)
        self._futures.add(future)
        return future

    def _ask(self, unit: Unit) -> list[Row]:
        """In a thread of its own: have a unit done by the thread's process."""
        if self._stopped.is_set():
            return []
        content = pickle.dumps(unit)
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with self._writing:
                _send(process.stdin, content)
            found = pickle.loads(_received(process.stdout))  # written by our own process
        except (OSError, EOFError):
            code = process.wait()
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise BpttError(
                f"a worker process was ended from outside ({how}), perhaps for lack of memory: "
                "go on with --resume, with fewer --workers"
            ) from None
        if isinstance(found, BaseException):
            raise found
        rows: list[Row] = found
        return rows

    def _process(self) -> subprocess.Popen[bytes]:
        """This thread's process, started when first needed."""
        if not hasattr(self._mine, "process"):
            try:
                found = helper(WORKER, BPTT_THREADS="1", NUMBA_NUM_THREADS="1")
            except OSError as error:
                raise BpttError(
                    f"no worker process can be started ({error}): give workers = 1"
                ) from None
            self._mine.process = found
            self._processes.append(found)
        process: subprocess.Popen[bytes] = self._mine.process
        return process

    def finished(self) -> Iterator[tuple[Future[list[Row]], list[Row]]]:
        """See `bptt.studies.execution.Workers`."""
        done, _ = wait(self._futures, PATIENCE, FIRST_COMPLETED)
        for future in done:
            self._futures.remove(future)
            yield future, future.result()

    def stop(self) -> None:
        """See `bptt.studies.execution.Workers`."""
        self._stopped.set()
        for process in self._processes:
            assert process.stdin is not None
            with self._writing, contextlib.suppress(OSError):  # it has ended
                _send(process.stdin, pickle.dumps(None))


def _send(file: IO[bytes], content: bytes) -> None:
    """Write what `_received` reads: its size, and it."""
    file.write(struct.pack("<Q", len(content)))
    file.write(content)
    file.flush()


def _received(file: IO[bytes]) -> bytes:
    """What `_send` wrote. Raises EOFError where there is nothing, or not all of it."""
    head = file.read(8)
    content = file.read(*struct.unpack("<Q", head)) if len(head) == 8 else b""
    if not content or len(content) < struct.unpack("<Q", head)[0]:
        raise EOFError
    return content


# What a worker process runs.
WORKER = """
from bptt.studies.workers import serve
serve()
"""


def serve() -> None:
    """In a worker process: do the units that are written to it, until their end or None says that
    work is to stop; end at once when the asking process has ended, however."""
    answers, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    os.dup2(2, 1)  # whatever prints here must not get between the answers
    units: SimpleQueue[Unit | BaseException] = SimpleQueue()
    stopped = threading.Event()

    def read() -> None:
        while True:
            try:
                content = _received(sys.stdin.buffer)
            except (EOFError, OSError):
                os._exit(0)
            try:
                unit = pickle.loads(content)  # written by our own process
            except BaseException as error:  # a class of the user's script, which is not run here
                units.put(
                    BpttError(
                        f"a worker process cannot take its work ({error}): what is your own must "
                        "stand in a file that is imported, not in the script; or take workers=1"
                    )
                )
                continue
            if unit is None:
                stopped.set()
            else:
                units.put(unit)

    threading.Thread(target=read, daemon=True).start()
    while True:
        unit = units.get()
        try:
            found = unit if isinstance(unit, BaseException) else run_unit(unit, stopped.is_set)
            content = pickle.dumps(found)
        except BaseException as error:
            content = _pickled(error)
        _send(answers, content)


def _pickled(error: BaseException) -> bytes:
    """An exception that another process can read; its words if it cannot be pickled itself."""
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        return content
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


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
