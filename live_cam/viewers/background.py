"""Work that a viewer does not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Value = TypeVar("Value")


def started(work: Callable[[], Value], thread_name: str = "livecam-viewer") -> Future[Value]:
    """Does the work in a thread that does not keep the program from ending."""
    future: Future[Value] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, name=thread_name, daemon=True).start()
    return future
