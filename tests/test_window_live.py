"""What a viewer of a camera sees: that it is being opened, that it is away, and that it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from stream_servers import MjpegServer, counted_image
from test_window import display, ended, picture_of, press, started, started_and_seen, wait_until  # noqa: F401

pytestmark = pytest.mark.screen
BLUE_BGR = np.uint8([200, 60, 30])


def blue_image(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    image = np.full((size_wh[1], size_wh[0], 3), BLUE_BGR)
    image[:16] = counted_image(number, (size_wh[0], 16))
    return image


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(size_wh=(640, 480)) as running:
        running.picture = blue_image
        yield running


def colourfulness(picture: np.ndarray) -> float:
    """Mean saturation of what is shown, 0..255."""
    return float(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1].mean())


def test_an_outage_is_a_grey_picture_with_a_card_and_ends_by_itself(started, display: str, server: MjpegServer):  # noqa: F811
    process = started_and_seen(started, display, "--video", server.url, "--view", "original")
    wait_until(lambda: colourfulness(picture_of(display)) > 100)
    server.is_stalled = True
    wait_until(lambda: colourfulness(picture_of(display)) < 5, 10)
    card = picture_of(display)
    assert card.shape[:2] == (480, 640)
    assert np.median(card) < 60
    assert (card[180:300] > 200).any()  # the text
    time.sleep(1.1)
    assert (picture_of(display)[180:300] != card[180:300]).any()  # it counts the seconds
    server.is_stalled = False
    wait_until(lambda: colourfulness(picture_of(display)) > 100, 10)
    server.go_offline()
    wait_until(lambda: colourfulness(picture_of(display)) < 5, 10)
    press(display, "q")
    code, _, errors = ended(process)
    assert code == 0
    assert len(errors.splitlines()) == 3  # lost, back, lost


def test_the_window_is_there_before_the_camera(started, display: str, server: MjpegServer):  # noqa: F811
    server.go_offline()
    process = started_and_seen(started, display, "--video", server.url, "--view", "original", "--retry", "forever")
    assert colourfulness(picture_of(display)) < 5
    server.size_wh = (480, 640)
    server.go_online()
    wait_until(lambda: colourfulness(picture_of(display)) > 100, 30)
    wait_until(lambda: picture_of(display).shape[:2] == (640, 480))
    press(display, "q")
    assert ended(process)[0] == 0


def test_q_ends_the_wait_for_a_camera(started, display: str, server: MjpegServer):  # noqa: F811
    server.go_offline()
    process = started_and_seen(started, display, "--video", server.url, "--retry", "forever")
    press(display, "q")
    code, _, errors = ended(process)
    assert (code, errors) == (0, "")
