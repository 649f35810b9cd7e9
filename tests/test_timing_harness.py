"""Timings have the right percentiles, rates and ratios; actions are measured in alternation."""

from __future__ import annotations

import time

import pytest

from live_cam.timing_harness import Timings, interleaved, timed


def test_95_of_100_calls_take_no_longer_than_the_95th_percentile():
    timings = Timings(rounds_ms=(tuple(range(1, 51)), tuple(range(51, 101))), cpu_ms=0.0)
    assert timings.summary_ms() == {"p50": 50, "p95": 95, "p99": 99}


def test_calls_of_10_and_30_ms_are_50_calls_per_second():
    assert Timings(((10.0,), (30.0,)), 0.0).fps == pytest.approx(50)  # 2 calls in 40 ms


def test_ratios_compare_the_medians_of_each_round():
    slow, fast = Timings(((4.0, 6.0, 100.0), (8.0,)), 0.0), Timings(((2.0, 3.0, 4.0), (2.0,)), 0.0)
    assert slow.ratios_to(fast) == [2.0, 4.0]


def test_actions_alternate_in_reversed_order_after_each_round():
    calls: list[tuple[str, int]] = []

    def action(name: str):
        def record(index: int) -> float:
            calls.append((name, index))
            # The first call of a round is not counted.
            return 0.001 if len(calls) > 1 and calls[-2][0] == name else 0.5

        return record

    timings = interleaved({"a": action("a"), "b": action("b")}, call_count=5, round_count=2)
    warm_up = 2 * 5
    assert [name for name, _ in calls[warm_up:]] == ["a"] * 4 + ["b"] * 4 + ["b"] * 3 + ["a"] * 3
    assert [index for name, index in calls[warm_up:] if name == "a"] == [0, 0, 1, 2, 3, 3, 4]
    # The warm-up and the first call of each round are not counted.
    assert timings["a"].rounds_ms == ((1.0, 1.0, 1.0), (1.0, 1.0))


def test_cpu_time_counts_busy_actions_but_not_sleeping_ones():
    def busy(index: int) -> None:
        until_seconds = time.process_time() + 0.02
        while time.process_time() < until_seconds:
            pass

    timings = interleaved({"busy": timed(busy), "asleep": timed(lambda index: time.sleep(0.02))}, 5, 1)
    assert timings["busy"].cpu_ms >= 20
    assert timings["asleep"].cpu_ms < 10
