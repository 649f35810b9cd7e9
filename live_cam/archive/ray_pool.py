"""Workers in a Ray cluster: the same tasks as in processes of this machine. The one module that imports Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import ray
from ray.exceptions import RayError

from live_cam.archive.pool import Event, Pool
from live_cam.archive.tasks import Failure, Task, Worker, attempt
from live_cam.errors import SettingError

if TYPE_CHECKING:
    from live_cam.settings import ArchiveSettings

_LOCAL = "local"
_CAPACITY_SECONDS = 5.0
_CONNECT_SECONDS = 5.0


class RayPool(Pool):
    """One task per core of a cluster. Tasks carry paths, so that all machines must see the same files.

    Args:
        settings: Of the archive; ``ray`` is the address.

    Raises:
        SettingError: There is no cluster at that address.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        # Ray's workers start in another folder.
        self._settings = replace(settings, output=settings.output.absolute())
        self._folder = Path.cwd()
        self._running: dict[ray.ObjectRef, Task[Any]] = {}
        self._capacity, self._asked_seconds = 0, 0.0
        local: dict[str, Any] = (
            {"num_cpus": settings.workers, "include_dashboard": False} if settings.ray == _LOCAL else {}
        )
        try:
            _check_reachable(str(settings.ray))
            with _keeping_sigterm():
                ray.init(address=settings.ray, logging_level=logging.ERROR, log_to_driver=False, **local)
        except (RayError, OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise SettingError(
                f"no Ray cluster at {settings.ray}: {reason}; start one with ray start --head, or use --ray local"
            ) from None

    @property
    def room(self) -> int:
        """See ``Pool``; nodes may come and go."""
        now_seconds = time.monotonic()
        if not self._capacity or now_seconds - self._asked_seconds > _CAPACITY_SECONDS:
            cores = int(ray.cluster_resources().get("CPU", 0))
            self._capacity = max(1, min(cores, self._settings.workers or cores))
            self._asked_seconds = now_seconds
        return self._capacity - len(self._running)

    def submit(self, task: Task[Any]) -> None:
        """See ``Pool``."""
        self._running[_attempt.remote(self._settings, self._folder, task)] = task

    def events(self, timeout_seconds: float) -> list[Event]:
        """See ``Pool``; there is no news before a task's end."""
        if not self._running:
            return []
        references = list(self._running)
        ready, _ = ray.wait(references, num_returns=1, timeout=timeout_seconds)
        if ready:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return [self._event(reference) for reference in ready]

    def _event(self, reference: ray.ObjectRef) -> Event:
        task = self._running.pop(reference)
        try:
            return Event(task, result=ray.get(reference))
        except RayError as error:
            return Event(task, result=Failure(f"its worker was lost ({type(error).__name__})"))

    def close(self) -> None:
        """Leaves the cluster, which ends what still runs."""
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Checks that something listens at HOST:PORT, for which Ray itself would wait for minutes.

    Raises:
        OSError: Nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Puts back what handled SIGTERM before; Ray's own handler ends the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


# The archive itself tries again, and counts.
@ray.remote(num_cpus=1, max_retries=0)
def _attempt(settings: ArchiveSettings, folder: Path, task: Task[Any]) -> Any:
    with contextlib.suppress(OSError):  # Relative names of models and labels; a node may do without this folder.
        os.chdir(folder)
    return attempt(_worker_for(settings), task, lambda done_seconds: None)


_worker: Worker | None = None


def _worker_for(settings: ArchiveSettings) -> Worker:
    """Returns this process's worker, which keeps its explainer from task to task."""
    global _worker  # noqa: PLW0603 - a Ray process has no other memory between tasks
    if _worker is None or _worker.settings != settings:
        cv2.setNumThreads(1)
        _worker = Worker(settings)
    return _worker
