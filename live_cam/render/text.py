"""Text on a dark, see-through plate: readable on any picture, at any size."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np

WHITE_BGR = (255, 255, 255)
DIM_BGR = (205, 205, 205)
ACCENT_BGR = (92, 196, 255)
RECORDING_BGR = (70, 70, 255)

REGULAR = 400
MEDIUM = 500
BOLD = 600

_LONGEST_TEXT = 200

# In parts of the text size.
_PADDING_X = 0.5
_PADDING_Y = 0.3
_LINE_HEIGHT = 1.3
_BASELINE = 0.98
_MARGIN = 0.5
_TAIL_GAP = 0.45
_CORNER_RADIUS = 0.35

# OpenCV's font engine is one for the whole process and mixes up glyphs when two threads draw at once.
_FONT_LOCK = threading.Lock()


@dataclass(frozen=True)
class TextLine:
    """One line of a plate.

    Attributes:
        text: What it says; shortened with an ellipsis where it does not fit.
        tail: What follows, never shortened.
        weight: Of the text, 100 (thin) to 1000 (black); the tail is ``MEDIUM``.
        color_bgr: Of both.
        relative_size: Of both, 1 = the plate's text size.
    """

    text: str
    tail: str = ""
    weight: int = MEDIUM
    color_bgr: tuple[int, int, int] = WHITE_BGR
    relative_size: float = 1.0


def text_size_px(image_shape: tuple[int, ...]) -> int:
    """Height of text, in pixels, for a picture: 13 at 176x144, 20 at 640x480, 32 at 1080p, 53 at 4K."""
    return round(10 + 0.02 * min(image_shape[:2]))


def printable(text: str) -> str:
    """The text on one line, without what no font can show; half a surrogate pair would crash OpenCV."""
    return " ".join("".join(one if one.isprintable() else " " for one in text[:_LONGEST_TEXT]).split())


@lru_cache(maxsize=1024)
def text_width_px(text: str, size_px: int, weight: int) -> int:
    """How far the text reaches, in pixels."""
    with _FONT_LOCK:
        return cv2.getTextSize((0, 0), text, (0, 0), _font(), size_px, weight)[2]


@lru_cache(maxsize=256)
def shortened(text: str, width_px: int, size_px: int, weight: int) -> str:
    """The text, or its longest beginning that fits the width with an ellipsis behind it."""
    if text_width_px(text, size_px, weight) <= width_px:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if text_width_px(text[:middle].rstrip() + "…", size_px, weight) <= width_px:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def draw_plate(
    image: np.ndarray,
    lines: Sequence[TextLine],
    position_xy: tuple[float, float],
    size_px: int | None = None,
) -> None:
    """Draws lines of text on a plate just large enough for them.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        lines: From top to bottom.
        position_xy: Where in the picture, each 0..1: (0, 1) is bottom left, (0.5, 0.5) the middle.
        size_px: Height of the text; None = what suits the picture.
    """
    size_px = size_px or text_size_px(image.shape)
    room_px = int(image.shape[1] - 2 * size_px * (_MARGIN + _PADDING_X))
    fitted = [_Fitted.of(line, size_px, room_px) for line in lines]
    width = max(one.width_px for one in fitted) + 2 * round(_PADDING_X * size_px)
    height = sum(one.height_px for one in fitted) + 2 * round(_PADDING_Y * size_px)
    plate = open_plate(image, (width, height), position_xy, size_px)
    top = round(_PADDING_Y * size_px)
    for one in fitted:
        one.draw(plate, round(_PADDING_X * size_px), top)
        top += one.height_px


def open_plate(
    image: np.ndarray, size_wh: tuple[int, int], position_xy: tuple[float, float], size_px: int, darkness: float = 0.6
) -> np.ndarray:
    """Lays an empty plate on a picture.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        size_wh: Of the plate, in pixels.
        position_xy: Where in the picture, each 0..1: (0, 1) is bottom left, (0.5, 0.5) the middle.
        size_px: Height of the text that will stand on it; margin and corners are of its measure.
        darkness: How little of the picture shows through, 0..1.

    Returns:
        The part of ``image`` that it lies on, to be drawn into; smaller where the picture is.
    """
    plate = _cut_out(image, size_wh, position_xy, round(_MARGIN * size_px))
    keep = _plate_keep(*size_wh, round(_CORNER_RADIUS * size_px), darkness)[: plate.shape[0], : plate.shape[1]]
    cv2.multiply(plate, keep, dst=plate, scale=1 / 255)
    return plate


def draw_text(
    image: np.ndarray,
    text: str,
    left_baseline_xy: tuple[int, int],
    size_px: int,
    weight: int = MEDIUM,
    color_bgr: tuple[int, int, int] = WHITE_BGR,
) -> None:
    """Writes one line of ``printable`` text straight into a picture, (height, width, 3) uint8, BGR."""
    with _FONT_LOCK:
        cv2.putText(image, text, left_baseline_xy, color_bgr, _font(), size_px, weight)


@dataclass(frozen=True)
class _Fitted:
    """A line that fits its plate."""

    line: TextLine
    text: str
    tail: str
    size_px: int
    tail_x_px: int
    width_px: int

    @staticmethod
    def of(line: TextLine, plate_size_px: int, room_px: int) -> _Fitted:
        """Shortens the line's text until the line fits the room."""
        size_px = max(round(line.relative_size * plate_size_px), 11)
        tail = printable(line.tail)
        gap_px = round(_TAIL_GAP * size_px) if tail else 0
        tail_px = text_width_px(tail, size_px, MEDIUM)
        text = shortened(printable(line.text), room_px - tail_px - gap_px, size_px, line.weight)
        tail_x_px = text_width_px(text, size_px, line.weight) + gap_px
        return _Fitted(line, text, tail, size_px, tail_x_px, tail_x_px + tail_px)

    @property
    def height_px(self) -> int:
        return round(_LINE_HEIGHT * self.size_px)

    def draw(self, plate: np.ndarray, x: int, top: int) -> None:
        baseline = top + round(_BASELINE * self.size_px)
        for text, text_x, weight in ((self.text, x, self.line.weight), (self.tail, x + self.tail_x_px, MEDIUM)):
            draw_text(plate, text, (text_x, baseline), self.size_px, weight, self.line.color_bgr)


def _cut_out(
    image: np.ndarray, size_wh: tuple[int, int], position_xy: tuple[float, float], margin_px: int
) -> np.ndarray:
    """The part of the picture that a plate of that size lies on; smaller where the picture is."""
    left, top = (
        max(0, min(round(margin_px + (side - size - 2 * margin_px) * share), side - size))
        for side, size, share in zip(image.shape[1::-1], size_wh, position_xy, strict=True)
    )
    return image[top : top + size_wh[1], left : left + size_wh[0]]


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=64)
def _plate_keep(width: int, height: int, radius: int, darkness: float) -> np.ndarray:
    """How much of the picture shows through the plate: (height, width, 3) uint8, in 255ths, corners antialiased."""
    x, y = (np.abs(np.arange(side) + 0.5 - side / 2) - (side / 2 - radius) for side in (width, height))
    from_corner = np.hypot(np.maximum(x, 0), np.maximum(y, 0)[:, np.newaxis])
    covered = np.clip(radius + 0.5 - from_corner, 0, 1)
    keep = np.rint(255 * (1 - darkness * covered)).astype(np.uint8)
    return cv2.cvtColor(keep, cv2.COLOR_GRAY2BGR)
