"""Each key, pressed in a real window, does what the help says: seen on the screen and in the files it makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import environment_with
from media_clips import numbered_image, probe, result_of, write_clip
from test_window import (  # noqa: F401 — fixtures
    SCREEN_SIZE_WH,
    display,
    ended,
    is_over,
    picture_of,
    press,
    started,
    started_and_seen,
    wait_until,
    window_id,
    xdotool,
)

from live_cam.sinks.video import VideoSink

pytestmark = pytest.mark.screen

Start = Callable[..., Any]


def settled(display: str) -> np.ndarray:  # noqa: F811
    """What is on the screen when nothing changes any more: notices go after less than two seconds."""
    before, since_seconds = picture_of(display), time.monotonic()
    deadline_seconds = time.monotonic() + 30
    while time.monotonic() - since_seconds < 2.0:
        assert time.monotonic() < deadline_seconds, "the picture does not come to rest"
        time.sleep(0.2)
        shown = picture_of(display)
        if shown.shape != before.shape or (shown != before).any():
            before, since_seconds = shown, time.monotonic()
    return before


def middle(image: np.ndarray) -> np.ndarray:
    """The part that no panel lies on."""
    height = image.shape[0]
    return image[2 * height // 5 : height // 2].astype(int)


def share_of_same(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.abs(middle(one) - middle(other)).max(axis=2) < 8).mean())


def after(display: str, *keys: str) -> np.ndarray:  # noqa: F811
    for key in keys:
        press(display, key)
        time.sleep(0.1)
    return settled(display)


def snapshot(display: str, folder: Path) -> dict:  # noqa: F811
    """What the next snapshot's JSON says."""
    before = set(folder.glob("*.json"))
    press(display, "w")
    wait_until(lambda: bool(set(folder.glob("*.json")) - before))
    path = min(set(folder.glob("*.json")) - before)
    wait_until(lambda: path.read_text().endswith("}\n"))
    return json.loads(path.read_text())


def is_amber(image: np.ndarray) -> np.ndarray:
    """Where something has the accent colour."""
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    return (red > 200) & (green > 150) & (blue < 140) & (red - blue > 100)


def test_keys_change_how_a_picture_looks(started: Start, display: str, photograph_path: Path):  # noqa: F811
    started_and_seen(started, display, "--image", photograph_path)
    photograph = cv2.imread(str(photograph_path))
    wait_until(lambda: picture_of(display).shape == photograph.shape)
    overlay = settled(display)
    assert share_of_same(overlay, photograph) < 0.9

    split = after(display, "v")
    assert split.shape[1] / split.shape[0] == pytest.approx(2 * 451 / 300, rel=0.02)
    left, right = split[:, : split.shape[1] // 2], split[:, split.shape[1] // 2 :]
    assert share_of_same(left[:, :449], cv2.resize(photograph, left.shape[1::-1])[:, :449]) > 0.95
    assert share_of_same(right[:, 2:450], cv2.resize(overlay, right.shape[1::-1])[:, 2:450]) > 0.9

    heatmap = after(display, "v")
    assert heatmap.shape == photograph.shape
    # Only colours of the map are left: no fur, which is rough.
    assert cv2.Laplacian(middle(heatmap).astype(np.uint8), cv2.CV_32F).std() < 3
    assert cv2.Laplacian(middle(photograph).astype(np.uint8), cv2.CV_32F).std() > 10

    assert share_of_same(after(display, "v"), photograph) > 0.98
    assert share_of_same(after(display, "v"), overlay) > 0.98

    recoloured = after(display, "c")
    assert 1 - share_of_same(recoloured, overlay) > 0.02
    assert share_of_same(after(display, *["minus"] * 6), photograph) > 0.98
    assert share_of_same(after(display, *["plus"] * 6), recoloured) > 0.98


def test_keys_choose_what_is_explained_and_save_it(
    started: Start,  # noqa: F811
    display: str,  # noqa: F811
    photograph_path: Path,
    tmp_path: Path,
):
    process = started_and_seen(started, display, "--image", photograph_path, cwd=tmp_path)
    top = settled(display)
    facts = snapshot(display, tmp_path)
    best = [one["label"] for one in facts["predictions"]]
    assert facts["explained"]["label"] == best[0] == "Egyptian cat"
    assert (facts["method"], facts["layer"], facts["contrast"]) == ("grad-cam", "top_activation", None)
    picture = cv2.imread(str(tmp_path / facts["picture"]))
    assert picture.shape == (300, 451, 3)
    assert share_of_same(picture, top) > 0.98

    second = after(display, "n")
    assert snapshot(display, tmp_path)["explained"]["label"] == best[1]
    assert share_of_same(second, top) < 0.98
    press(display, "p")
    back = settled(display)
    assert share_of_same(back, top) > 0.98
    assert is_amber(back[-30:, :220]).sum() > is_amber(top[-30:, :220]).sum()  # now it says "locked"
    released = after(display, "l")
    assert is_amber(released[-30:, :220]).sum() == is_amber(top[-30:, :220]).sum()

    against = after(display, "x")
    assert snapshot(display, tmp_path)["contrast"] == best[1]
    assert share_of_same(against, top) < 0.995
    press(display, "x")
    assert share_of_same(settled(display), top) > 0.98
    assert len(list(tmp_path.iterdir())) == 6  # three pictures, three JSON files
    assert process.poll() is None


@pytest.mark.slow
def test_a_method_and_a_layer_are_prepared_while_the_picture_stays(
    started: Start,  # noqa: F811
    display: str,  # noqa: F811
    photograph_path: Path,
    tmp_path: Path,
):
    process = started_and_seen(started, display, "--image", photograph_path, cwd=tmp_path)
    first = settled(display)
    press(display, "m")
    # Converted once, which takes seconds; the keys work all the while.
    wait_until(lambda: snapshot(display, tmp_path)["method"] == "grad-cam++", timeout_seconds=120)
    other_method = settled(display)
    assert share_of_same(other_method, first) < 0.98
    press(display, "bracketleft")
    wait_until(lambda: snapshot(display, tmp_path)["layer"] != "top_activation", timeout_seconds=120)
    assert share_of_same(settled(display), other_method) < 0.9
    press(display, "bracketright")
    wait_until(lambda: snapshot(display, tmp_path)["layer"] == "top_activation", timeout_seconds=120)
    assert share_of_same(settled(display), other_method) > 0.98
    press(display, "q")
    assert ended(process)[0] == 0


def test_without_smoothing_fading_evidence_is_drawn_at_full_heat(
    started: Start,  # noqa: F811
    display: str,  # noqa: F811
    photograph_path: Path,
    tmp_path: Path,
):
    # A cat that fades into grey: what speaks for it falls, and so does the smoothed heat, but not a frame's own.
    photograph = cv2.resize(cv2.imread(str(photograph_path)), (320, 240))
    grey = np.full_like(photograph, 110)
    clip = tmp_path / "clip.mp4"
    with VideoSink(clip, (320, 240), Fraction(25)) as sink:
        for index in range(40):
            share = min(0.85, index / 40)
            sink.write(result_of(cv2.addWeighted(photograph, 1 - share, grey, share, 0), index, index / 25))
        sink.finish()
    # In inferno's colours, brighter is hotter.
    arguments = ("--video", clip, "--view", "heatmap", "--colormap", "inferno", "--target", "Egyptian cat")
    process = started_and_seen(started, display, *arguments, cwd=tmp_path)
    smoothed_heat = middle(settled(display)).sum(axis=2).max()
    press(display, "s")
    assert middle(settled(display)).sum(axis=2).max() > smoothed_heat + 40
    press(display, "q")
    assert ended(process)[0] == 0


@pytest.mark.skipif(shutil.which("openbox") is None, reason="needs openbox: only a window manager makes a window full")
def test_f_fills_the_screen_and_gives_it_back(started: Start, display: str, photograph_path: Path):  # noqa: F811
    with subprocess.Popen(["openbox"], env=environment_with({"DISPLAY": display})) as manager:
        try:
            process = started_and_seen(started, display, "--image", photograph_path)
            small = settled(display)
            press(display, "f")
            wait_until(lambda: picture_of(display).shape[:2] == SCREEN_SIZE_WH[::-1])
            full = settled(display)
            # The picture keeps its shape: 451x300 on 1280x800 or the like leaves bars or none, but is scaled up.
            assert np.abs(cv2.resize(full, (45, 30)).astype(int).mean() - small.mean()) < 60
            press(display, "f")
            wait_until(lambda: picture_of(display).shape == small.shape)
            press(display, "q")
            assert ended(process)[0] == 0
        finally:
            manager.terminate()


def test_help_figures_and_clicks_are_drawn_over_the_picture(started: Start, display: str, photograph_path: Path):  # noqa: F811
    process = started_and_seen(started, display, "--image", photograph_path)
    few = settled(display)
    with_help = after(display, "h")
    across = with_help.shape[1] // 4
    assert is_amber(with_help[:, across : 2 * across]).sum() > 200
    assert (after(display, "h") == few).all()

    changed = (after(display, "i") != few).any(axis=2)
    assert changed[:120, :220].any()
    assert not changed[150:].any()
    nothing = after(display, "i")
    assert share_of_same(nothing, few) == 1
    changed = (nothing != few).any(axis=2)
    assert changed[-40:, :200].any()  # the classes are gone
    assert (after(display, "i") == few).all()

    xdotool(display, "mousemove", "--window", window_id(display), "300", "130", "click", "1")
    with_spot = settled(display)
    rows, columns = np.nonzero((with_spot != few).any(axis=2) & is_amber(with_spot))
    assert (columns.mean(), rows.mean()) == pytest.approx((300, 130), abs=6)
    xdotool(display, "mousemove", "--window", window_id(display), "301", "130", "click", "1")
    assert (settled(display) == few).all()

    # Not one of the keys so far has ended it; one that means nothing does.
    assert not is_over(process, after_seconds=0.2)
    press(display, "F5")
    assert ended(process)[0] == 0


def test_a_frozen_film_stands_still_and_is_recoloured(started: Start, display: str, tmp_path: Path):  # noqa: F811
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200, size_wh=(320, 240))
    process = started_and_seen(started, display, "--video", clip, "--loop", "--view", "original", cwd=tmp_path)
    wait_until(lambda: (picture_of(display) != picture_of(display)).any())  # it plays
    frozen = after(display, "space")
    time.sleep(0.5)
    assert (picture_of(display) == frozen).all()
    assert is_amber(frozen[:40]).any()  # "frozen"
    heatmap = after(display, "v", "v", "v")
    assert share_of_same(heatmap, frozen) < 0.5
    assert share_of_same(after(display, "c"), heatmap) < 0.9
    press(display, "space")
    wait_until(lambda: (picture_of(display) != picture_of(display)).any())
    press(display, "q")
    assert ended(process)[0] == 0


def test_a_recording_plays_and_lasts_as_long_as_it_was_made(started: Start, display: str, tmp_path: Path):  # noqa: F811
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200, size_wh=(320, 240))
    process = started_and_seen(started, display, "--video", clip, "--loop", "--view", "original", cwd=tmp_path)

    def is_marked() -> bool:
        corner = picture_of(display)[:40, -100:].astype(int)
        return bool((corner[..., 2] - corner[..., 1] > 120).any())

    assert not is_marked()
    press(display, "r")
    began_seconds = time.monotonic()
    wait_until(is_marked)
    time.sleep(2.0)
    lasted_seconds = time.monotonic() - began_seconds
    press(display, "r")
    wait_until(lambda: not is_marked())
    wait_until(lambda: any("partial" not in one.name for one in tmp_path.glob("livecam-*.mp4")))
    press(display, "q")
    code, printed, _ = ended(process)
    (film,) = tmp_path.glob("livecam-*.mp4")
    assert code == 0
    assert film.name in printed
    assert float(probe(film)["duration"]) == pytest.approx(lasted_seconds, abs=0.8)
    # The panels in the window are not in the film: the numbered bars are, from edge to edge.
    _, image = cv2.VideoCapture(str(film)).read()
    assert image.shape == (240, 320, 3)
    assert set(np.unique(np.round(image[120, 20::40, 1] / 50.0))) <= {1.0, 4.0}
    assert np.unique(numbered_image(5)).tolist() == [50, 200]
