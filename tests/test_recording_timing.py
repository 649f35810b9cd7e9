"""Every frame keeps its media time at every rate, in uneven videos and after a cut."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import typer
from media_clips import number_of, packet_times, probe, write_clip
from recordings import frames_of, record

from live_cam.cli.options import seconds_of
from live_cam.sources.decoder import exact_rate

RATES = {"23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "59.94": Fraction(60000, 1001)}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts"])
def test_broadcast_rates_stay_exact(tmp_path, rate, name):
    path = write_clip(tmp_path / name, frame_count=60, rate=RATES[rate])
    stated = probe(record(path, tmp_path / "out.mp4").path)
    assert Fraction(stated["r_frame_rate"]) == Fraction(stated["avg_frame_rate"]) == RATES[rate]
    assert Fraction(stated["duration_ts"]) * Fraction(stated["time_base"]) == 60 / RATES[rate]
    assert stated["nb_frames"] == "60"


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_uneven_times_and_the_duration_of_the_last_frame_are_kept(tmp_path, name):
    times_ms = [0, 33, 67, 100, 500, 517, 900, 934, 1700]
    write_clip(tmp_path / "in.mp4", frame_count=9, pts=times_ms, options={"bf": "0"})
    sink = record(tmp_path / "in.mp4", tmp_path / name)
    assert packet_times(sink.path) == pytest.approx([time_ms / 1000 for time_ms in times_ms], abs=1e-3)
    if name in ("out.mp4", "out.mov"):  # the others do not store the duration of a track
        durations = [float(probe(path)["duration"]) for path in (tmp_path / "in.mp4", sink.path)]
        assert durations[1] == pytest.approx(durations[0], abs=1e-3)


def test_long_uneven_video_does_not_drift(tmp_path):
    times_ms = np.cumsum(np.random.default_rng(2).integers(1, 70, 3000)).tolist()
    path = write_clip(tmp_path / "in.mkv", frame_count=3000, pts=times_ms, size_wh=(16, 16))
    written = packet_times(record(path, tmp_path / "out.mp4").path)
    assert np.abs(np.subtract(written, np.subtract(times_ms, times_ms[0]) / 1000)).max() < 1e-3


def test_only_rounded_rates_are_made_exact():
    assert exact_rate(Fraction(19001, 317)) == Fraction(60000, 1001)
    for rate in (Fraction(179, 6), Fraction(25), Fraction(25, 2), Fraction(30000, 1001), Fraction(1, 1000)):
        assert exact_rate(rate) == rate


@pytest.mark.parametrize(("text", "seconds"), [
    ("90", 90), ("90.5", 90.5), (".5", 0.5), ("1:30", 90), ("0:01:30.250", 90.25), ("1:00:00", 3600), (" 2:05 ", 125),
])  # fmt: skip
def test_time_formats(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:75", "1:60:00", "1:2:3:4", "1e3", "nan"])
def test_invalid_time_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no time; give seconds"):
        seconds_of(text)


def test_cut_of_an_uneven_video_is_exact_to_the_frame(tmp_path):
    times_ms = [0, 40, 80, 500, 517, 900, 1700, 1790, 2500]
    path = write_clip(tmp_path / "in.mkv", frame_count=9, pts=times_ms)
    sink = record(path, tmp_path / "out.mp4", start=seconds_of("0:00.500"), end=seconds_of("1.790"))
    assert [number_of(image) for _, image in frames_of(sink.path)] == [3, 4, 5, 6]
    assert packet_times(sink.path) == pytest.approx([0, 0.017, 0.4, 1.2], abs=1e-3)
