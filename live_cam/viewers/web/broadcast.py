"""Encodes each result of a feed once, for all who watch it, and only while someone does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from live_cam.pipeline.feed import Subscription

if TYPE_CHECKING:
    from live_cam.frame import Result
    from live_cam.pipeline.feed import Feed


class Broadcast:
    """The newest encoded result of a feed. Watched from an event loop, filled by the feed's thread.

    Args:
        feed: Encoded while it is watched.
        encode: Gets a result and its number, from 1.

    Attributes:
        newest: Number and content of the newest message; 0 and empty before the first.
        has_ended: Whether no more will come.
        watcher_count: How many watch.
    """

    def __init__(self, feed: Feed, encode: Callable[[Result, int], bytes]) -> None:
        self.newest, self.has_ended = (0, b""), False
        self.watcher_count = 0
        self._feed, self._encode = feed, encode
        self._notify: tuple[Callable[[], None], ...] = ()
        self._lock = threading.Lock()

    @contextmanager
    def watched(self, on_change: Callable[[], None]) -> Generator[None]:
        """Encodes while the block runs. Call it in an event loop.

        Args:
            on_change: Called in that loop when there is a new message, and at the end.
        """
        loop = asyncio.get_running_loop()

        def notify() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(on_change)

        with self._lock:
            self._notify = (*self._notify, notify)
            self.watcher_count += 1
            if self.watcher_count == 1:
                if self._feed.last_result is not None:
                    self.put(self._feed.last_result)  # the next one may be long in coming
                self._subscription = Subscription(self)
                self._feed.subscribe(self._subscription)
            self.has_ended = self.has_ended or not self._feed.is_running
        try:
            yield
        finally:
            with self._lock:
                self._notify = tuple(other for other in self._notify if other is not notify)
                self.watcher_count -= 1
                if self.watcher_count == 0:
                    self._feed.unsubscribe(self._subscription)

    def put(self, result: Result) -> bool:
        """Encodes a result. For the feed's thread."""
        number = self.newest[0] + 1
        self.newest = (number, self._encode(result, number))
        for notify in self._notify:
            notify()
        return True

    def close(self) -> None:
        """Wakes all who watch: nothing more comes. Called by the feed at its end."""
        self.has_ended = True
        for notify in self._notify:
            notify()

    def cancel(self) -> None:
        """Does what ``close`` does, unless nobody watches: they may come again."""
        if self.watcher_count:
            self.close()
