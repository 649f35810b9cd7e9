"""Bounded queues between threads that can be closed from either side."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ClosableQueue(Generic[Item]):
    """Passes items between threads in order; subclasses decide what happens to a full queue.

    Unlike ``queue.Queue``, a closed queue wakes everyone who waits: no thread can hang on a full or an empty queue
    because its neighbor failed.

    Args:
        capacity: Most items that wait at once.

    Attributes:
        dropped_count: Number of items that were dropped because they waited for too long.
    """

    def __init__(self, capacity: int) -> None:
        self.dropped_count = 0
        self._items: deque[tuple[float, Item]] = deque()
        self._capacity = capacity
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Appends an item; returns False if the queue is closed."""
        with self._changed:
            self._make_room(item)
            if self._is_closed:
                return False
            self._items.append((time.monotonic(), item))
            self._changed.notify_all()
            return True

    @abstractmethod
    def _make_room(self, item: Item) -> None:
        """Makes room for an item, while the queue is locked."""

    def get(self, timeout_seconds: float | None = None) -> Item | None:
        """Returns the oldest item, waiting for one; None if the queue is closed and empty, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._items, timeout_seconds)
            if not self._items:
                return None
            _, item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def has_ended(self) -> bool:
        """Whether the queue is closed and empty."""
        with self._changed:
            return self._is_closed and not self._items

    def close(self) -> None:
        """Accepts no more items; those that wait can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Closes the queue and drops what waits."""
        with self._changed:
            self._items.clear()
            self._is_closed = True
            self._changed.notify_all()


class LosslessQueue(ClosableQueue[Item]):
    """Loses no item: a full queue makes the writer wait."""

    def _make_room(self, item: Item) -> None:
        self._changed.wait_for(lambda: self._is_closed or len(self._items) < self._capacity)


class LatestQueue(ClosableQueue[Item]):
    """Keeps the newest item only; the writer never waits."""

    def __init__(self) -> None:
        super().__init__(capacity=1)

    def _make_room(self, item: Item) -> None:
        self._items.clear()


class TimedQueue(ClosableQueue[Item]):
    """Keeps the items of the last seconds; the writer never waits, and the oldest items make room for new ones.

    Args:
        max_wait_seconds: How long an item may wait.
        capacity: Largest sum of the sizes of the items that wait; one item may always wait.
        size_of: Returns the size of an item. Default: 1 each.
    """

    def __init__(self, max_wait_seconds: float, capacity: int, size_of: Callable[[Item], int] = lambda item: 1) -> None:
        super().__init__(capacity)
        self._max_wait_seconds, self._size_of = max_wait_seconds, size_of

    def _make_room(self, item: Item) -> None:
        oldest_allowed = time.monotonic() - self._max_wait_seconds
        room = self._capacity - self._size_of(item)
        while self._items and (
            self._items[0][0] < oldest_allowed or sum(self._size_of(waiting) for _, waiting in self._items) > room
        ):
            self._items.popleft()
            self.dropped_count += 1
