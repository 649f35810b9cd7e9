"""Files that keys make: snapshots and recordings."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_clips import noise_image, numbered_image, probe, result_of

from live_cam.errors import SinkError
from live_cam.sinks.names import name_by_time
from live_cam.sinks.recorder import Recorder
from live_cam.sinks.snapshot import write_snapshot

NOON = datetime(2026, 7, 23, 12, 0, 1)


def test_names_tell_the_time_and_are_never_taken(tmp_path: Path):
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001"
    (tmp_path / "livecam-20260723-120001.mp4").touch()
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001-2"
    (tmp_path / "livecam-20260723-120001-2.partial.mp4").touch()  # somebody is recording it
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001-3"
    assert name_by_time(tmp_path, NOON, ".png", ".json").name == "livecam-20260723-120001"


def test_a_snapshot_is_the_picture_to_the_last_bit_and_what_was_known(tmp_path: Path):
    image = noise_image(3)
    path = write_snapshot(tmp_path, NOON, image, {"method": "grad-cam"})
    assert (cv2.imread(str(path)) == image).all()
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts == {"picture": "livecam-20260723-120001.png", "method": "grad-cam"}


def test_two_snapshots_in_one_second_are_two(tmp_path: Path):
    paths = [write_snapshot(tmp_path, NOON, numbered_image(index), {}) for index in range(3)]
    assert len(set(paths)) == 3
    assert len(list(tmp_path.iterdir())) == 6


def test_a_snapshot_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(SinkError, match="cannot write .*livecam-20260723-120001.png: No such file"):
        write_snapshot(tmp_path / "nowhere", NOON, numbered_image(0), {})


def news_within(recorder: Recorder, seconds: float = 10) -> str:
    deadline_seconds = time.monotonic() + seconds
    while time.monotonic() < deadline_seconds:
        news = recorder.news()
        if news:
            return news
        time.sleep(0.02)
    return ""


def test_a_recording_has_what_was_written_between_start_and_stop(tmp_path: Path):
    recorder = Recorder(tmp_path)
    recorder.write(result_of(numbered_image(0), 0, 0.0))
    assert recorder.seconds is None
    path = recorder.start((64, 48))
    for index in range(1, 11):
        recorder.write(result_of(numbered_image(index), index, 0.1 * index))
    assert recorder.seconds >= 0
    recorder.stop()
    recorder.write(result_of(numbered_image(11), 11, 1.1))
    assert news_within(recorder) == f"saved {path.name}"
    assert recorder.made == [path]
    assert int(probe(path)["nb_read_packets"]) == 10
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_second_recording_is_a_second_file_and_closing_ends_it(tmp_path: Path):
    recorder = Recorder(tmp_path)
    paths = []
    for _ in range(2):
        paths.append(recorder.start((64, 48)))
        recorder.write(result_of(numbered_image(1)))
        recorder.close()
    assert recorder.made == paths
    assert paths[0] != paths[1]


def test_a_recording_of_nothing_leaves_nothing(tmp_path: Path):
    recorder = Recorder(tmp_path)
    recorder.start((64, 48))
    recorder.close()
    assert recorder.news() == "nothing was recorded"
    assert recorder.made == []
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_recorded_one_line_says_so(tmp_path: Path):
    with pytest.raises(SinkError, match="there is no directory"):
        Recorder(tmp_path / "nowhere").start((64, 48))


def test_pictures_of_another_size_are_fitted_in(tmp_path: Path):
    recorder = Recorder(tmp_path)
    path = recorder.start((64, 48))
    recorder.write(result_of(np.full((48, 64, 3), 200, np.uint8), 0, 0.0))
    recorder.write(result_of(np.full((48, 128, 3), 200, np.uint8), 1, 0.1))  # as when the view becomes "split"
    recorder.close()
    film = cv2.VideoCapture(str(path))
    film.read()
    _, second = film.read()
    assert second.shape == (48, 64, 3)
    assert abs(int(second[24, 32, 1]) - 200) < 8
    assert second[2, 32].max() < 8  # the bar above
