"""Replicas of one explainer for several threads, and calls in several threads whose results stay in order."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from live_cam.engines.protocol import usable_cores

Replica = TypeVar("Replica")
Value = TypeVar("Value")

# Beside the calls that run, so that no thread waits for its next one.
_WAITING_COUNT = 1


class ReplicaPool(Generic[Replica]):
    """Lends each of several replicas to one thread at a time.

    Args:
        replicas: What ``Explainer.replicas`` returned; not used by anyone else meanwhile.

    Attributes:
        count: Number of replicas.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.count = len(replicas)
        self._free: queue.SimpleQueue[Replica] = queue.SimpleQueue()
        for replica in replicas:
            self._free.put(replica)

    @property
    def reader_count(self) -> int:
        """Threads that read an image and borrow a replica for it: one per core, and one that waits for a disk."""
        return max(self.count, usable_cores()) + 1

    @contextmanager
    def lent(self) -> Iterator[Replica]:
        """Waits for a free replica and lends it until the end of the ``with`` block."""
        replica = self._free.get()
        try:
            yield replica
        finally:
            self._free.put(replica)


def results_in_order(calls: Iterable[Callable[[], Value]], thread_count: int) -> Generator[Value]:
    """Makes calls in several threads and yields their results in the order of the calls.

    Calls are taken only as fast as results are, so that few of them are in memory. An error of a call, or of the
    iterable, is raised after the results before it. At the end, and when the generator is closed, calls that run are
    waited for.

    Args:
        calls: Iterated in the thread that takes the results.
        thread_count: Number of calls that run at the same time.
    """
    pool = ThreadPoolExecutor(thread_count, thread_name_prefix="livecam-replica")
    pending: deque[Future[Value]] = deque()
    iterator = iter(calls)
    failure: Exception | None = None
    try:
        while True:
            try:
                call = next(iterator)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, after the results before it
                failure = error
                break
            pending.append(pool.submit(call))
            if len(pending) == thread_count + _WAITING_COUNT:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)
