"""The window: pictures in, keys out. OpenCV allows it on the main thread only."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping

import cv2
import numpy as np

from live_cam.errors import DisplayError
from live_cam.native_output import silenced_native_stderr
from live_cam.render.hud import Status, draw_hud, draw_message

_ENDING_KEYS = {ord("q"), ord("Q"), 27}
_LARGEST_FIRST_SIZE_WH = (1280, 800)
_INSTEAD = "give --output FILE with --no-show to write a file instead"


class Window:
    """A window that shows one picture after another.

    Args:
        title: Shown in its bar; also its name for OpenCV.
        environment: The process's environment variables: they say whether there is a screen.

    Raises:
        DisplayError: There is no screen, or this OpenCV has no windows.
    """

    def __init__(self, title: str, environment: Mapping[str, str]) -> None:
        problem = display_problem(environment)
        if problem is not None:
            raise DisplayError(f"cannot open a window: {problem}; {_INSTEAD}")
        self._title = title
        self._canvas: np.ndarray | None = None
        self._is_open = False
        self._was_seen = False

    def show(self, image: np.ndarray, status: Status) -> None:
        """Shows a picture with the state of the run drawn over it.

        Args:
            image: (height, width, 3) uint8, BGR; not changed.
            status: For the HUD; its message alone goes to the middle of the picture.
        """
        if self._canvas is None or self._canvas.shape != image.shape:
            self._canvas = np.empty_like(image)
            if self._is_open:  # a camera's first picture after the card, or one that changed its size
                self._resize(image.shape[1], image.shape[0])
        np.copyto(self._canvas, image)
        if status.message:
            draw_message(self._canvas, status.message)
        else:
            draw_hud(self._canvas, status)
        if not self._is_open:
            self._open(image.shape[1], image.shape[0])
        cv2.imshow(self._title, self._canvas)

    def poll(self, seconds: float, any_key_ends: bool = False) -> bool:
        """Lets the window live for that long; False when the user ended it by q, Esc or the close button."""
        if not self._is_open:
            time.sleep(seconds)
            return True
        key = cv2.waitKey(max(1, round(1000 * seconds)))
        if key != -1 and (any_key_ends or key & 0xFF in _ENDING_KEYS):
            return False
        return not self._was_closed()

    def close(self) -> None:
        """Takes the window away; may be called twice."""
        if self._is_open:
            self._is_open = False
            cv2.destroyAllWindows()
            cv2.waitKey(1)

    def _open(self, width: int, height: int) -> None:
        try:
            # Qt tells of fonts it does not need.
            with silenced_native_stderr():
                # GUI_NORMAL: without it Qt adds a tool bar and prints pixel values over small pictures.
                cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise DisplayError(f"cannot open a window: {str(error).splitlines()[0]}; {_INSTEAD}") from None
        self._resize(width, height)
        self._is_open = True

    def _resize(self, width: int, height: int) -> None:
        share = min(1.0, _LARGEST_FIRST_SIZE_WH[0] / width, _LARGEST_FIRST_SIZE_WH[1] / height)
        cv2.resizeWindow(self._title, round(width * share), round(height * share))

    def _was_closed(self) -> bool:
        try:
            is_visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:  # With its last window OpenCV's Qt is gone, and cannot be asked any more.
            return True
        # Some backends say -1 of an open window: only one that was seen can be closed.
        self._was_seen = self._was_seen or is_visible
        return self._was_seen and not is_visible


def display_problem(environment: Mapping[str, str]) -> str | None:
    """Why there can be no window, in a few words; None if there can.

    Asked before OpenCV is: without a screen Qt does not raise an error but aborts the process.
    """
    if not gui_backend():
        return "this OpenCV has none (opencv-python-headless?); install opencv-python instead"
    if not sys.platform.startswith("linux"):
        return None
    display = environment.get("DISPLAY", "")
    if not display:
        return "there is no screen (DISPLAY is not set)"
    return None if _answers(display) else f"no screen answers at DISPLAY={display}"


def gui_backend() -> str:
    """What draws OpenCV's windows, such as "QT5"; empty if this build has none."""
    lines = [line.strip() for line in cv2.getBuildInformation().splitlines()]
    backend = next((line.partition(":")[2].strip() for line in lines if line.startswith("GUI:")), "")
    return "" if backend == "NONE" else backend


def _answers(display: str) -> bool:
    host, _, number = display.rpartition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return False
    try:
        if host in {"", "unix"}:
            return _connects(socket.AF_UNIX, f"\0/tmp/.X11-unix/X{number}") or _connects(
                socket.AF_UNIX, f"/tmp/.X11-unix/X{number}"
            )
        return _connects(socket.AF_INET, (host, 6000 + int(number)))
    except OSError:
        return False


def _connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(2.0)
        return connection.connect_ex(address) == 0
