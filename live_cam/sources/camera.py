"""Cameras of this machine."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.settings import CameraSettings
from live_cam.sources.closable import ClosableSource

# A camera that wakes up, or whose cable is touched, may skip a few frames.
_FAILED_READS_OF_A_LOSS = 10
_PAUSE_SECONDS = 0.05
_SAME_FPS = 0.5
_PROBED_INDEXES = range(4)


class CameraSource(ClosableSource):
    """A camera; each ``read`` returns its newest frame.

    Args:
        index: The camera's index, from 0.
        settings: What it is asked for; ``notices`` says what it gives instead. Default: nothing.

    Raises:
        SourceError: There is no such camera, another program uses it, or this user may not use it.
    """

    is_live = True

    def __init__(self, index: int, settings: CameraSettings | None = None) -> None:
        super().__init__()
        settings = settings or CameraSettings()
        self.name = f"camera {index}"
        self._frame_count = 0
        self._capture = cv2.VideoCapture(index)
        # Buffer one frame, not the driver's four, which would be old when they are read.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        _request(self._capture, settings)
        _, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if image is None:
            was_opened = self._capture.isOpened()
            self._capture.release()
            raise SourceError(_why_not(index, was_opened))
        self.size_wh = (image.shape[1], image.shape[0])
        if settings != CameraSettings():
            fps = self._capture.get(cv2.CAP_PROP_FPS)
            self.notices = tuple(_differences(settings, self.name, self.size_wh, fps))

    def _next(self) -> Frame | None:
        for _ in range(_FAILED_READS_OF_A_LOSS):
            has_frame, image = self._capture.read()
            if has_frame:
                frame = Frame(image, self._frame_count, time.monotonic())
                self._frame_count += 1
                return frame
            if self._is_closed:
                return None
            time.sleep(_PAUSE_SECONDS)
        raise SourceError(f"{self.name} gives no more frames; is it still plugged in?")

    def _free(self) -> None:
        self._capture.release()


def _request(capture: cv2.VideoCapture, settings: CameraSettings) -> None:
    if settings == CameraSettings():
        return
    # Uncompressed frames of most sizes exceed USB 2 at the full rate. Drivers need this order: the rates depend on the
    # size, and the sizes on the format.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if settings.size_wh is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size_wh[1])
    if settings.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, settings.fps)


def _differences(settings: CameraSettings, name: str, size_wh: tuple[int, int], fps: float) -> Iterator[str]:
    """Yields a line that says what the camera gives, unless that was requested; a rate of 0 is unknown."""
    has_size = settings.size_wh in (None, size_wh)
    has_rate = settings.fps is None or not fps > 0 or abs(fps - settings.fps) < _SAME_FPS
    if has_size and has_rate:
        return
    requested = [f"{settings.size_wh[0]}x{settings.size_wh[1]}"] if settings.size_wh and not has_size else []
    requested += [] if has_rate else [f"{settings.fps:g} fps"]
    given = f"{size_wh[0]}x{size_wh[1]}" + (f" at {fps:g} fps" if fps > 0 else "")
    yield f"{name} gives {given}, not {' at '.join(requested)}"


def found_cameras() -> list[int]:
    """Returns the indexes of the cameras. Linux lists them; elsewhere the first few are opened, which turns them on."""
    if sys.platform.startswith("linux"):
        names = (re.fullmatch(r"video(\d+)", device.name) for device in Path("/dev").glob("video*"))
        return sorted(int(name[1]) for name in names if name and _is_capture_device(int(name[1])))
    return [index for index in _PROBED_INDEXES if _can_be_opened(index)]


def _is_capture_device(index: int) -> bool:
    """Returns whether a device gives frames; a webcam's second device gives only metadata."""
    try:
        return Path(f"/sys/class/video4linux/video{index}/index").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return True


def _can_be_opened(index: int) -> bool:
    capture = cv2.VideoCapture(index)
    try:
        return capture.isOpened()
    finally:
        capture.release()


def _why_not(index: int, was_opened: bool) -> str:
    if sys.platform.startswith("linux"):
        return _why_not_on_linux(index, was_opened)
    if sys.platform == "darwin":
        return (
            f"cannot open camera {index}; allow this terminal in System Settings > Privacy & Security > Camera, "
            "or try another index"
        )
    return f"cannot open camera {index}; check that it is plugged in and that no other program uses it"


def _why_not_on_linux(index: int, was_opened: bool) -> str:
    device = Path(f"/dev/video{index}")
    if not device.exists():
        others = [other for other in found_cameras() if other != index]
        found = f"found: {', '.join(map(str, others))}" if others else "none was found; the demo needs none"
        return f"there is no camera {index} ({device}); {found}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission to use camera {index} ({device}); add your user to the group 'video'"
    if was_opened:
        return f"camera {index} ({device}) was opened but gives no frames; is another program using it?"
    return f"cannot open camera {index} ({device}): another program uses it, or it gives no video"
