"""Run one function over many things on the workers of a Dask cluster."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import chdir
from functools import lru_cache
from types import ModuleType
from typing import Any

from scripts.errors import InputError
from scripts.log import quiet_log
from scripts.workflows.processes import keep_to_one_thread

__all__ = ["run_on_cluster"]

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
