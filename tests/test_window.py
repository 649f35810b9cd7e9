"""The window on a real X display: what it shows, how fast, and how it is ended."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import StartLivecam, environment_with, line_count, wait_until
from media_clips import number_of, numbered_image, probe, write_clip
from x_display import ended, goes_on, picture_of, press, resize, window_id, xdotool

from live_cam.errors import DisplayError
from live_cam.viewers.window import Window, display_problem, gui_backend


@pytest.mark.screen
@pytest.mark.parametrize("key", ["q", "Escape", "shift+q"])
def test_a_key_ends_the_demo(open_window: StartLivecam, display: str, key: str):
    process = open_window("--demo")
    press(display, "x")
    assert goes_on(process, 0.5)
    press(display, key)
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert " frames, " in printed


@pytest.mark.screen
def test_the_close_button_ends_the_demo(open_window: StartLivecam, display: str):
    process = open_window("--demo")
    xdotool(display, "key", "alt+F4")  # openbox takes it for a press of the button
    code, _, errors = ended(process)
    assert (code, errors) == (0, "")


@pytest.mark.screen
def test_an_image_stays_until_any_key_without_another_meaning(
    open_window: StartLivecam, display: str, photograph_path: Path
):
    process = open_window("--image", photograph_path)
    assert goes_on(process, 2.0)
    press(display, "space")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert "Egyptian cat" in printed


@pytest.mark.screen
def test_the_window_shows_the_image_and_the_head_up_display(
    open_window: StartLivecam, display: str, photograph_path: Path
):
    process = open_window("--image", photograph_path, "--view", "original")
    photograph = cv2.imread(str(photograph_path))
    height, width = photograph.shape[:2]
    wait_until(lambda: picture_of(display).shape == photograph.shape)

    def share_of_same_pixels() -> float:
        shown = picture_of(display)
        close = np.abs(shown.astype(int) - photograph).max(axis=2) < 8
        return close[height // 3 : 2 * height // 3].mean()

    wait_until(lambda: share_of_same_pixels() > 0.98)
    shown = picture_of(display)
    title = xdotool(display, "getwindowname", window_id(display))
    assert title == f"{photograph_path.name} – EfficientNet-Lite0 – Grad-CAM"
    # The classes are drawn over the bottom; a single image has no frame rate to show at the top.
    assert (np.abs(shown.astype(int) - photograph).max(axis=2) > 40)[-height // 4 :].any()
    press(display, "q")
    assert ended(process)[0] == 0


@pytest.mark.screen
def test_the_head_up_display_is_not_written(
    open_window: StartLivecam, display: str, photograph_path: Path, tmp_path: Path
):
    output = tmp_path / "cat.png"
    process = open_window("--image", photograph_path, "--view", "original", "--output", output, "--show")
    wait_until(output.exists)  # it has its final name before the user presses a key
    assert goes_on(process, 0.5)
    press(display, "q")
    assert ended(process)[0] == 0
    photograph, recorded = cv2.imread(str(photograph_path)), cv2.imread(str(output))
    differs = (recorded != photograph).any(axis=2)
    # Only the caption, which lies along one edge, is drawn into it: a quarter of the height at most.
    rows = np.flatnonzero(differs.any(axis=1))
    assert 0 < rows[-1] - rows[0] < photograph.shape[0] / 4


@pytest.mark.screen
def test_a_video_plays_at_its_own_speed_and_its_last_frame_stays(
    open_window: StartLivecam, display: str, tmp_path: Path
):
    # 3 s: the machine explains far more than 25 frames of this size in a second.
    clip = write_clip(tmp_path / "clip.mp4", frame_count=75, size_wh=(320, 240))
    sidecar = ["--sidecar", tmp_path / "s.jsonl", "--overwrite"]
    process = open_window("--video", clip, "--view", "original", *sidecar, "--show")
    seen_seconds = time.monotonic()
    wait_until((tmp_path / "s.jsonl").exists)  # the job has ended, the sidecar has its final name
    # Part of the three seconds had passed before the window was seen; without pacing, none would be left.
    assert 0.7 < time.monotonic() - seen_seconds < 8

    def number_on_screen() -> int:
        shown = picture_of(display)
        return number_of(cv2.resize(shown, (320, 240)))

    wait_until(lambda: number_on_screen() == 74)
    assert goes_on(process, 1.0)
    press(display, "space")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert printed.startswith("75 frames, ")


@pytest.mark.screen
def test_q_in_the_middle_of_a_video_leaves_the_output_unfinished(
    open_window: StartLivecam, display: str, tmp_path: Path
):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=1000, size_wh=(320, 240), options={"preset": "ultrafast"})
    output, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    sidecar = ("--sidecar", tmp_path / "s.jsonl")
    process = open_window("--video", clip, "--output", output, "--show", *sidecar, prepared=False)
    wait_until(lambda: line_count(tmp_path / "s.partial.jsonl"), process=process)
    press(display, "q")
    code, printed, errors = ended(process)
    assert (code, errors) == (0, "")
    assert str(partial) in printed
    assert not output.exists()
    assert 0 < int(probe(partial)["nb_read_packets"]) < 1000


@pytest.mark.screen
def test_a_looped_video_starts_again_at_its_end(open_window: StartLivecam, display: str, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=10)
    process = open_window("--video", clip, "--loop")
    assert goes_on(process, 1.5)
    press(display, "q")
    code, printed, _ = ended(process)
    assert code == 0
    assert int(printed.split()[0]) > 20  # 10 frames are over in 0.4 s


@pytest.mark.screen
def test_the_window_shows_the_first_frame_while_the_model_is_prepared(
    open_window: StartLivecam, display: str, tmp_path: Path
):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=10, size_wh=(320, 240))
    # The cache is empty: TensorFlow is loaded and the model converted meanwhile.
    process = open_window("--video", clip, cache=tmp_path / "cold", prepared=False)
    shown = picture_of(display)
    # Frame 0 has dark bars only; the message is written over its middle.
    assert np.median(shown) == pytest.approx(np.median(numbered_image(0)), abs=4)
    assert shown.max() > 200
    # In a window of another shape, the picture keeps its own.
    resize(display, (300, 300))
    wait_until(lambda: not picture_of(display)[:30].any())
    press(display, "q")
    code, printed, _ = ended(process)
    assert code == 0
    assert printed.startswith("0 frames")


BESIDE_ANOTHER_WINDOW = """
import os, sys
import cv2, numpy as np
from live_cam.render.hud import Status
from live_cam.viewers.window import Window

picture = np.zeros((100, 200, 3), np.uint8)
cv2.namedWindow("of the host")
cv2.imshow("of the host", picture)
window = Window("livecam", os.environ)
window.show(picture, Status())
window.poll(0.1)
print("open", flush=True)
if sys.stdin.readline() == "wait\\n":
    while not window.poll(0.01):
        pass
window.close()
window.close()
print("closed", cv2.getWindowProperty("of the host", cv2.WND_PROP_VISIBLE), flush=True)
sys.stdin.readline()
"""


@pytest.mark.screen
@pytest.mark.parametrize("closed_by", ["the program", "the user"])
def test_closing_a_window_leaves_other_windows_of_the_process_open(display: str, closed_by: str):
    def count_of(name: str) -> int:
        return len(xdotool(display, "search", "--onlyvisible", "--name", name).splitlines())

    with subprocess.Popen(
        [sys.executable, "-c", BESIDE_ANOTHER_WINDOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment_with({"DISPLAY": display}),
    ) as process:
        assert process.stdout.readline() == "open\n"
        wait_until(lambda: (count_of("of the host"), count_of("livecam")) == (1, 1))
        process.stdin.write("close\n" if closed_by == "the program" else "wait\n")
        process.stdin.flush()
        if closed_by == "the user":
            xdotool(display, "windowfocus", "--sync", window_id(display))
            xdotool(display, "key", "alt+F4")
        assert process.stdout.readline() == "closed 1.0\n"
        wait_until(lambda: count_of("livecam") == 0)
        assert count_of("of the host") == 1
        process.communicate("\n", timeout=20)
    assert process.returncode == 0


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
