"""Each key, pressed in a real window, does what the help says, in the window and in the files it makes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import StartLivecam, wait_until
from media_clips import number_of, numbered_image, probe, result_of, write_clip
from x_display import SCREEN_SIZE_WH, click, drag, ended, goes_on, picture_of, press, resize

from live_cam.sinks.video.sink import VideoSink

pytestmark = pytest.mark.screen

# Longer than most notices stay.
REST_SECONDS = 2.0


def settled(display: str) -> np.ndarray:
    """Returns what the window shows once nothing changes any more, not even a notice."""
    shown, since_seconds = picture_of(display), time.monotonic()

    def is_at_rest() -> bool:
        nonlocal shown, since_seconds
        before, shown = shown, picture_of(display)
        if not is_same(shown, before):
            since_seconds = time.monotonic()
        return time.monotonic() - since_seconds > REST_SECONDS

    wait_until(is_at_rest)
    return shown


def seen(display: str, is_so: Callable[[np.ndarray], bool], seconds: float = 30) -> np.ndarray:
    """Returns the first picture in the window for which the condition is true."""
    return wait_until(lambda: [shown for shown in [picture_of(display)] if is_so(shown)], seconds)[0]


def press_each(display: str, *keys: str) -> None:
    """Presses each key after the one before has changed the picture: OpenCV keeps only the last key pressed."""
    for key in keys:
        before = picture_of(display)
        press(display, key)
        seen(display, lambda shown, before=before: not is_same(shown, before))


def is_same(image: np.ndarray, other: np.ndarray) -> bool:
    return image.shape == other.shape and bool((image == other).all())


def middle(image: np.ndarray) -> np.ndarray:
    """Returns the rows that no panel and no notice covers."""
    height = image.shape[0]
    return image[2 * height // 5 : height // 2].astype(int)


def share_of_same(image: np.ndarray, other: np.ndarray) -> float:
    """Returns the share of equal pixels in the middle; 0 if the sizes differ."""
    if image.shape != other.shape:
        return 0.0
    return float((np.abs(middle(image) - middle(other)).max(axis=2) < 8).mean())


def is_like(other: np.ndarray) -> Callable[[np.ndarray], bool]:
    return lambda shown: share_of_same(shown, other) > 0.98


def is_unlike(other: np.ndarray, share: float = 0.98) -> Callable[[np.ndarray], bool]:
    return lambda shown: shown.shape == other.shape and share_of_same(shown, other) < share


def snapshot(display: str, folder: Path) -> dict:
    """Saves a snapshot and returns its JSON."""
    before = set(folder.glob("*.json"))
    press(display, "w")
    (path,) = wait_until(lambda: set(folder.glob("*.json")) - before)
    wait_until(lambda: path.read_text().endswith("}\n"))
    return json.loads(path.read_text())


def is_amber(image: np.ndarray) -> np.ndarray:
    """Returns where the picture has the accent color, (height, width) bool."""
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    return (red > 200) & (green > 150) & (blue < 140) & (red - blue > 100)


def test_keys_change_how_a_picture_looks(open_window: StartLivecam, display: str, photograph_path: Path):
    open_window("--image", photograph_path)
    photograph = cv2.imread(str(photograph_path))
    overlay = seen(display, is_unlike(photograph, 0.9))

    def is_split(shown: np.ndarray) -> bool:
        # The window keeps its size: above the two halves there is nothing.
        height, half = shown.shape[0], shown.shape[1] // 2
        if shown.shape != photograph.shape or shown[: height // 5].max():
            return False
        pair = shown[height // 4 : height - height // 4]
        left, right = pair[:, :half], pair[:, half : 2 * half]
        small_photograph, small_overlay = (
            cv2.resize(image, left.shape[1::-1], interpolation=cv2.INTER_AREA) for image in (photograph, overlay)
        )
        return (
            share_of_same(left[:, 2:-2], small_photograph[:, 2:-2]) > 0.8
            and share_of_same(right[:, 2:-2], small_overlay[:, 2:-2]) > 0.8
        )

    def is_grid(shown: np.ndarray) -> bool:
        # One class: its heat and the photograph, in the middle of the height.
        height, width = shown.shape[:2]
        if shown.shape != photograph.shape:
            return False
        right = shown[height // 4 : height // 4 + height // 2, width // 2 : 2 * (width // 2)]
        expected = cv2.resize(photograph, right.shape[1::-1], interpolation=cv2.INTER_AREA)
        return not shown[height * 4 // 5 :].any() and share_of_same(right[2:-2, 2:-2], expected[2:-2, 2:-2]) > 0.8

    press(display, "v")
    seen(display, is_split)
    press(display, "v")
    seen(display, is_grid)
    press(display, "v")
    # Only colors of the map are left: no fur, which is rough.
    assert roughness(photograph) > 10
    seen(display, lambda shown: shown.shape == photograph.shape and roughness(shown) < 3)
    press(display, "v")
    seen(display, is_like(photograph))
    press(display, "v")
    seen(display, is_like(overlay))

    press(display, "c")
    recolored = seen(display, is_unlike(overlay))
    press_each(display, *["minus"] * 6)
    seen(display, is_like(photograph))
    press_each(display, *["plus"] * 6)
    seen(display, is_like(recolored))


def roughness(image: np.ndarray) -> float:
    return float(cv2.Laplacian(middle(image).astype(np.uint8), cv2.CV_32F).std())


def test_keys_choose_what_is_explained_and_save_it(
    open_window: StartLivecam, display: str, photograph_path: Path, tmp_path: Path
):
    process = open_window("--image", photograph_path, cwd=tmp_path)
    top = settled(display)
    facts = snapshot(display, tmp_path)
    best = [prediction["label"] for prediction in facts["predictions"]]
    assert facts["explained"]["label"] == best[0] == "Egyptian cat"
    assert (facts["method"], facts["layer"], facts["contrast"]) == ("grad-cam", "top_activation", None)
    picture = cv2.imread(str(tmp_path / facts["picture"]))
    assert picture.shape == (300, 451, 3)
    assert share_of_same(picture, top) > 0.98

    def amber_count(shown: np.ndarray) -> int:
        return int(is_amber(shown[-30:, :220]).sum())

    press(display, "n")
    seen(display, is_unlike(top))
    assert snapshot(display, tmp_path)["explained"]["label"] == best[1]
    press(display, "p")
    seen(display, is_like(top))
    seen(display, lambda shown: amber_count(shown) > amber_count(top))  # now it says "locked"
    press(display, "l")
    seen(display, lambda shown: amber_count(shown) == amber_count(top))

    press(display, "x")
    seen(display, is_unlike(top, 0.995))
    assert snapshot(display, tmp_path)["contrast"] == best[1]
    against_second = settled(display)
    press(display, "x")
    seen(display, is_unlike(against_second, 0.995))
    similar = snapshot(display, tmp_path)["contrast"]
    assert similar[0] == best[1]  # the nearest to the top class
    assert len(set(similar)) == 3
    press(display, "x")
    seen(display, is_like(top))
    assert snapshot(display, tmp_path)["contrast"] is None
    assert len(list(tmp_path.iterdir())) == 10  # five pictures, five JSON files
    assert process.poll() is None


def test_another_method_and_layer_are_loaded_while_the_picture_stays(
    open_window: StartLivecam, display: str, photograph_path: Path, tmp_path: Path
):
    process = open_window("--image", photograph_path, cwd=tmp_path)
    first = settled(display)
    press(display, "m")
    # Converted once, which takes seconds; the keys work all the while.
    wait_until(lambda: snapshot(display, tmp_path)["method"] == "grad-cam++", 120)
    other_method = seen(display, is_unlike(first))
    press(display, "bracketleft")
    wait_until(lambda: snapshot(display, tmp_path)["layer"] != "top_activation", 120)
    seen(display, is_unlike(other_method, 0.9))
    press(display, "bracketright")
    wait_until(lambda: snapshot(display, tmp_path)["layer"] == "top_activation", 120)
    seen(display, is_like(other_method))
    press(display, "q")
    assert ended(process)[0] == 0


def test_without_smoothing_fading_evidence_is_drawn_at_full_heat(
    open_window: StartLivecam, display: str, photograph_path: Path, tmp_path: Path
):
    # A cat that fades into gray: the evidence falls. Smoothed heat is drawn weaker; a frame alone has its own maximum.
    photograph = cv2.resize(cv2.imread(str(photograph_path)), (320, 240))
    gray = np.full_like(photograph, 110)
    clip = tmp_path / "clip.mp4"
    with VideoSink(clip, (320, 240), Fraction(25)) as sink:
        for index in range(40):
            share = min(0.85, index / 40)
            sink.write(result_of(cv2.addWeighted(photograph, 1 - share, gray, share, 0), index, index / 25))
        sink.finish()
    # In inferno's colors, brighter is hotter.
    arguments = ("--video", clip, "--view", "heatmap", "--colormap", "inferno", "--target", "Egyptian cat")
    process = open_window(*arguments, cwd=tmp_path)
    smoothed_heat = middle(settled(display)).sum(axis=2).max()
    press(display, "s")
    seen(display, lambda shown: middle(shown).sum(axis=2).max() > smoothed_heat + 40)
    press(display, "q")
    assert ended(process)[0] == 0


def test_f_switches_full_screen_on_and_off(open_window: StartLivecam, display: str, photograph_path: Path):
    process = open_window("--image", photograph_path)
    small = settled(display)
    press(display, "f")

    def is_full_screen(shown: np.ndarray) -> bool:
        # The picture keeps its shape: 451x300 on 1920x1080 leaves bars, but is scaled up.
        return shown.shape[:2] == SCREEN_SIZE_WH[::-1] and abs(shown.mean() - small.mean()) < 60

    seen(display, is_full_screen)
    press(display, "f")
    seen(display, lambda shown: shown.shape == small.shape)
    press(display, "q")
    assert ended(process)[0] == 0


@pytest.mark.parametrize("size_wh", [(300, 300), (1200, 900), SCREEN_SIZE_WH])
def test_whatever_the_keys_show_lies_inside_the_picture(
    open_window: StartLivecam, display: str, photograph_path: Path, size_wh: tuple[int, int]
):
    process = open_window("--image", photograph_path)
    if size_wh == SCREEN_SIZE_WH:
        press(display, "f")
    else:
        resize(display, size_wh)

    def has_black_bars(shown: np.ndarray, aspect_ratio: float = 451 / 300) -> bool:
        """Returns whether everything beside a picture of that shape is black in a window of this size."""
        if shown.shape[1::-1] != size_wh:
            return False
        width, height = size_wh
        left = max(0, int((width - height * aspect_ratio) / 2))
        top = max(0, int((height - width / aspect_ratio) / 2))
        bars = [shown[:top], shown[height - top :], shown[:, :left], shown[:, width - left :]]
        return top + left > 20 and not any(bar.any() for bar in bars)

    before = seen(display, has_black_bars)
    for key in ("h", "h", "i", "i", "i"):
        press(display, key)
        before = seen(display, lambda shown, before=before: not is_same(shown, before))
        assert has_black_bars(before)
    click(display, size_wh[0] // 2, size_wh[1] // 2)
    assert has_black_bars(seen(display, lambda shown: not is_same(shown, before)))
    if size_wh == SCREEN_SIZE_WH:  # a smaller window gets another shape
        press(display, "v")
        seen(display, lambda shown: has_black_bars(shown, 2 * 451 / 300))
    press(display, "q")
    assert ended(process)[0] == 0


def test_help_figures_and_spots_are_drawn_over_the_picture(
    open_window: StartLivecam, display: str, photograph_path: Path
):
    # The photograph has no amber, as the heat has.
    process = open_window("--image", photograph_path, "--view", "original")
    few = settled(display)

    def changes(shown: np.ndarray) -> np.ndarray:
        """Returns where the picture differs from the first one, (height, width) bool."""
        return (shown != few).any(axis=2)

    press(display, "h")
    seen(display, lambda shown: is_amber(shown[:150]).sum() > 100)  # where few figures have none
    press(display, "h")
    seen(display, lambda shown: is_same(shown, few))

    press(display, "i")
    seen(display, lambda shown: changes(shown)[:120, :220].any() and not changes(shown)[170:].any())
    press(display, "i")
    # The classes are gone.
    seen(display, lambda shown: share_of_same(shown, few) == 1 and changes(shown)[-40:, :200].any())
    press(display, "i")
    seen(display, lambda shown: is_same(shown, few))

    def marks_the_spot(shown: np.ndarray) -> bool:
        rows, columns = np.nonzero(changes(shown) & is_amber(shown))
        return rows.size > 0 and (columns.mean(), rows.mean()) == pytest.approx((300, 130), abs=6)

    click(display, 300, 130)
    seen(display, marks_the_spot)
    click(display, 301, 130)
    seen(display, lambda shown: is_same(shown, few))

    # None of the keys so far has ended it; a key without a meaning does.
    assert goes_on(process, 0.2)
    press(display, "F5")
    assert ended(process)[0] == 0


def test_a_frozen_video_stands_still_and_can_be_recolored(open_window: StartLivecam, display: str, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200, size_wh=(320, 240))
    process = open_window("--video", clip, "--loop", "--view", "original", cwd=tmp_path)
    wait_until(lambda: not is_same(picture_of(display), picture_of(display)))  # it plays
    press(display, "space")
    frozen = settled(display)
    assert is_amber(frozen[:40]).any()  # "frozen"
    press_each(display, "v", "v", "v")
    heatmap = seen(display, is_unlike(frozen, 0.5))
    press(display, "c")
    seen(display, is_unlike(heatmap, 0.9))
    press(display, "space")
    wait_until(lambda: not is_same(picture_of(display), picture_of(display)))
    press(display, "q")
    assert ended(process)[0] == 0


def test_a_recording_is_as_long_as_the_time_between_the_two_keys(
    open_window: StartLivecam, display: str, tmp_path: Path
):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200, size_wh=(320, 240))
    process = open_window("--video", clip, "--loop", "--view", "original", cwd=tmp_path)

    def is_marked() -> bool:
        corner = picture_of(display)[:40, -100:].astype(int)
        return bool((corner[..., 2] - corner[..., 1] > 120).any())

    assert not is_marked()
    # A key takes effect at some time while it is being pressed, which takes long on a busy machine.
    began_seconds = [time.monotonic()]
    press(display, "r")
    began_seconds.append(time.monotonic())
    wait_until(is_marked)
    time.sleep(2.0)  # how long it is recorded
    ended_seconds = [time.monotonic()]
    press(display, "r")
    ended_seconds.append(time.monotonic())
    wait_until(lambda: not is_marked())
    wait_until(lambda: any("partial" not in path.name for path in tmp_path.glob("livecam-*.mp4")))
    press(display, "q")
    code, printed, _ = ended(process)
    (recorded,) = tmp_path.glob("livecam-*.mp4")
    assert code == 0
    assert recorded.name in printed
    shortest_seconds, longest_seconds = ended_seconds[0] - began_seconds[1], ended_seconds[1] - began_seconds[0]
    assert shortest_seconds - 0.8 < float(probe(recorded)["duration"]) < longest_seconds + 0.8
    # The panels in the window are not recorded; the numbered bars are, from edge to edge.
    _, image = cv2.VideoCapture(str(recorded)).read()
    assert image.shape == (240, 320, 3)
    assert set(np.unique(np.round(image[120, 20::40, 1] / 50.0))) <= {1.0, 4.0}
    assert np.unique(numbered_image(5)).tolist() == [50, 200]


def test_a_recording_is_played_from_any_place_frame_by_frame_and_again(
    open_window: StartLivecam, display: str, tmp_path: Path
):
    # Ten seconds: the numbers that can be read from a picture end at 255.
    clip = write_clip(tmp_path / "clip.mp4", frame_count=250, size_wh=(320, 240))
    process = open_window("--video", clip, "--view", "original")

    def number() -> int:
        return number_of(cv2.resize(picture_of(display), (320, 240)))

    wait_until(lambda: 3 < number() < 100)  # keys count once it plays
    press(display, "comma")
    first = number_of(cv2.resize(settled(display), (320, 240)))
    for key, expected in (("comma", first - 1), ("period", first), ("period", first + 1), ("Right", first + 126),
                          ("Left", first + 1)):  # fmt: skip
        press(display, key)
        wait_until(lambda expected=expected: number() == expected)
    height, width = picture_of(display).shape[:2]
    # The bar ends before the times at its right: half of it is left of the picture's middle.
    click(display, width * 2 // 5, height - 6)
    wait_until(lambda: 100 < number() < 160)
    drag(display, (width // 4, height - 6), (width * 2 // 5, height // 2))
    wait_until(lambda: 100 < number() < 160)
    drag(display, (width * 2 // 5, height - 6), (width // 5, height - 6))
    wait_until(lambda: 20 < number() < 100)
    press(display, "Right")
    press(display, "Right")
    wait_until(lambda: number() >= 225)
    press(display, "space")
    wait_until(lambda: number() == 249)
    assert goes_on(process, 1.0)
    press(display, "space")
    wait_until(lambda: number() < 200)
    press(display, "q")
    assert ended(process)[0] == 0
