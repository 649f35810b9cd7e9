"""The window on a real X display: what it shows, how fast, and how it is ended."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import environment_with, livecam_command
from media_clips import number_of, numbered_image, probe, write_clip

from live_cam.errors import DisplayError
from live_cam.sinks.window import Window, display_problem, gui_backend

SCREEN_SIZE_WH = (1024, 768)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X display of our own: a real one would show the tests to whoever sits there."""
    if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
        pytest.skip("Xvfb and xdotool are not installed")
    reading, writing = os.pipe()
    size = "{}x{}x24".format(*SCREEN_SIZE_WH)
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as ready:
            number = ready.readline().strip()
        yield f":{number}"
        server.terminate()


def environment_on(display: str) -> dict[str, str]:
    # Fewer windows stay black this way, see started_and_seen.
    return environment_with({"DISPLAY": display, "QT_X11_NO_MITSHM": "1"})


@pytest.fixture
def started(display: str, warm_cache: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts livecam on the display, and ends it after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object, cache: Path | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
        own_cache = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
        process = subprocess.Popen(
            livecam_command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_on(display) | own_cache,
            cwd=cwd,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def xdotool(display: str, *arguments: str) -> str:
    done = subprocess.run(
        ["xdotool", *arguments], env=environment_with({"DISPLAY": display}), capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def window_id(display: str) -> str:
    """The window's number, once it is on the screen."""
    # While windows come and go, one search may find none.
    for _ in range(10):
        found = xdotool(display, "search", "--sync", "--onlyvisible", "--name", "livecam").splitlines()
        if found:
            return found[0]
        time.sleep(0.2)
    pytest.fail("there is no window")


def screenshot(display: str) -> np.ndarray:
    """(height, width, 3) uint8, BGR: what a viewer sees."""
    size = "{}x{}".format(*SCREEN_SIZE_WH)
    command = ["ffmpeg", "-v", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size", size, "-i", display]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(SCREEN_SIZE_WH[1], SCREEN_SIZE_WH[0], 3)


def picture_of(display: str) -> np.ndarray:
    """The window's part of the screen."""
    lines = xdotool(display, "getwindowgeometry", "--shell", window_id(display)).splitlines()
    geometry = {name: int(value) for name, _, value in (line.partition("=") for line in lines)}
    left, top = geometry["X"], geometry["Y"]
    return screenshot(display)[top : top + geometry["HEIGHT"], left : left + geometry["WIDTH"]]


def wait_until(is_so: Callable[[], bool], timeout_seconds: float = 30) -> None:
    deadline_seconds = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < deadline_seconds, "it did not happen"
        time.sleep(0.05)


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("room_for_the_union", ctypes.c_byte * 192),
    ]


def press_close_button(display: str) -> None:
    """Sends what a window manager sends when the button is pressed; there is none here to draw one."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols = x11.XInternAtom(connection, b"WM_PROTOCOLS", 0)
    delete = x11.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
    client_message, number = 33, int(window_id(display))
    message = _ClientMessage(client_message, 0, 1, None, number, protocols, 32, (ctypes.c_long * 5)(delete, 0))
    x11.XSendEvent(connection, ctypes.c_ulong(number), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(connection)


def press(display: str, key: str) -> None:
    xdotool(display, "windowfocus", "--sync", window_id(display))
    xdotool(display, "key", key)


def started_and_seen(
    start: Callable[..., subprocess.Popen[str]],
    display: str,
    *arguments: object,
    cache: Path | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Starts livecam until its window is painted.

    On an X server without a window manager Qt now and then never paints a window, with nothing but OpenCV's
    ``imshow`` in the process either: that is not what these tests are about.
    """
    for _ in range(6):
        process = start(*arguments, cache=cache, cwd=cwd)
        window_id(display)
        painted_until_seconds = time.monotonic() + 1.5
        while time.monotonic() < painted_until_seconds:
            if screenshot(display).any():
                return process
            time.sleep(0.1)
        process.kill()
        process.wait()
    pytest.fail("the window is black six times in a row")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    printed, errors = process.communicate(timeout=20)
    return process.returncode, printed, errors


def is_over(process: subprocess.Popen[str], after_seconds: float) -> bool:
    time.sleep(after_seconds)
    return process.poll() is not None


@pytest.mark.screen
@pytest.mark.parametrize("key", ["q", "Escape", "shift+q"])
def test_a_key_ends_the_demo(started, display: str, key: str):
    process = started("--demo")
    window_id(display)
    time.sleep(0.5)
    press(display, "x")
    assert not is_over(process, after_seconds=0.5)
    press(display, key)
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert " frames, " in printed


@pytest.mark.screen
def test_the_close_button_ends_the_demo(started, display: str):
    process = started("--demo")
    window_id(display)
    time.sleep(1.0)
    press_close_button(display)
    code, _, errors = ended(process)
    assert (code, errors) == (0, "")


@pytest.mark.screen
def test_a_picture_stays_until_any_key(started, display: str, photograph_path: Path):
    process = started("--image", photograph_path)
    window_id(display)
    assert not is_over(process, after_seconds=2.0)
    press(display, "space")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert "Egyptian cat" in printed


@pytest.mark.screen
def test_the_screen_shows_the_picture_and_the_hud(started, display: str, photograph_path: Path):
    process = started_and_seen(started, display, "--image", photograph_path, "--view", "original")
    photograph = cv2.imread(str(photograph_path))
    height, width = photograph.shape[:2]
    wait_until(lambda: picture_of(display).shape == photograph.shape)

    def share_of_same_pixels() -> float:
        shown = picture_of(display)
        close = np.abs(shown.astype(int) - photograph).max(axis=2) < 8
        return close[height // 3 : 2 * height // 3].mean()

    wait_until(lambda: share_of_same_pixels() > 0.98)
    shown = picture_of(display)
    # The classes are drawn over the bottom; of one picture there is no speed to tell at the top.
    assert (np.abs(shown.astype(int) - photograph).max(axis=2) > 40)[-height // 4 :].any()
    press(display, "q")
    assert ended(process)[0] == 0


@pytest.mark.screen
def test_the_hud_is_not_recorded(started, display: str, photograph_path: Path, tmp_path: Path):
    output = tmp_path / "cat.png"
    process = started("--image", photograph_path, "--view", "original", "--output", output, "--show")
    wait_until(output.exists)  # it has its name before the viewer presses a key
    assert not is_over(process, after_seconds=0.5)
    press(display, "q")
    assert ended(process)[0] == 0
    photograph, recorded = cv2.imread(str(photograph_path)), cv2.imread(str(output))
    differs = (recorded != photograph).any(axis=2)
    # Only the caption, which lies along one edge, is drawn into it: a quarter of the height at most.
    rows = np.flatnonzero(differs.any(axis=1))
    assert 0 < rows[-1] - rows[0] < photograph.shape[0] / 4


@pytest.mark.screen
def test_a_film_plays_at_its_own_speed_and_its_last_frame_stays(started, display: str, tmp_path: Path):
    # 3 s: the machine explains far more than 25 frames of this size in a second.
    clip = write_clip(tmp_path / "clip.mp4", frame_count=75, size_wh=(320, 240))
    sidecar = ["--sidecar", tmp_path / "s.jsonl", "--overwrite"]
    process = started_and_seen(started, display, "--video", clip, "--view", "original", *sidecar, "--show")
    seen_seconds = time.monotonic()
    wait_until((tmp_path / "s.jsonl").exists)  # the run is over, the sidecar has its name
    # A part of the three seconds had gone before the window was seen; without pacing there would be none left.
    assert 0.7 < time.monotonic() - seen_seconds < 8

    def number_on_screen() -> int:
        shown = picture_of(display)
        return number_of(cv2.resize(shown, (320, 240)))

    wait_until(lambda: number_on_screen() == 74)
    assert not is_over(process, after_seconds=1.0)
    press(display, "space")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert printed.startswith("75 frames, ")


@pytest.mark.screen
def test_q_in_the_middle_of_a_film_leaves_the_output_unfinished(started, display: str, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=3000, size_wh=(320, 240))
    output, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    process = started("--video", clip, "--output", output, "--show")
    window_id(display)
    time.sleep(0.5)
    press(display, "q")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert str(partial) in printed
    assert not output.exists()
    assert 0 < int(probe(partial)["nb_read_packets"]) < 3000


@pytest.mark.screen
def test_a_looped_film_goes_on(started, display: str, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=10)
    process = started("--video", clip, "--loop")
    window_id(display)
    assert not is_over(process, after_seconds=1.5)
    press(display, "q")
    code, printed, _ = ended(process)
    assert code == 0
    assert int(printed.split()[0]) > 20  # 10 frames are over in 0.4 s


@pytest.mark.screen
def test_the_window_shows_raw_pictures_while_the_model_is_prepared(started, display: str, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=10, size_wh=(320, 240))
    # The cache is cold: TensorFlow is loaded and the model converted while we look.
    process = started_and_seen(started, display, "--video", clip, cache=tmp_path / "cold")
    shown = picture_of(display)
    # Frame 0 has dark bars only; the message is written over its middle.
    assert np.median(shown) == pytest.approx(np.median(numbered_image(0)), abs=4)
    assert shown.max() > 200
    press(display, "q")
    code, printed, _ = ended(process)
    assert code == 0
    assert printed.startswith("0 frames")


def test_this_opencv_has_windows_and_says_which():
    build = next(line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:"))
    assert gui_backend()
    assert gui_backend() in build


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks X11, which Linux has")
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "DISPLAY is not set"),
        ({"DISPLAY": ""}, "DISPLAY is not set"),
        ({"DISPLAY": ":4711"}, "no screen answers at DISPLAY=:4711"),
        ({"DISPLAY": "nonsense"}, "no screen answers at DISPLAY=nonsense"),
        ({"DISPLAY": "localhost:4711.0"}, "no screen answers at DISPLAY=localhost:4711.0"),
    ],
)
def test_a_window_without_a_screen_is_refused_before_opencv_would_abort(environment: dict[str, str], words: str):
    assert words in display_problem(environment)
    with pytest.raises(DisplayError, match=f"cannot open a window: .*{words}.*--output"):
        Window("title", environment)


@pytest.mark.screen
def test_a_screen_that_answers_is_no_problem(display: str):
    assert display_problem({"DISPLAY": display}) is None
    assert display_problem({"DISPLAY": f"{display}.0"}) is None
