"""The bounded queue between two stages of the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """Hands items from one thread to the next, in order, and can be ended from either side.

    Unlike ``queue.Queue``, a closed channel wakes everyone who waits: no stage can hang on a full or an empty queue
    because its neighbour failed.

    Args:
        capacity: Most items that wait at once.
        newest_only: When full, throw the oldest item away instead of making the writer wait.
    """

    def __init__(self, capacity: int, newest_only: bool = False) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._newest_only = newest_only
        self._closed = False
        self._changed = threading.Condition()
        self.dropped_count = 0

    def put(self, item: Item) -> bool:
        """Waits for room and appends the item; False, at once, if the channel is closed."""
        with self._changed:
            if self._newest_only:
                while len(self._items) >= self._capacity:
                    self._items.popleft()
                    self.dropped_count += 1
            else:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_seconds: float | None = None) -> Item | None:
        """The oldest item, waiting for one; None when closed and empty, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout_seconds)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty: nothing will ever come again."""
        with self._changed:
            return self._closed and not self._items

    def close(self) -> None:
        """Takes no more items; those that wait can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Closes, and throws away what waits."""
        with self._changed:
            self._items.clear()
            self._closed = True
            self._changed.notify_all()
