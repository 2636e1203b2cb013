"""Run one function over many things in processes of their own, so that one that dies takes nothing with it.

The processes are those of this machine, or the workers of a Dask cluster.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

from scripts.errors import InputError
from scripts.log import quiet_log

__all__ = ["LOST", "keep_to_one_thread", "run_in_processes", "run_on_cluster"]

LOST = "its process ended without an answer, perhaps for want of memory: use a smaller --num_workers"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_PATIENCE_S = 10.0  # for a process to end after it was asked to


def run_in_processes(
    work: Callable[[Any], Any], items: Sequence[Any], *, num_workers: int
) -> Generator[tuple[int, Any]]:
    """Call `work` with each item, several at a time, each in a process with one thread.

    An item whose process dies (the system ends it for want of memory, a library crashes, `work` raises an error) is
    tried once more after the others, alone. Log records of the processes are handled in this one, and they show no
    progress bars. They end with this process: at once where it is stopped, after their present item where it is killed.

    Args:
        work: the function; it is pickled.
        items: what it is called with; pickled too.
        num_workers: processes at a time.

    Yields:
        Index of an item and what `work` returned, as they are finished; None for one whose process died twice.

    Raises:
        RuntimeError: if a process ends before it has begun.
    """
    payload = pickle.dumps(work)
    lost: list[int] = []
    for index, answers in _answers(payload, items, range(len(items)), num_workers):
        if answers:
            yield index, answers[0]
        else:
            lost.append(index)
    for index in lost:
        for _, answers in _answers(payload, items, [index], 1):
            yield index, answers[0] if answers else None


def _answers(
    payload: bytes, items: Sequence[Any], indices: Iterable[int], num_workers: int
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the index of each item and its answer: a tuple of one, or of none where its process died."""
    waiting = deque(indices)
    with _workers() as workers:
        while waiting or workers:
            while waiting and len(workers) < num_workers:
                worker = _Worker(payload)
                workers[worker.connection] = worker
                worker.give(items, waiting.popleft())
            for connection in wait(list(workers)):
                worker = workers[connection]  # type: ignore[index]
                answer = worker.receive()
                if answer is None:
                    continue
                yield worker.index, answer
                if answer and waiting:
                    worker.give(items, waiting.popleft())
                else:
                    workers.pop(worker.connection).end()


@contextmanager
def _workers() -> Iterator[dict[Connection, _Worker]]:
    """Give a table of workers, and stop those that are left in it at the end."""
    workers: dict[Connection, _Worker] = {}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.interrupt()
        for worker in workers.values():
            worker.end()


class _Worker:
    """A process that does one item after the other."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the locks of torch's and ITK's threads
        self.connection, theirs = context.Pipe()
        level = logging.getLogger().getEffectiveLevel()
        self.process = context.Process(target=_serve, args=(theirs, payload, level), daemon=True)
        with _one_thread_for_children():
            self.process.start()
        theirs.close()
        self.index = -1
        self._began = False

    def give(self, items: Sequence[Any], index: int) -> None:
        """Hand over an item; one for a process that has died is noticed when its answer is due."""
        self.index = index
        try:
            self.connection.send(items[index])
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> tuple[Any, ...] | None:
        """Return an answer as a tuple of one, an empty tuple if the process has died, or None for other messages."""
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            if self._began:
                return ()
            raise RuntimeError("a process of num_workers ended before it began; what it said stands above") from None
        self._began = True
        if kind == "log":
            logging.getLogger(value.name).handle(value)
        return (value,) if kind == "answer" else None

    def interrupt(self) -> None:
        """Ask the process to leave its item, as Ctrl-C does."""
        if self.process.pid is not None and self.process.is_alive():
            if os.name == "posix":
                os.kill(self.process.pid, signal.SIGINT)
            else:
                self.process.terminate()

    def end(self) -> None:
        """Wait until the process has ended, or end it."""
        self.connection.close()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """Have libraries of processes that start in this block take one thread, unless the environment says a number."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def keep_to_one_thread() -> None:
    """Keep this process to one core, so that processes do not wait for each other."""
    import SimpleITK as sitk  # noqa: N813
    import torch

    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


class _Messages:
    """The end of a connection that a process answers through, and its log too."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, value: object) -> None:
        with self._lock:
            self.connection.send((kind, value))

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Send a record, as the queue of a `QueueHandler`."""
        self.send("log", record)


class _NoTerminal(io.TextIOWrapper):
    """A stream that says it is no terminal, so that several processes draw no progress bars over each other."""

    def isatty(self) -> bool:
        return False


def _serve(connection: Connection, payload: bytes, level: int) -> None:
    """Do items until the other end of the connection is closed."""
    if os.name == "posix":
        os.setpgid(0, 0)  # a terminal's Ctrl-C reaches the first process alone, which passes it on
    messages = _Messages(connection)
    sys.stderr = _NoTerminal(sys.stderr.buffer, encoding=sys.stderr.encoding, line_buffering=True)
    handler = logging.handlers.QueueHandler(messages)  # type: ignore[arg-type]
    logging.basicConfig(handlers=[handler], level=level, format="%(message)s", force=True)
    quiet_log()
    try:
        keep_to_one_thread()
        work = pickle.loads(payload)
        messages.send("ready", None)
        while True:
            messages.send("answer", work(connection.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


_RETRIES = 2  # of an item that raised an error; one whose worker died goes to others by the cluster's own rules
_LOCK = threading.Lock()  # a worker with several threads: engines do one scan at a time


def run_on_cluster(work: Callable[[Any], Any], items: Sequence[Any], *, address: str) -> Generator[tuple[int, Any]]:
    """Call `work` with each item on the workers of a cluster.

    They need this package, and the same folders under the same names; best started with one thread each. An item whose
    worker dies is done by another one; `work` must therefore bear to be called twice.

    Args:
        work: the function; it is pickled, and sent to each worker once.
        items: what it is called with; pickled too.
        address: of the Dask scheduler, such as tcp://host:8786.

    Yields:
        Index of an item and what `work` returned, as they are finished; None for one that took several workers down.

    Raises:
        InputError: if Dask is not installed, or nothing answers at the address.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout="30s", set_as_default=False)
    except (OSError, ValueError) as error:
        what = f"`cluster` must be the address of a Dask scheduler that answers, got {address!r} ({error})"
        raise InputError(what, fix="Start `dask scheduler`, and workers with `dask worker ADDRESS`.") from error
    run = uuid.uuid4().hex[:8]
    with client:
        # the bytes are a task, not scattered data: when all workers that hold them are gone, others get them again
        payload = client.submit(bytes, pickle.dumps(work), key=f"steps-{run}")
        futures = {
            client.submit(_call, payload, item, os.getcwd(), key=f"item-{run}-{index}", retries=_RETRIES): index
            for index, item in enumerate(items)
        }
        for future in distributed.as_completed(futures, loop=client.loop):  # not that of another client
            try:
                answer = future.result()
            except distributed.KilledWorker:
                answer = None
            yield futures[future], answer
            future.release()


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        what = "`cluster` needs the package distributed, which is not installed"
        raise InputError(what, fix="Install it with pip install distributed.") from None
    module: ModuleType = distributed
    return module


@lru_cache(maxsize=1)
def _loaded(payload: bytes) -> Callable[[Any], Any]:
    quiet_log()
    keep_to_one_thread()
    work: Callable[[Any], Any] = pickle.loads(payload)
    return work


def _call(payload: bytes, item: Any, folder: str) -> Any:
    """Do an item on a worker, in the folder that the paths of the command line start from."""
    with _LOCK, chdir(folder):
        return _loaded(payload)(item)
