"""The window: pictures in, keys out. OpenCV allows it on the main thread only."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping

import cv2
import numpy as np

from live_cam.commands import Action, Command, command_of_key
from live_cam.errors import DisplayError
from live_cam.native_output import silenced_native_stderr
from live_cam.render.hud import Status, draw_hud

_SAME_RATIO = 0.02
_LARGEST_FIRST_SIZE_WH = (1280, 800)
_INSTEAD = "give --output FILE with --no-show to write a file instead"


class Window:
    """A window that shows one picture after another, and tells what its viewer wants.

    Pictures are scaled to the window here, so that what is written over them stays sharp at every size.

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
        self._canvas = np.zeros((0, 0, 3), np.uint8)
        self._picture_xywh = (0.0, 0.0, 1.0, 1.0)
        self._shape_hw = (0, 0)
        self._first_size_wh = _LARGEST_FIRST_SIZE_WH
        self._clicks: list[Command] = []
        self._is_open = False
        self._is_full_screen = False
        self._was_seen = False

    def show(self, image: np.ndarray, status: Status) -> None:
        """Shows a picture with the state of the run drawn over it.

        Args:
            image: (height, width, 3) uint8, BGR; not changed.
            status: For the HUD; its message alone goes to the middle of the picture.
        """
        if not self._is_open:
            self._open()
        if _is_other_shape(image.shape[:2], self._shape_hw):
            self._resize(image.shape[1], image.shape[0])
        self._shape_hw = image.shape[:2]
        self._picture_xywh = self._lay(image)
        draw_hud(self._canvas, status, self._picture_xywh)
        cv2.imshow(self._title, self._canvas)

    def poll(self, seconds: float) -> list[Command]:
        """Lets the window live for that long, or until a key is pressed; what the viewer wants.

        The close button is a wish to quit.
        """
        if not self._is_open:
            time.sleep(seconds)
            return []
        key_command = command_of_key(cv2.waitKeyEx(max(1, round(1000 * seconds))))
        commands = [*self._clicks, *([] if key_command is None else [key_command])]
        self._clicks.clear()
        return [*commands, Command(Action.QUIT)] if self._was_closed() else commands

    def toggle_full_screen(self) -> None:
        """Fills the screen, or no longer."""
        if self._is_open:
            self._is_full_screen = not self._is_full_screen
            mode = cv2.WINDOW_FULLSCREEN if self._is_full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def has_other_size(self) -> bool:
        """Whether the viewer resized it since the last picture, which then is stretched."""
        return self._is_open and self._size_wh() != self._canvas.shape[1::-1]

    def close(self) -> None:
        """Takes the window away; may be called twice."""
        if self._is_open:
            self._is_open = False
            cv2.destroyAllWindows()
            cv2.waitKey(1)

    def _open(self) -> None:
        try:
            # Qt tells of fonts it does not need.
            with silenced_native_stderr():
                # GUI_NORMAL: without it Qt adds a tool bar and prints pixel values over small pictures.
                cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise DisplayError(f"cannot open a window: {str(error).splitlines()[0]}; {_INSTEAD}") from None
        cv2.setMouseCallback(self._title, self._note_click)
        self._is_open = True

    def _resize(self, width: int, height: int) -> None:
        share = min(1.0, _LARGEST_FIRST_SIZE_WH[0] / width, _LARGEST_FIRST_SIZE_WH[1] / height)
        self._first_size_wh = (round(width * share), round(height * share))
        if not self._is_full_screen:
            cv2.resizeWindow(self._title, *self._first_size_wh)

    def _size_wh(self) -> tuple[int, int]:
        """Of the area that shows pictures, in pixels."""
        _, _, width, height = cv2.getWindowImageRect(self._title)
        # Some backends do not know, or not yet.
        return (width, height) if min(width, height) > 1 else self._first_size_wh

    def _lay(self, image: np.ndarray) -> tuple[float, float, float, float]:
        """Lays the picture on the canvas, as large as it can be; where it lies, as fractions."""
        width, height = self._size_wh()
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.zeros((height, width, 3), np.uint8)
        share = min(width / image.shape[1], height / image.shape[0])
        inner_wh = (max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share)))
        left, top = (width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2
        if inner_wh != (width, height):
            # The HUD may lie on the bars.
            self._canvas[:] = 0
        room = self._canvas[top : top + inner_wh[1], left : left + inner_wh[0]]
        if room.shape == image.shape:
            np.copyto(room, image)
        else:
            cv2.resize(image, inner_wh, dst=room, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)
        return left / width, top / height, inner_wh[0] / width, inner_wh[1] / height

    def _note_click(self, event: int, x: int, y: int, flags: int, parameter: object) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            left, top, width, height = self._picture_xywh
            spot_xy = (
                ((x + 0.5) / self._canvas.shape[1] - left) / width,
                ((y + 0.5) / self._canvas.shape[0] - top) / height,
            )
            if all(0 <= at < 1 for at in spot_xy):
                self._clicks.append(Command(Action.SPOT, spot_xy=spot_xy))

    def _was_closed(self) -> bool:
        try:
            is_visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:  # With its last window OpenCV's Qt is gone, and cannot be asked any more.
            return True
        # Some backends say -1 of an open window: only one that was seen can be closed.
        self._was_seen = self._was_seen or is_visible
        return self._was_seen and not is_visible


def _is_other_shape(shape_hw: tuple[int, ...], before_hw: tuple[int, int]) -> bool:
    """Whether pictures have become wider or narrower, or these are the first."""
    return before_hw[0] == 0 or abs(shape_hw[1] / shape_hw[0] - before_hw[1] / before_hw[0]) > _SAME_RATIO


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
