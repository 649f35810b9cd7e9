"""A source that does not free what it holds while another thread reads from it."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING

from live_cam.sources.protocol import Source

if TYPE_CHECKING:
    from live_cam.frame import Frame


class ClosableSource(Source):
    """Base of the sources that hold a decoder, a driver or a generator.

    Freeing one of these while another thread uses it crashes the process or raises. ``close`` frees it at once only if
    no ``read`` is running; otherwise that ``read`` frees it when it returns.
    """

    def __init__(self) -> None:
        self._in_use = threading.Lock()
        self._is_closed = False

    def read(self) -> Frame | None:
        """Returns the next frame, waiting for it; None at the end and after ``close``.

        Raises:
            SourceError: The source broke; all frames before the break have been returned.
        """
        try:
            with self._in_use:
                return None if self._is_closed else self._next()
        finally:
            if self._is_closed:
                self._free_if_unused()

    def close(self) -> None:
        """Ends the source. A ``read`` that waits in another thread frees it when it returns."""
        self._is_closed = True
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self._in_use.acquire(blocking=False):
            try:
                self._free()
            finally:
                self._in_use.release()

    @abstractmethod
    def _next(self) -> Frame | None:
        """Returns the next frame; None at the end."""

    @abstractmethod
    def _free(self) -> None:
        """Frees what is held; may be called twice."""
