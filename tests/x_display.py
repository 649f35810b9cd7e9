"""An X display of the tests' own, and what a user does and sees there."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from conftest import environment_with, running, wait_until

SCREEN_SIZE_WH = (1920, 1080)
_PROGRAMS = ("Xvfb", "openbox", "xdotool", "ffmpeg")


@contextlib.contextmanager
def opened_display() -> Iterator[str]:
    """Starts an X server with a window manager, and gives the display's name.

    Without a window manager, one of five of Qt's windows stays black, plain ``cv2.imshow``'s too.
    """
    if not all(map(shutil.which, _PROGRAMS)):
        pytest.skip(f"{', '.join(_PROGRAMS)} are not all installed")
    reading, writing = os.pipe()
    size = "{}x{}x24".format(*SCREEN_SIZE_WH)
    # Without -noreset it starts anew when its last client leaves, and refuses those that come just then.
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
    with running(command, pass_fds=[writing], stderr=subprocess.DEVNULL):
        os.close(writing)
        with os.fdopen(reading) as ready:
            display = f":{ready.readline().strip()}"
        with running(["openbox"], env=environment_with({"DISPLAY": display}), stderr=subprocess.DEVNULL):
            wait_until(lambda: xdotool(display, "get_num_desktops") not in ("", "0"))
            yield display


def xdotool(display: str, *arguments: str) -> str:
    done = subprocess.run(
        ["xdotool", *arguments], env=environment_with({"DISPLAY": display}), capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def window_id(display: str) -> str:
    """Returns the window's number once it is on the screen."""
    return wait_until(lambda: xdotool(display, "search", "--onlyvisible", "--name", "livecam|CAM").partition("\n")[0])


def title_of_window(display: str) -> str:
    return xdotool(display, "getwindowname", window_id(display))


def picture_of(display: str) -> np.ndarray:
    """Returns what the window shows, (height, width, 3) uint8, BGR."""
    return wait_until(lambda: _grabbed(display, window_id(display)), 10)[0]


def wait_for_picture(display: str, process: subprocess.Popen[str]) -> None:
    """Waits until the window is painted.

    One of hundreds of Qt's windows, plain ``cv2.imshow``'s too, never learns that it is on the screen and stays black.
    It learns it when it is put there once more.
    """
    told_again_seconds = time.monotonic() + 10

    def is_painted() -> bool:
        nonlocal told_again_seconds
        if picture_of(display).any():
            return True
        if time.monotonic() > told_again_seconds:
            number, told_again_seconds = window_id(display), math.inf
            xdotool(display, "windowunmap", "--sync", number, "windowmap", "--sync", number)
        return False

    wait_until(is_painted, process=process)


def _grabbed(display: str, number: str) -> list[np.ndarray]:
    """Returns the window's picture; empty if the window changes its size at this moment."""
    # Otherwise ffmpeg looks at the stream for half a second first.
    at_once = ["-probesize", "32", "-framerate", "1000"]
    command = ["ffmpeg", "-v", "error", "-f", "x11grab", *at_once, "-draw_mouse", "0", "-window_id", number]
    command += ["-i", display, "-frames:v", "1", "-f", "image2pipe", "-c:v", "bmp", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    return [cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR)] if done.stdout else []


def press(display: str, key: str) -> None:
    xdotool(display, "windowfocus", "--sync", window_id(display))
    xdotool(display, "key", key)


def resize(display: str, size_wh: tuple[int, int]) -> None:
    """Gives the window another size, as its user does by pulling at its edge."""
    xdotool(display, "windowsize", window_id(display), *map(str, size_wh))


def click(display: str, x: int, y: int) -> None:
    """Presses the left button at a place in the window."""
    xdotool(display, "mousemove", "--window", window_id(display), str(x), str(y), "click", "1")


def drag(display: str, begin_xy: tuple[int, int], end_xy: tuple[int, int]) -> None:
    """Moves the mouse from one place in the window to another with the left button down."""
    number = window_id(display)
    begin, end = ([*map(str, xy)] for xy in (begin_xy, end_xy))
    xdotool(display, "mousemove", "--window", number, *begin, "mousedown", "1")
    xdotool(display, "mousemove", "--window", number, *end, "sleep", "0.1", "mouseup", "1")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Returns the exit code, standard output and standard error."""
    printed, errors = process.communicate(timeout=20)
    return process.returncode, printed, errors


def goes_on(process: subprocess.Popen[str], seconds: float) -> bool:
    """Returns whether the process still runs after that many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
