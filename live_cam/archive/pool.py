"""The processes that do an archive's tasks: what the archive needs of them, and a pool on this machine."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from live_cam.archive.tasks import Failure, Task, Worker, attempt
from live_cam.closing import Closing

if TYPE_CHECKING:
    from live_cam.settings import ArchiveSettings

# A worker ends itself when it stalls; one that was stopped by a signal, or hangs in the kernel, cannot.
_SILENT_FACTOR = 2.0
# Until it has loaded its libraries and the model, it says nothing.
_LOADING_FACTOR = 10.0
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Event:
    """News of a task.

    Attributes:
        task: The task.
        done_seconds: Seconds of the video that are done, while it runs; None at its end.
        result: Its result, or a ``Failure``.
    """

    task: Task[Any]
    done_seconds: float | None = None
    result: Any = None


class Pool(Closing, Protocol):
    """Runs tasks in other processes. ``close`` ends them at once; what they had not finished is lost."""

    @property
    def room(self) -> int:
        """How many tasks it takes now."""
        ...

    def submit(self, task: Task[Any]) -> None:
        """Starts a task."""
        ...

    def events(self, timeout_seconds: float) -> list[Event]:
        """Waits for news of the tasks; empty if there is none in that time. A task whose process died has failed."""
        ...


class ProcessPool(Pool):
    """Workers on this machine, started when they are needed.

    Args:
        settings: Of the archive.
        count: How many workers there are at most.
    """

    def __init__(self, settings: ArchiveSettings, count: int) -> None:
        self._settings = settings
        self._count = count
        self._workers: list[_WorkerProcess] = []

    @property
    def room(self) -> int:
        """See ``Pool``."""
        return self._count - sum(worker.task is not None for worker in self._workers)

    def submit(self, task: Task[Any]) -> None:
        """See ``Pool``."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is not None and not worker.process.is_alive():
            self._remove(worker)  # It was killed while it had no task, which is no failure of this one.
            worker = None
        if worker is None:
            worker = _WorkerProcess(self._settings)
            self._workers.append(worker)
        worker.begin(task)

    def events(self, timeout_seconds: float) -> list[Event]:
        """See ``Pool``."""
        busy = {worker.connection: (worker, worker.task) for worker in self._workers if worker.task is not None}
        ready = wait(list(busy), timeout_seconds)
        events = [self._event(*busy[connection]) for connection in ready]  # type: ignore[index]
        for worker in self._workers:
            if worker.silent_seconds > worker.patience_factor * self._settings.stall_seconds:
                worker.process.kill()  # What follows from it comes with the next events.
        return events

    def _event(self, worker: _WorkerProcess, task: Task[Any]) -> Event:
        try:
            done_seconds, result = worker.connection.recv()
        except (EOFError, OSError):
            self._remove(worker)
            return Event(task, result=Failure(worker.reason_of_death(self._settings.stall_seconds)))
        worker.heard_seconds, worker.has_begun = time.monotonic(), True
        if done_seconds is not None:
            return Event(task, done_seconds)
        worker.task = None
        return Event(task, result=result)

    def _remove(self, worker: _WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.end()

    def close(self) -> None:
        """Kills the workers."""
        while self._workers:
            self._workers.pop().end()


class _WorkerProcess:
    """A process and the task that it does."""

    def __init__(self, settings: ArchiveSettings) -> None:
        # Not forked: the libraries' threads would be missing in the copy.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, settings), daemon=True)
        self.process.start()
        # So that the connection breaks when the process ends.
        theirs.close()
        self.task: Task[Any] | None = None
        self.has_begun = False
        self.heard_seconds = time.monotonic()

    def begin(self, task: Task[Any]) -> None:
        self.task, self.has_begun = task, False
        self.heard_seconds = time.monotonic()
        with contextlib.suppress(OSError):  # It died; the next ``recv`` says so.
            self.connection.send(task)

    def end(self) -> None:
        self.process.kill()
        self.process.join(_JOIN_SECONDS)
        self.connection.close()

    @property
    def is_watched(self) -> bool:
        return self.task is not None and self.task.is_watched

    @property
    def patience_factor(self) -> float:
        """How many times ``stall_seconds`` it may be silent."""
        if not self.is_watched:
            return math.inf
        return _SILENT_FACTOR if self.has_begun else _LOADING_FACTOR

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self.heard_seconds

    def reason_of_death(self, stall_seconds: float) -> str:
        if self.silent_seconds > self.patience_factor * stall_seconds:
            return f"its worker hung for {self.silent_seconds:.0f} s"
        # It reports several times in that time.
        if self.is_watched and self.has_begun and self.silent_seconds > stall_seconds / 2:
            return f"no frame could be read for {stall_seconds:g} s"
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its worker was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"its worker ended with code {code}"


def _work(connection: Connection, settings: ArchiveSettings) -> None:
    """Does tasks in a process of its own until the connection breaks, as it does if the archive is killed."""
    # Ctrl-C reaches all processes of a terminal; the archive ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    worker = Worker(settings)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            connection.send((None, attempt(worker, task, lambda seconds: connection.send((seconds, None)))))
