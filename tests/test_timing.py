"""Percentiles, rates, the process's own figures, and the account of a run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from live_cam.run.metering import STAGES, RunMeter
from live_cam.timing import Durations, RateMeter, peak_rss_mb, rounded, seconds_since_process_creation


def durations_of(*milliseconds: float) -> Durations:
    durations = Durations()
    for one in milliseconds:
        durations.add(one / 1000)
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


def test_fps_of_three_frames_in_a_second_is_two():
    meter = RateMeter()
    assert meter.per_second is None
    for now_seconds in (0.0, 0.5, 1.0):
        meter.tick(now_seconds)
    assert meter.per_second == 2.0  # 3 frames, 2 intervals


def test_the_rate_forgets_what_is_older_than_its_window():
    meter = RateMeter(window=3)
    for now_seconds in (0.0, 100.0, 100.5, 101.0):
        meter.tick(now_seconds)
    assert meter.per_second == 2.0


def test_two_frames_at_one_time_have_no_rate():
    meter = RateMeter()
    meter.tick(1.0)
    meter.tick(1.0)
    assert meter.per_second is None


def test_rounding_leaves_none_alone():
    assert rounded(1.23456, 2) == 1.23
    assert rounded(None) is None


def test_the_age_of_this_process_grows_with_the_clock():
    before_seconds, started_seconds = seconds_since_process_creation(), time.monotonic()
    time.sleep(0.2)
    grown_seconds, passed_seconds = (
        seconds_since_process_creation() - before_seconds,
        time.monotonic() - started_seconds,
    )
    assert grown_seconds == pytest.approx(passed_seconds, abs=0.02)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the clock starts with the import")
def test_the_age_of_a_process_counts_from_its_creation():
    code = "import time; time.sleep(0.5); from live_cam.timing import *; print(seconds_since_process_creation())"
    started_seconds = time.monotonic()
    age_seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 0.5 <= age_seconds <= time.monotonic() - started_seconds + 0.02  # the system counts in 10 ms


def test_peak_memory_sees_a_hundred_megabytes():
    code = "from live_cam.timing import peak_rss_mb; print(peak_rss_mb()); {} print(peak_rss_mb())"
    grow = "b = b'x' * 100_000_000; del b;"
    printed = subprocess.run([sys.executable, "-c", code.format(grow)], capture_output=True, text=True, check=True)
    before_mb, after_mb = map(float, printed.stdout.split())
    assert after_mb - before_mb == pytest.approx(100, abs=10)
    assert peak_rss_mb() > 1


def test_a_fresh_meter_reports_zeros_and_nulls_under_every_name():
    report = RunMeter().report()
    assert list(report["stage_ms"]) == list(STAGES) == ["capture", "preprocess", "explain", "render", "write"]
    assert report["frames_read"] == report["frames_explained"] == report["frames_written"] == 0
    assert report["fps"] is report["first_frame_seconds"] is report["latency_ms"]["p50"] is None


def test_fps_counts_drawn_frames_from_the_first_to_the_last():
    meter = RunMeter()
    started_seconds = time.monotonic()
    for _ in range(4):
        meter.drawn(latency_seconds=0.004)
        time.sleep(0.05)
    # Explained, but never drawn: the run was ended before.
    meter.frames_explained = 100
    elapsed_seconds = time.monotonic() - started_seconds
    assert 3 / elapsed_seconds < meter.fps <= 3 / 0.15
    assert meter.recent_fps == pytest.approx(meter.fps)
    assert meter.recent_latency_ms == pytest.approx(4)


def test_a_stage_is_timed():
    meter = RunMeter()
    with meter.stage("render"):
        time.sleep(0.05)
    report = meter.report()["stage_ms"]
    assert 49 < report["render"]["p50"] < 5000
    assert report["write"]["p50"] is None
