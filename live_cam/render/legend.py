"""Which colour is weak evidence and which is strong."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from live_cam.render.colormaps import heat_lut
from live_cam.render.text import DIM_BGR, REGULAR, draw_text, open_plate, text_width_px

_BOTTOM_RIGHT_XY = (1.0, 1.0)
_WORDS = ("weak", "strong")
# In parts of the text size.
_BAR_WIDTH, _BAR_HEIGHT = 5.0, 0.42
_PADDING, _GAP = 0.55, 0.45
_HEIGHT = 1.7


def legend_width_px(size_px: int) -> int:
    """How wide the legend is for text of that size."""
    words_px = sum(text_width_px(word, size_px, REGULAR) for word in _WORDS)
    return round(words_px + (_BAR_WIDTH + 2 * _PADDING + 2 * _GAP) * size_px)


def draw_legend(image: np.ndarray, colormap: str, size_px: int) -> None:
    """Draws a strip of the colours from weak to strong, bottom right.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        colormap: One of ``COLORMAPS``.
        size_px: Height of its text.
    """
    height = round(_HEIGHT * size_px)
    plate = open_plate(image, (legend_width_px(size_px), height), _BOTTOM_RIGHT_XY, size_px)
    baseline = round(0.5 * height + 0.36 * size_px)
    x = round(_PADDING * size_px)
    draw_text(plate, _WORDS[0], (x, baseline), size_px, REGULAR, DIM_BGR)
    x += text_width_px(_WORDS[0], size_px, REGULAR) + round(_GAP * size_px)
    strip = _strip(colormap, round(_BAR_WIDTH * size_px), max(4, round(_BAR_HEIGHT * size_px)))
    top = (height - strip.shape[0]) // 2
    room = plate[top : top + strip.shape[0], x : x + strip.shape[1]]
    np.copyto(room, strip[: room.shape[0], : room.shape[1]])
    x += strip.shape[1] + round(_GAP * size_px)
    draw_text(plate, _WORDS[1], (x, baseline), size_px, REGULAR, DIM_BGR)


@lru_cache(maxsize=16)
def _strip(colormap: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, BGR: coldest left."""
    colours = heat_lut(colormap).astype(np.uint8)[np.newaxis]
    return cv2.resize(colours, (width, height), interpolation=cv2.INTER_AREA)
