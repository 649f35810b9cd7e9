"""The channel between two stages: order, bounds, and that nobody waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from live_cam.channel import Channel

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
    channel: Channel[int] = Channel(3)
    assert [channel.put(1), channel.put(2), channel.put(3)] == [True, True, True]
    assert [channel.get(), channel.get(), channel.get()] == [1, 2, 3]
    assert channel.dropped_count == 0


def test_a_full_channel_makes_the_writer_wait_until_there_is_room():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    writer, results = started(channel.put, 2)
    assert is_waiting(writer)
    assert channel.get() == 1
    writer.join(LONG_SECONDS)
    assert results == [True]
    assert channel.get() == 2


def test_newest_only_throws_the_oldest_away_and_counts_it():
    channel: Channel[int] = Channel(1, newest_only=True)
    assert all(channel.put(item) for item in (1, 2, 3))
    assert channel.get() == 3
    assert channel.dropped_count == 2
    assert channel.get(timeout_seconds=0) is None  # 3 is not handed out again


def test_newest_only_keeps_as_many_as_it_holds():
    channel: Channel[int] = Channel(2, newest_only=True)
    for item in (1, 2, 3):
        channel.put(item)
    assert [channel.get(), channel.get()] == [2, 3]


def test_a_reader_waits_for_an_item():
    channel: Channel[int] = Channel(1)
    reader, results = started(channel.get)
    assert is_waiting(reader)
    channel.put(7)
    reader.join(LONG_SECONDS)
    assert results == [7]


def test_get_gives_up_after_its_timeout():
    channel: Channel[int] = Channel(1)
    started_seconds = time.monotonic()
    assert channel.get(timeout_seconds=SHORT_SECONDS) is None
    assert SHORT_SECONDS <= time.monotonic() - started_seconds < LONG_SECONDS
    assert not channel.ended


def test_what_waits_in_a_closed_channel_can_still_be_taken_out():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close()
    assert not channel.put(2)
    assert not channel.ended
    assert channel.get() == 1
    assert channel.ended
    assert channel.get() is None


def test_a_cancelled_channel_is_empty():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.cancel()
    assert channel.ended
    assert channel.get() is None


@pytest.mark.parametrize("end", [Channel.close, Channel.cancel])
def test_the_end_wakes_a_reader_of_an_empty_channel(end):
    channel: Channel[int] = Channel(1)
    reader, results = started(channel.get)
    assert is_waiting(reader)
    end(channel)
    reader.join(LONG_SECONDS)
    assert results == [None]


@pytest.mark.parametrize("end", [Channel.close, Channel.cancel])
def test_the_end_wakes_a_writer_of_a_full_channel(end):
    channel: Channel[int] = Channel(1)
    channel.put(1)
    writer, results = started(channel.put, 2)
    assert is_waiting(writer)
    end(channel)
    writer.join(LONG_SECONDS)
    assert results == [False]


def test_a_thousand_items_pass_between_two_threads_unharmed():
    channel: Channel[int] = Channel(3)

    def write() -> None:
        for item in range(1000):
            channel.put(item)
        channel.close()

    started(write)
    received = []
    while (item := channel.get(LONG_SECONDS)) is not None:
        received.append(item)
    assert received == list(range(1000))
