"""Percentiles, rates, figures of the process, and the report of a feed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from live_cam.pipeline.stats import (
    STAGES,
    Durations,
    EventRate,
    FeedStats,
    peak_rss_mb,
    rounded,
    seconds_since_process_creation,
)


def durations_of(*milliseconds: float) -> Durations:
    durations = Durations()
    for duration_ms in milliseconds:
        durations.add(duration_ms / 1000)
    return durations


@pytest.mark.parametrize(("percent", "expected_ms"), [(50, 50), (95, 95), (99, 99), (100, 100), (0, 1)])
def test_percentiles_of_1_to_100_ms(percent, expected_ms):
    # 95 of the hundred durations 1, 2, ... 100 ms are 95 ms or shorter; the bins are exact to half a percent.
    assert durations_of(*range(1, 101)).percentile_ms(percent) == pytest.approx(expected_ms, rel=0.006)


def test_the_order_of_durations_does_not_matter():
    assert durations_of(3, 1, 2).summary_ms() == durations_of(1, 2, 3).summary_ms()


def test_the_summary_names_median_and_tails():
    summary = durations_of(10, 10, 10, 1000).summary_ms()
    assert summary == {
        "p50": pytest.approx(10, rel=0.006),
        "p95": pytest.approx(1000, rel=0.006),
        "p99": summary["p95"],
    }


def test_no_duration_has_no_percentile():
    assert Durations().percentile_ms(50) is None
    assert Durations().summary_ms() == {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(("seconds", "expected_ms"), [(0.0, 0.001), (-1.0, 0.001), (1e-9, 0.001)])
def test_durations_too_short_to_tell_count_as_a_microsecond(seconds, expected_ms):
    assert durations_of(seconds * 1000).percentile_ms(50) == pytest.approx(expected_ms, rel=0.006)


def test_durations_of_an_hour_count_as_the_longest_bin():
    assert durations_of(3_600_000).percentile_ms(50) == pytest.approx(1e-3 * 1.01**2109.5)


def rate_of(*times_seconds: float) -> EventRate:
    rate = EventRate()
    for now_seconds in times_seconds:
        rate.add(now_seconds)
    return rate


def test_the_rate_of_three_events_in_a_second_is_two():
    assert rate_of().per_second is rate_of(0.0).per_second is None
    assert rate_of(0.0, 0.5, 1.0).per_second == 2.0  # 3 events, 2 intervals


def test_the_recent_rate_forgets_all_but_thirty_events():
    rate = rate_of(0.0, *(100 + index / 10 for index in range(30)))
    assert rate.recent_per_second == pytest.approx(10)
    assert rate.per_second == pytest.approx(30 / 102.9)


def test_two_events_at_one_time_have_no_rate():
    assert rate_of(1.0, 1.0).per_second is None


def test_rounding_leaves_none_alone():
    assert rounded(1.23456, 2) == 1.23
    assert rounded(None) is None


def test_the_age_of_this_process_grows_with_the_clock():
    clock_seconds = [time.monotonic()]
    age_before_seconds = seconds_since_process_creation()
    clock_seconds.append(time.monotonic())
    time.sleep(0.2)
    clock_seconds.append(time.monotonic())
    grown_seconds = seconds_since_process_creation() - age_before_seconds
    clock_seconds.append(time.monotonic())
    shortest_seconds, longest_seconds = clock_seconds[2] - clock_seconds[1], clock_seconds[3] - clock_seconds[0]
    assert shortest_seconds - 0.001 < grown_seconds < longest_seconds + 0.001


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the clock starts with the import")
def test_the_age_of_a_process_counts_from_its_creation():
    code = "import time; time.sleep(0.5)\n"
    code += "from live_cam.pipeline import stats; print(stats.seconds_since_process_creation())"
    started_seconds = time.monotonic()
    age_seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 0.5 <= age_seconds <= time.monotonic() - started_seconds + 0.02  # the system counts in 10 ms


def test_peak_memory_sees_a_hundred_megabytes():
    code = "from live_cam.pipeline.stats import peak_rss_mb; print(peak_rss_mb()); {} print(peak_rss_mb())"
    grow = "b = b'x' * 100_000_000; del b;"
    printed = subprocess.run([sys.executable, "-c", code.format(grow)], capture_output=True, text=True, check=True)
    before_mb, after_mb = map(float, printed.stdout.split())
    assert after_mb - before_mb == pytest.approx(100, abs=10)
    assert peak_rss_mb() > 1


def test_fresh_stats_report_zeros_and_nulls_under_every_name():
    report = FeedStats().report()
    assert list(report["stage_ms"]) == list(STAGES) == ["capture", "preprocess", "explain", "render", "write"]
    assert report["frames_read"] == report["frames_explained"] == report["frames_written"] == 0
    assert report["fps"] is report["fps_drawn"] is report["first_frame_seconds"] is report["latency_ms"]["p50"] is None


def test_fps_counts_explained_frames_and_fps_drawn_the_drawn_ones():
    now = [0.0]
    stats = FeedStats(clock=lambda: now[0])
    for second in range(3):
        for tenth in range(10):
            now[0] = second + tenth / 10
            stats.add_drawn(latency_seconds=0.004)
        stats.add_explained()
    report = stats.report()
    assert report["fps"] == 1.0  # 3 explanations, 2 seconds
    assert report["fps_drawn"] == 10.0  # 30 images, 2.9 seconds
    assert stats.recent_latency_ms == pytest.approx(4)


def test_a_stage_is_timed():
    stats = FeedStats()
    with stats.stage("render"):
        time.sleep(0.05)
    report = stats.report()["stage_ms"]
    assert 49 < report["render"]["p50"] < 5000
    assert report["write"]["p50"] is None
