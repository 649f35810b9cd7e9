"""Turns Ctrl-C and SIGTERM into a request to end the job."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import TextIO

# Terminals, ``timeout`` and service managers send a signal twice; within this time the second is the same request.
_SAME_REQUEST_SECONDS = 1.0
_INTERRUPTED_CODE = 130


class Interrupts:
    """The first signal asks the job to end, which it does in order; a later one stops the process at once.

    Args:
        stderr: Where the user is told about the second signal.

    Attributes:
        stop: Set by the first signal.
    """

    def __init__(self, stderr: TextIO) -> None:
        self.stop = threading.Event()
        self._stderr = stderr
        self._first_seconds: float | None = None

    def install(self) -> None:
        """Handles both signals from now on. An ignored SIGINT, as of a background job, stays ignored."""
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_seconds = time.monotonic()
        if self._first_seconds is None:
            self._first_seconds = now_seconds
            self.stop.set()
        elif now_seconds - self._first_seconds >= _SAME_REQUEST_SECONDS:
            # Written past Python's buffers: the signal may have come in the middle of another line.
            with contextlib.suppress(OSError, ValueError):
                os.write(self._stderr.fileno(), b"livecam: stopped at once; unfinished files are named .partial\n")
            os._exit(_INTERRUPTED_CODE)
