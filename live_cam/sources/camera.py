"""Cameras of this machine."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.sources.quiet import quiet_opencv

# A camera that wakes up, or whose cable is touched, may skip a few.
_FAILED_READS_OF_A_LOSS = 10
_PAUSE_SECONDS = 0.05
_SAME_FPS = 0.5
_PROBED_INDEXES = range(4)


@dataclass(frozen=True)
class CameraRequest:
    """What a camera is asked for; it may give something else.

    Attributes:
        size_wh: Width and height of its pictures; None = as it comes.
        fps: Frames a second; None = as it comes.
    """

    size_wh: tuple[int, int] | None = None
    fps: float | None = None

    @staticmethod
    def parsed(size: str | None, fps: float | None) -> CameraRequest:
        """From a size as "1280x720" and a rate.

        Raises:
            SettingError: The size is not written like that, or the rate is not above 0.
        """
        found = None if size is None else re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", size)
        if size is not None and found is None:
            raise SettingError(f"--camera-size takes width x height, such as 1280x720, not {size!r}")
        if fps is not None and not 0 < fps < float("inf"):
            raise SettingError(f"--camera-fps takes a number above 0, not {fps:g}")
        return CameraRequest((int(found[1]), int(found[2])) if found else None, fps)


class CameraSource(ClosedByWith):
    """A camera; each ``read`` gives the newest frame.

    Args:
        index: The camera's number, from 0.
        request: What is wanted of it.

    Attributes:
        remark: What it gives where that is not what was asked for.

    Raises:
        SourceError: There is no such camera, another program has it, or this user may not use it.
    """

    rate: Fraction | None = None
    frame_count_estimate: int | None = None
    duration_seconds: float | None = None
    is_live = True
    is_still = False

    def __init__(self, index: int, request: CameraRequest | None = None) -> None:
        self.name = f"camera {index}"
        request = request or CameraRequest()
        self._index = index
        self._in_use, self._is_closed = threading.Lock(), False
        self._frame_count = 0
        with quiet_opencv():
            self._capture = cv2.VideoCapture(index)
            # One waiting frame, not the driver's four: an old picture is a late one.
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            self._ask_for(request)
            _, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if image is None:
            was_opened = self._capture.isOpened()
            self._capture.release()
            raise SourceError(_why_not(index, was_opened))
        self.size_wh = (image.shape[1], image.shape[0])
        self.remark: str | None = None
        if request != CameraRequest():
            self.remark = _unlike(request, self.name, self.size_wh, self._capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> Frame | None:
        """Waits for the next frame; None only after ``close``.

        Raises:
            SourceError: The camera gives no frames any more.
        """
        with self._in_use:
            frame = None if self._is_closed else self._next()
        if self._is_closed:
            self._release()
        return frame

    def close(self) -> None:
        """Gives the camera back; a read that waits in another thread does it when it returns."""
        self._is_closed = True
        self._release()

    def _ask_for(self, request: CameraRequest) -> None:
        if request == CameraRequest():
            return
        # Raw pictures of any size worth asking for do not pass through USB 2 at full rate. The order is that of the
        # drivers: a format has its sizes, a size its rates.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if request.size_wh is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size_wh[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size_wh[1])
        if request.fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, request.fps)

    def _next(self) -> Frame | None:
        for _ in range(_FAILED_READS_OF_A_LOSS):
            with quiet_opencv():
                has_frame, image = self._capture.read()
            if has_frame:
                frame = Frame(image, self._frame_count, time.monotonic())
                self._frame_count += 1
                return frame
            if self._is_closed:
                return None
            time.sleep(_PAUSE_SECONDS)
        raise SourceError(f"{self.name} gives no frames any more; is it still plugged in?")

    def _release(self) -> None:
        # The driver must not be closed under a thread that waits in it.
        if self._in_use.acquire(blocking=False):
            try:
                self._capture.release()
            finally:
                self._in_use.release()


def _unlike(request: CameraRequest, name: str, size_wh: tuple[int, int], fps: float) -> str | None:
    """What the camera gives if it is not what was asked for; a driver that tells no rate tells 0."""
    has_size = request.size_wh in (None, size_wh)
    has_rate = request.fps is None or not fps > 0 or abs(fps - request.fps) < _SAME_FPS
    if has_size and has_rate:
        return None
    asked = [f"{request.size_wh[0]}x{request.size_wh[1]}"] if request.size_wh and not has_size else []
    asked += [] if has_rate else [f"{request.fps:g} fps"]
    gives = f"{size_wh[0]}x{size_wh[1]}" + (f" at {fps:g} fps" if fps > 0 else "")
    return f"{name} gives {gives}, not {' at '.join(asked)}"


def found_cameras() -> list[int]:
    """The numbers of the cameras there are. Linux lists them; elsewhere the first few are tried, which lights them."""
    if sys.platform.startswith("linux"):
        names = (re.fullmatch(r"video(\d+)", device.name) for device in Path("/dev").glob("video*"))
        return sorted(int(name[1]) for name in names if name and _is_capture_device(int(name[1])))
    return [index for index in _PROBED_INDEXES if _can_be_opened(index)]


def _is_capture_device(index: int) -> bool:
    """Whether this device gives pictures; a webcam's second device gives only data about them."""
    try:
        return Path(f"/sys/class/video4linux/video{index}/index").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return True


def _can_be_opened(index: int) -> bool:
    with quiet_opencv():
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
            "or try another number"
        )
    return f"cannot open camera {index}; is it plugged in, and does no other program use it?"


def _why_not_on_linux(index: int, was_opened: bool) -> str:
    device = Path(f"/dev/video{index}")
    if not device.exists():
        others = [other for other in found_cameras() if other != index]
        found = f"found: {', '.join(map(str, others))}" if others else "none was found; --demo needs none"
        return f"there is no camera {index} ({device}); {found}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"camera {index} may not be used: no permission for {device}; add your user to the group 'video'"
    if was_opened:
        return f"camera {index} ({device}) was opened but gives no picture; is another program using it?"
    return f"cannot open camera {index} ({device}): another program uses it, or it gives no pictures"
