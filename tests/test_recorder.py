"""Recordings that a viewer starts and stops while a feed runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import wait_until
from media_clips import numbered_image, probe
from test_pipeline import DEADLINE_SECONDS, GivenSource, MeanExplainer

from live_cam.errors import SinkError
from live_cam.frame import Frame, Result
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.pipeline import Pipeline
from live_cam.pipeline.queues import LosslessQueue
from live_cam.settings import FeedSettings, RenderSettings
from live_cam.sinks.video.sink import VideoSink
from live_cam.viewers.recorder import Recorder

SIZE_WH = (64, 48)
FRAME_SECONDS = 0.1


class Camera:
    """A live feed, and a recorder of it."""

    def __init__(self, folder: Path) -> None:
        self.source, self.pipeline = GivenSource(), Pipeline(lambda frame: MeanExplainer())
        self.feed = Feed(self.source, FeedSettings(render=RenderSettings(view="original", caption=False)))
        self.recorder = Recorder(self.feed, folder)
        self._results: LosslessQueue[Result] = LosslessQueue(100)
        self.feed.subscribe(Subscription(self._results))
        self.pipeline.add(self.feed)
        self._count = 0

    def show(self, count: int = 1, image: np.ndarray | None = None) -> None:
        """Gives that many frames; returns when all of them were put into the recording's queue, if there is one."""
        for _ in range(count):
            shown = numbered_image(self._count, SIZE_WH) if image is None else image
            self.source._frames.put(Frame(shown, self._count, self._count * FRAME_SECONDS))
            result = self._results.get(DEADLINE_SECONDS)  # viewers get it after recordings
            assert result.frame.index == self._count
            self._count += 1


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    camera = Camera(tmp_path)
    yield camera
    camera.pipeline.close()


def test_a_recording_has_the_frames_between_start_and_stop(camera: Camera, tmp_path: Path):
    recorder = camera.recorder
    camera.show()
    assert recorder.seconds is None
    path = recorder.start(SIZE_WH)
    camera.show(10)
    wait_until(lambda: recorder.seconds == pytest.approx(9 * FRAME_SECONDS))
    recorder.stop()
    assert recorder.seconds is None
    camera.show()
    assert wait_until(recorder.message, 10) == f"saved {path.name}"
    assert recorder.message() == ""
    assert recorder.made == [path]
    assert int(probe(path)["nb_read_packets"]) == 10
    assert list(tmp_path.iterdir()) == [path]
    assert camera.feed.errors == []


def test_a_second_recording_is_a_second_file_and_closing_completes_it(camera: Camera):
    paths = []
    for _ in range(2):
        paths.append(camera.recorder.start(SIZE_WH))
        camera.show()
        camera.recorder.close()
    assert camera.recorder.made == paths
    assert paths[0] != paths[1]
    assert all(path.is_file() for path in paths)


def test_a_recording_without_frames_leaves_no_file(camera: Camera, tmp_path: Path):
    camera.recorder.start(SIZE_WH)
    camera.recorder.close()
    assert camera.recorder.message() == "nothing was recorded"
    assert camera.recorder.made == []
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_completed_when_the_source_ends(camera: Camera):
    path = camera.recorder.start(SIZE_WH)
    camera.show(3)
    camera.source.break_with(SinkError("the camera is gone"))
    assert camera.feed.join(DEADLINE_SECONDS)
    camera.recorder.close()
    assert camera.recorder.made == [path]
    assert int(probe(path)["nb_read_packets"]) == 3


def test_a_folder_that_does_not_exist_is_an_error(camera: Camera, tmp_path: Path):
    with pytest.raises(SinkError, match="there is no directory"):
        Recorder(camera.feed, tmp_path / "nowhere").start(SIZE_WH)


def test_images_of_another_size_are_fitted_in(camera: Camera):
    path = camera.recorder.start(SIZE_WH)
    camera.show(image=np.full((48, 64, 3), 200, np.uint8))
    camera.show(image=np.full((48, 128, 3), 200, np.uint8))  # as when the view becomes "split"
    camera.recorder.close()
    video = cv2.VideoCapture(str(path))
    video.read()
    _, second = video.read()
    assert second.shape == (48, 64, 3)
    assert abs(int(second[24, 32, 1]) - 200) < 8
    assert second[2, 32].max() < 8  # the bar above


def test_a_recording_that_fails_does_not_end_the_feed(camera: Camera, monkeypatch: pytest.MonkeyPatch):
    def write(sink: VideoSink, result: Result) -> None:
        raise SinkError("the disk is full")

    monkeypatch.setattr(VideoSink, "write", write)
    camera.recorder.start(SIZE_WH)
    camera.show()
    assert wait_until(camera.recorder.message, 10) == "the disk is full"
    assert camera.recorder.seconds is None
    camera.show()
    assert camera.feed.errors == []
    assert camera.recorder.made == []


def test_neither_the_viewer_nor_the_feed_waits_for_an_encoder(camera: Camera, monkeypatch: pytest.MonkeyPatch):
    encodes, may_continue = threading.Event(), threading.Event()
    write = VideoSink.write

    def stall(sink: VideoSink, result: Result) -> None:
        encodes.set()
        assert may_continue.wait(DEADLINE_SECONDS)
        write(sink, result)

    monkeypatch.setattr(VideoSink, "write", stall)
    path = camera.recorder.start(SIZE_WH)
    camera.show()
    assert encodes.wait(DEADLINE_SECONDS)
    started_seconds = time.monotonic()
    camera.show(5)
    assert camera.recorder.seconds == 0
    camera.recorder.stop()
    assert camera.recorder.message() == ""
    assert time.monotonic() - started_seconds < 1.5  # the encoder is stalled until may_continue
    may_continue.set()
    assert wait_until(camera.recorder.message, 10) == f"saved {path.name}"
    assert int(probe(path)["nb_read_packets"]) == 6
