"""The window of a camera while it is being opened, while it is offline, and when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import StartLivecam, wait_until
from stream_servers import MjpegServer, counted_image
from x_display import ended, picture_of, press

pytestmark = pytest.mark.screen
BLUE_BGR = np.uint8([200, 60, 30])


def blue_image(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    image = np.full((size_wh[1], size_wh[0], 3), BLUE_BGR)
    image[:16] = counted_image(number, (size_wh[0], 16))
    return image


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(size_wh=(640, 480)) as running:
        running.make_image = blue_image
        yield running


def colorfulness(picture: np.ndarray) -> float:
    """Returns the mean saturation of what is shown, 0..255."""
    return float(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1].mean())


def test_an_outage_is_shown_as_a_gray_card_until_it_ends(open_window: StartLivecam, display: str, server: MjpegServer):
    process = open_window("--video", server.url, "--view", "original")
    wait_until(lambda: colorfulness(picture_of(display)) > 100)
    server.is_stalled = True
    wait_until(lambda: colorfulness(picture_of(display)) < 5, 10)
    card = picture_of(display)
    assert card.shape[:2] == (480, 640)
    assert np.median(card) < 60
    assert (card[180:300] > 200).any()  # the text
    wait_until(lambda: (picture_of(display)[180:300] != card[180:300]).any(), 5)  # it counts the seconds
    server.is_stalled = False
    wait_until(lambda: colorfulness(picture_of(display)) > 100, 10)
    server.go_offline()
    wait_until(lambda: colorfulness(picture_of(display)) < 5, 10)
    press(display, "q")
    code, _, errors = ended(process)
    assert code == 0
    assert len(errors.splitlines()) == 3  # lost, back, lost


def test_a_recording_stays_marked_while_its_source_is_offline_and_help_can_be_read(
    open_window: StartLivecam, display: str, server: MjpegServer, tmp_path: Path
):
    def is_marked(picture: np.ndarray) -> bool:
        corner = picture[:40, -100:].astype(int)
        return bool((corner[..., 2] - corner[..., 1] > 120).any())

    def is_offline(picture: np.ndarray) -> bool:
        return colorfulness(picture[-200:]) < 5

    process = open_window("--video", server.url, "--view", "original", cwd=tmp_path)
    wait_until(lambda: not is_offline(picture_of(display)))
    press(display, "r")
    wait_until(lambda: is_marked(picture_of(display)))
    server.is_stalled = True
    wait_until(lambda: is_offline(picture_of(display)), 10)
    assert is_marked(picture_of(display))
    press(display, "h")
    wait_until(lambda: not is_marked(picture_of(display)), 10)  # the help is shown alone
    press(display, "h")
    wait_until(lambda: is_marked(picture_of(display)), 10)
    press(display, "r")
    wait_until(lambda: not is_marked(picture_of(display)), 10)
    assert is_offline(picture_of(display))
    press(display, "q")
    assert ended(process)[0] == 0
    assert list(tmp_path.glob("livecam-*.mp4"))


def test_the_window_opens_before_the_camera(open_window: StartLivecam, display: str, server: MjpegServer):
    server.go_offline()
    process = open_window("--video", server.url, "--view", "original", "--retry", "forever", prepared=False)
    assert colorfulness(picture_of(display)) < 5
    server.size_wh = (480, 640)
    server.go_online()
    wait_until(lambda: colorfulness(picture_of(display)) > 100, 30)
    wait_until(lambda: picture_of(display).shape[:2] == (640, 480))
    press(display, "q")
    assert ended(process)[0] == 0


def test_q_ends_the_wait_for_a_camera(open_window: StartLivecam, display: str, server: MjpegServer):
    server.go_offline()
    process = open_window("--video", server.url, "--retry", "forever", prepared=False)
    press(display, "q")
    code, _, errors = ended(process)
    assert (code, errors) == (0, "")
