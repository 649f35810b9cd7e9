"""The window, drawn by OpenCV: images in, keys and clicks out. OpenCV allows it on the main thread only."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping

import cv2
import numpy as np

from live_cam.errors import DisplayError
from live_cam.render.hud import Status, draw_hud, hud_text_size_px
from live_cam.render.letterbox import letterbox
from live_cam.render.seek_bar import Position, seek_bar_height_px, share_at
from live_cam.viewers.commands import Action, Command, command_of_key
from live_cam.viewers.protocol import Viewer

_SAME_RATIO = 0.02
_LARGEST_FIRST_SIZE_WH = (1280, 800)
_INSTEAD = "give --output FILE with --no-show to write a file instead"


class Window(Viewer):
    """A window that shows one image after another.

    Images are scaled to the window here, so that text over them is sharp at every size.

    Args:
        name: Its name in OpenCV; also its first title.
        environment: The process's environment variables: they tell whether there is a screen.

    Raises:
        DisplayError: There is no screen, or this OpenCV has no windows.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        problem = display_problem(environment)
        if problem is not None:
            raise DisplayError(f"cannot open a window: {problem}; {_INSTEAD}")
        self._name = self._title = name
        self._canvas = np.zeros((0, 0, 3), np.uint8)
        # Where the image lies on the canvas, as fractions.
        self._image_xywh = (0.0, 0.0, 1.0, 1.0)
        # Of the last image that the window was fitted to; it keeps its size once explanations are shown.
        self._shape_hw = (0, 0)
        self._has_shown_explanation = False
        self._position: Position | None = None
        self._is_dragging = False
        self._first_size_wh = _LARGEST_FIRST_SIZE_WH
        self._clicks: list[Command] = []
        self._is_open = False
        self._is_full_screen = False
        self._was_seen = False

    def show(self, image: np.ndarray, status: Status) -> None:
        """See ``Viewer``."""
        if not self._is_open:
            self._open()
        if not self._has_shown_explanation and _is_other_shape(image.shape[:2], self._shape_hw):
            self._shape_hw = image.shape[:2]
            self._resize(image.shape[1], image.shape[0])
        self._has_shown_explanation = self._has_shown_explanation or status.explanation is not None
        self._position = status.position
        width, height = self._size_wh()
        self._canvas, (left, top, inner_width, inner_height) = letterbox(image, (width, height), self._canvas)
        self._image_xywh = (left / width, top / height, inner_width / width, inner_height / height)
        draw_hud(self._canvas, status, self._image_xywh)
        cv2.imshow(self._name, self._canvas)

    def poll(self, seconds: float) -> list[Command]:
        """See ``Viewer``; the close button is a command to quit."""
        if not self._is_open:
            time.sleep(seconds)
            return []
        key_command = command_of_key(cv2.waitKeyEx(max(1, round(1000 * seconds))))
        commands = [*self._clicks, *([] if key_command is None else [key_command])]
        self._clicks.clear()
        return [*commands, Command(Action.QUIT)] if self._was_closed() else commands

    def set_title(self, title: str) -> None:
        """See ``Viewer``."""
        if title != self._title and self._is_open:
            self._title = title
            cv2.setWindowTitle(self._name, title)

    def toggle_full_screen(self) -> None:
        """See ``Viewer``."""
        if self._is_open:
            self._is_full_screen = not self._is_full_screen
            mode = cv2.WINDOW_FULLSCREEN if self._is_full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._name, cv2.WND_PROP_FULLSCREEN, mode)

    def has_other_size(self) -> bool:
        """See ``Viewer``."""
        return self._is_open and self._size_wh() != self._canvas.shape[1::-1]

    def close(self) -> None:
        """Closes this window, and no other one of the process; may be called twice."""
        if self._is_open:
            self._is_open = False
            # OpenCV's Qt counts its windows and ends with the last: one that the user closed must not count twice.
            if not self._was_closed():
                cv2.destroyWindow(self._name)
            cv2.waitKey(1)

    def _open(self) -> None:
        try:
            # GUI_NORMAL: without it Qt adds a tool bar and prints pixel values over small images.
            cv2.namedWindow(self._name, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise DisplayError(f"cannot open a window: {str(error).splitlines()[0]}; {_INSTEAD}") from None
        cv2.setMouseCallback(self._name, self._note_mouse)
        self._is_open = True

    def _resize(self, width: int, height: int) -> None:
        share = min(1.0, _LARGEST_FIRST_SIZE_WH[0] / width, _LARGEST_FIRST_SIZE_WH[1] / height)
        self._first_size_wh = (round(width * share), round(height * share))
        if not self._is_full_screen:
            cv2.resizeWindow(self._name, *self._first_size_wh)

    def _size_wh(self) -> tuple[int, int]:
        """Returns the size of the image area in pixels."""
        _, _, width, height = cv2.getWindowImageRect(self._name)
        # Some backends do not know, or not yet.
        return (width, height) if min(width, height) > 1 else self._first_size_wh

    def _note_mouse(self, event: int, x: int, y: int, flags: int, parameter: object) -> None:
        height, width = self._canvas.shape[:2]
        left, top, inner_width, inner_height = (
            share * side for share, side in zip(self._image_xywh, (width, height, width, height), strict=True)
        )
        size_px = hud_text_size_px((round(inner_height), round(inner_width)))
        if event == cv2.EVENT_LBUTTONDOWN:
            is_inside = left <= x < left + inner_width and top <= y < top + inner_height
            bar_top = top + inner_height - seek_bar_height_px(size_px)
            self._is_dragging = is_inside and self._position is not None and y >= bar_top
            if is_inside and not self._is_dragging:
                spot_xy = ((x + 0.5 - left) / inner_width, (y + 0.5 - top) / inner_height)
                self._clicks.append(Command(Action.SPOT, spot_xy=spot_xy))
        if self._is_dragging and self._position is not None and event in (cv2.EVENT_LBUTTONDOWN, cv2.EVENT_MOUSEMOVE):
            share = share_at(x - left, round(inner_width), size_px, self._position.duration_seconds)
            # Of a drag only the newest place counts.
            self._clicks = [click for click in self._clicks if click.action is not Action.POSITION]
            self._clicks.append(Command(Action.POSITION, position=share))
        if event == cv2.EVENT_LBUTTONUP:
            self._is_dragging = False

    def _was_closed(self) -> bool:
        try:
            is_visible = cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:  # With its last window OpenCV's Qt is gone, and cannot be asked any more.
            return True
        # Some backends say -1 of an open window: only one that was seen can be closed.
        self._was_seen = self._was_seen or is_visible
        return self._was_seen and not is_visible


def _is_other_shape(shape_hw: tuple[int, ...], before_hw: tuple[int, int]) -> bool:
    """Returns whether images have become wider or narrower, or these are the first."""
    return before_hw[0] == 0 or abs(shape_hw[1] / shape_hw[0] - before_hw[1] / before_hw[0]) > _SAME_RATIO


def display_problem(environment: Mapping[str, str]) -> str | None:
    """Returns why there can be no window, in a few words; None if there can.

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
    """Returns the library that draws OpenCV's windows, such as "QT5"; an empty text if this build has none."""
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
