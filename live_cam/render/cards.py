"""What a window shows where there is no picture: a source that is being opened, or that is away."""

from __future__ import annotations

import cv2
import numpy as np

from live_cam.render.text import BOLD, DIM_BGR, TextLine, draw_plate

_CENTRE_XY = (0.5, 0.5)
_EMPTY_SIZE_WH = (640, 480)
_EMPTY_GREY = 32
_BRIGHTNESS_OF_THE_PAST = 0.4
_NAME_SIZE = 0.78
_LONG_SECONDS = 3


def opening_card(name: str, waited_seconds: float) -> np.ndarray:
    """The picture before the first one: (480, 640, 3) uint8, BGR.

    Args:
        name: Of the source.
        waited_seconds: Since it is being opened; told when it takes long.
    """
    image = np.full((_EMPTY_SIZE_WH[1], _EMPTY_SIZE_WH[0], 3), _EMPTY_GREY, np.uint8)
    waited = f" since {duration_text(waited_seconds)}" if waited_seconds >= _LONG_SECONDS else ""
    _draw_lines(image, f"opening{waited}", name)
    return image


def offline_card(last_image: np.ndarray, name: str, away_seconds: float) -> np.ndarray:
    """The last picture, dark and without its colours, so that nobody takes it for the present one.

    Args:
        last_image: (height, width, 3) uint8, BGR.
        name: Of the source.
        away_seconds: Since the last picture.

    Returns:
        (height, width, 3) uint8, BGR, a new array.
    """
    grey = cv2.convertScaleAbs(cv2.cvtColor(last_image, cv2.COLOR_BGR2GRAY), alpha=_BRIGHTNESS_OF_THE_PAST)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    _draw_lines(image, f"offline since {duration_text(away_seconds)} - trying again", name)
    return image


def duration_text(seconds: float) -> str:
    """As people say it: "12 s", "3 min", "2 h 5 min"."""
    minutes = int(seconds) // 60
    if minutes == 0:
        return f"{int(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _draw_lines(image: np.ndarray, text: str, name: str) -> None:
    lines = [TextLine(text, weight=BOLD), TextLine(name, color_bgr=DIM_BGR, relative_size=_NAME_SIZE)]
    draw_plate(image, lines, _CENTRE_XY)
