"""Cameras: what they are asked for, what they give, and the errors where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from live_cam.errors import SourceError
from live_cam.settings import CameraSettings, SourceSettings
from live_cam.sources import camera
from live_cam.sources.camera import CameraSource, found_cameras
from live_cam.sources.open import open_source

IMAGE = np.zeros((480, 640, 3), np.uint8)


class FakeCapture:
    """Stands in for a device, which no test machine has: returns the images of a list, then fails."""

    def __init__(self, images: Sequence[np.ndarray | None]) -> None:
        self.images = list(images)
        self.requests: list[tuple[int, float]] = []
        self.is_released = False

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, name: int, value: float) -> bool:
        self.requests.append((name, value))
        return True

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0}[name]

    def read(self) -> tuple[bool, np.ndarray | None]:
        image = self.images.pop(0) if self.images else None
        return image is not None, image

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCapture]:
    """Makes a camera of the images that are given to it."""
    monkeypatch.setattr(camera, "_PAUSE_SECONDS", 0)

    def plug_in(*images: np.ndarray | None) -> FakeCapture:
        capture = FakeCapture(images)
        monkeypatch.setattr(cv2, "VideoCapture", lambda index: capture)
        return capture

    return plug_in


def test_a_camera_that_does_not_exist_is_reported_in_one_line():
    with pytest.raises(SourceError, match="camera 61") as raised:
        CameraSource(61)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no /dev/videoN")
def test_linux_lists_its_cameras():
    indexes = found_cameras()
    assert indexes == sorted(set(indexes))
    assert all(Path(f"/dev/video{index}").exists() for index in indexes)


def test_a_camera_that_stops_is_an_error_and_is_released(plug_in: Callable[..., FakeCapture]):
    capture = plug_in(IMAGE, IMAGE, None, IMAGE)
    with CameraSource(0) as source:
        assert (source.size_wh, source.is_live, source.rate, source.name) == ((640, 480), True, None, "camera 0")
        first, second = source.read(), source.read()  # one failed read in between is forgiven
        assert (first.index, second.index) == (0, 1)
        assert first.time_seconds <= second.time_seconds
        with pytest.raises(SourceError, match="camera 0 gives no more frames"):
            source.read()
    assert capture.is_released


def test_a_camera_without_frames_is_released_when_it_is_opened(plug_in: Callable[..., FakeCapture]):
    capture = plug_in()
    with pytest.raises(SourceError, match="camera 0"):
        CameraSource(0)
    assert capture.is_released


def test_a_camera_is_asked_for_its_format_before_size_and_rate(plug_in: Callable[..., FakeCapture]):
    capture = plug_in(IMAGE)
    CameraSource(0, CameraSettings((1280, 720), 60)).close()
    assert capture.requests[1:] == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 60),
    ]


def test_a_camera_that_is_asked_for_nothing_keeps_its_format(plug_in: Callable[..., FakeCapture]):
    capture = plug_in(IMAGE)
    CameraSource(0).close()
    assert [name for name, _ in capture.requests] == [cv2.CAP_PROP_BUFFERSIZE]


@pytest.mark.parametrize(("size_wh", "fps", "notices"), [
    ((640, 480), 30.0, ()),
    ((1280, 720), None, ("camera 0 gives 640x480 at 30 fps, not 1280x720",)),
    ((640, 480), 60.0, ("camera 0 gives 640x480 at 30 fps, not 60 fps",)),
    ((1280, 720), 60.0, ("camera 0 gives 640x480 at 30 fps, not 1280x720 at 60 fps",)),
])  # fmt: skip
def test_a_camera_that_gives_something_else_has_a_notice(
    plug_in: Callable[..., FakeCapture], size_wh: tuple[int, int], fps: float | None, notices: tuple[str, ...]
):
    plug_in(IMAGE)
    with open_source(SourceSettings(webcam=0, camera=CameraSettings(size_wh, fps))) as source:
        assert source.notices == notices
