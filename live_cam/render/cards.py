"""Images and messages of viewers without a frame, while a source is opened or offline."""

from __future__ import annotations

import cv2
import numpy as np

_OPENING_SIZE_WH = (640, 480)
_OPENING_GRAY = 32
_OFFLINE_BRIGHTNESS = 0.4
# Waiting times below this are not shown.
_LONG_SECONDS = 3


def opening_image() -> np.ndarray:
    """Returns the image that is shown until a source gives its first frame: (480, 640, 3) uint8, BGR."""
    return np.full((_OPENING_SIZE_WH[1], _OPENING_SIZE_WH[0], 3), _OPENING_GRAY, np.uint8)


def opening_message(waited_seconds: float) -> str:
    """Returns what is shown until a source gives its first frame, with the waiting time from 3 s on."""
    return "opening" + (f", {duration_text(waited_seconds)} so far" if waited_seconds >= _LONG_SECONDS else "")


def offline_image(last_image: np.ndarray) -> np.ndarray:
    """Returns the last image, dark and gray, so that nobody takes it for a live one.

    Args:
        last_image: (height, width, 3) uint8, BGR; not changed.

    Returns:
        A new (height, width, 3) uint8 BGR image.
    """
    gray = cv2.convertScaleAbs(cv2.cvtColor(last_image, cv2.COLOR_BGR2GRAY), alpha=_OFFLINE_BRIGHTNESS)
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def offline_message(offline_seconds: float) -> str:
    """Returns what is shown while a source is offline, with the time since its last frame."""
    return f"offline for {duration_text(offline_seconds)}"


def duration_text(seconds: float) -> str:
    """Returns a duration in words: "12 s", "3 min", "2 h 5 min"."""
    minutes = int(seconds) // 60
    if minutes == 0:
        return f"{int(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
