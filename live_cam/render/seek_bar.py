"""The bar that shows where a recording is played, and takes clicks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live_cam.render.text import ACCENT_BGR, BOLD, WHITE_BGR, draw_text, text_width_px

# All relative to the text size.
_HEIGHT, _TRACK_HEIGHT, _MARGIN, _GAP = 1.7, 0.28, 0.8, 0.6
_KNOB_RADIUS, _BASELINE = 0.36, 1.2
_DARKNESS = 0.55
_TRACK_BGR = (120, 120, 120)
# In narrower pictures, only the bar is drawn.
_NARROWEST_WITH_TEXT = 16


@dataclass(frozen=True)
class Position:
    """Where a recording is played.

    Attributes:
        seconds: Time since its beginning.
        duration_seconds: How long it lasts, > 0.
        is_at_end: Whether its last frame is shown.
    """

    seconds: float
    duration_seconds: float
    is_at_end: bool

    @property
    def share(self) -> float:
        """Played part of the duration, in [0, 1]."""
        return 1.0 if self.is_at_end else min(max(self.seconds / self.duration_seconds, 0.0), 1.0)


def seek_bar_height_px(size_px: int) -> int:
    """Returns the height of the bar; clicks count anywhere in it."""
    return round(_HEIGHT * size_px)


def share_at(x_px: float, width_px: int, size_px: int, duration_seconds: float) -> float:
    """Returns the share of the duration that a place in the bar stands for, in [0, 1].

    Args:
        x_px: From the picture's left edge.
        width_px: The picture's width.
        size_px: Height of the text.
        duration_seconds: How long the recording lasts.
    """
    left, right = _track(width_px, size_px, duration_seconds)
    return min(max((x_px - left) / max(right - left, 1), 0.0), 1.0)


def draw_seek_bar(image: np.ndarray, position: Position, size_px: int) -> None:
    """Draws the bar along the bottom edge.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        position: What is drawn.
        size_px: Height of the text.
    """
    height_px = seek_bar_height_px(size_px)
    strip = image[-height_px:]
    cv2.convertScaleAbs(strip, dst=strip, alpha=1 - _DARKNESS)
    left, right = _track(image.shape[1], size_px, position.duration_seconds)
    middle, half = len(strip) // 2, max(1, round(_TRACK_HEIGHT * size_px / 2))
    played = round(left + position.share * (right - left))
    strip[middle - half : middle + half, left:right] = _TRACK_BGR
    strip[middle - half : middle + half, left:played] = ACCENT_BGR
    cv2.circle(strip, (played, middle), max(3, round(_KNOB_RADIUS * size_px)), WHITE_BGR, -1, cv2.LINE_AA)
    if right + size_px < image.shape[1] - round(_MARGIN * size_px):
        text = _text(position.seconds, position.duration_seconds, position.is_at_end)
        x = image.shape[1] - round(_MARGIN * size_px) - text_width_px(text, size_px, BOLD)
        draw_text(strip, text, (x, round(_BASELINE * size_px)), size_px, weight=BOLD, color_bgr=WHITE_BGR)


def _track(width_px: int, size_px: int, duration_seconds: float) -> tuple[int, int]:
    """Returns the first and last column of the bar; the times are at its right, where there is room."""
    margin = round(_MARGIN * size_px)
    if width_px < _NARROWEST_WITH_TEXT * size_px:
        return margin, width_px - margin
    # The bar keeps its length: room for the widest text.
    texts = (_text(duration_seconds, duration_seconds, is_at_end) for is_at_end in (False, True))
    reserved = max(text_width_px(text, size_px, BOLD) for text in texts)
    return margin, width_px - margin - reserved - round(_GAP * size_px)


def _text(seconds: float, duration_seconds: float, is_at_end: bool) -> str:
    return f"{'end' if is_at_end else clock_text(seconds)} / {clock_text(duration_seconds)}"


def clock_text(seconds: float) -> str:
    """Returns a time as on a clock: "0:07", "1:02:03"."""
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
