"""Queues between threads: order, bounds, and that nobody waits forever."""

from __future__ import annotations

import threading
import time

import pytest

from live_cam.pipeline.queues import LatestQueue, LosslessQueue, TimedQueue

# Far more than a thread needs to start waiting or to wake up, far less than a hang.
SHORT_SECONDS = 0.1
LONG_SECONDS = 10.0


def started(function, *arguments) -> tuple[threading.Thread, list]:
    """Calls in another thread; the list gets the result."""
    results: list = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()
    return thread, results


def is_waiting(thread: threading.Thread) -> bool:
    thread.join(SHORT_SECONDS)
    return thread.is_alive()


def test_items_come_out_in_the_order_they_went_in():
    queue: LosslessQueue[int] = LosslessQueue(3)
    assert [queue.put(1), queue.put(2), queue.put(3)] == [True, True, True]
    assert [queue.get(), queue.get(), queue.get()] == [1, 2, 3]


def test_a_full_queue_makes_the_writer_wait_until_there_is_room():
    queue: LosslessQueue[int] = LosslessQueue(1)
    queue.put(1)
    writer, results = started(queue.put, 2)
    assert is_waiting(writer)
    assert queue.get() == 1
    writer.join(LONG_SECONDS)
    assert results == [True]
    assert queue.get() == 2


def test_the_latest_queue_keeps_the_newest_item_only():
    queue: LatestQueue[int] = LatestQueue()
    assert all(queue.put(item) for item in (1, 2, 3))
    assert queue.get() == 3
    assert queue.get(timeout_seconds=0) is None  # 3 is not handed out again


def test_the_timed_queue_drops_what_waited_for_too_long_and_counts_it():
    queue: TimedQueue[int] = TimedQueue(max_wait_seconds=0.05, capacity=100)
    queue.put(1)
    queue.put(2)
    time.sleep(0.1)  # longer than an item may wait
    queue.put(3)
    assert queue.dropped_count == 2
    assert queue.get() == 3


def test_the_timed_queue_holds_no_more_than_its_capacity():
    queue: TimedQueue[int] = TimedQueue(max_wait_seconds=60, capacity=2)
    for item in (1, 2, 3):
        assert queue.put(item)
    assert queue.dropped_count == 1
    assert [queue.get(), queue.get()] == [2, 3]


def test_the_timed_queue_makes_room_by_the_size_of_its_items_and_always_takes_one():
    queue: TimedQueue[int] = TimedQueue(max_wait_seconds=60, capacity=10, size_of=lambda item: item)
    for item in (3, 4, 2, 5):
        assert queue.put(item)
    assert queue.dropped_count == 2  # 3 and 4: what is left may weigh 10
    assert queue.put(100)
    assert queue.get() == 100


def test_a_reader_waits_for_an_item():
    queue: LosslessQueue[int] = LosslessQueue(1)
    reader, results = started(queue.get)
    assert is_waiting(reader)
    queue.put(7)
    reader.join(LONG_SECONDS)
    assert results == [7]


def test_get_gives_up_after_its_timeout():
    queue: LosslessQueue[int] = LosslessQueue(1)
    started_seconds = time.monotonic()
    assert queue.get(timeout_seconds=SHORT_SECONDS) is None
    assert SHORT_SECONDS <= time.monotonic() - started_seconds < LONG_SECONDS
    assert not queue.has_ended


def test_what_waits_in_a_closed_queue_can_still_be_taken_out():
    queue: LosslessQueue[int] = LosslessQueue(2)
    queue.put(1)
    queue.close()
    assert not queue.put(2)
    assert not queue.has_ended
    assert queue.get() == 1
    assert queue.has_ended
    assert queue.get() is None


def test_a_cancelled_queue_is_empty():
    queue: LosslessQueue[int] = LosslessQueue(2)
    queue.put(1)
    queue.cancel()
    assert queue.has_ended
    assert queue.get() is None


@pytest.mark.parametrize("end", [LosslessQueue.close, LosslessQueue.cancel])
def test_the_end_wakes_a_reader_of_an_empty_queue(end):
    queue: LosslessQueue[int] = LosslessQueue(1)
    reader, results = started(queue.get)
    assert is_waiting(reader)
    end(queue)
    reader.join(LONG_SECONDS)
    assert results == [None]


@pytest.mark.parametrize("end", [LosslessQueue.close, LosslessQueue.cancel])
def test_the_end_wakes_a_writer_of_a_full_queue(end):
    queue: LosslessQueue[int] = LosslessQueue(1)
    queue.put(1)
    writer, results = started(queue.put, 2)
    assert is_waiting(writer)
    end(queue)
    writer.join(LONG_SECONDS)
    assert results == [False]


def test_a_thousand_items_pass_between_two_threads_unharmed():
    queue: LosslessQueue[int] = LosslessQueue(3)

    def write() -> None:
        for item in range(1000):
            queue.put(item)
        queue.close()

    started(write)
    received = []
    while (item := queue.get(LONG_SECONDS)) is not None:
        received.append(item)
    assert received == list(range(1000))
