"""The table of keys, over the picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from live_cam.commands import KEY_ROWS, KeyRow
from live_cam.render.text import ACCENT_BGR, BOLD, REGULAR, WHITE_BGR, draw_text, open_plate, shortened, text_width_px

_CENTRE_XY = (0.5, 0.5)
_DARKNESS = 0.82
_SMALLEST_SIZE_PX = 9

# In parts of the text size.
_ROW_HEIGHT, _BASELINE = 1.55, 1.12
_PADDING_X, _PADDING_Y = 1.3, 0.9
_GAP = 1.2


def draw_help_card(image: np.ndarray, size_px: int) -> None:
    """Draws what each key does, in the middle, in text that is as small as it must be.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        size_px: Height of the text, where there is room.
    """
    rows = shown_rows(image.shape[0])
    while size_px > _SMALLEST_SIZE_PX and not _fits(_size_wh(rows, size_px), image.shape):
        size_px -= 1
    width, height = _size_wh(rows, size_px)
    plate = open_plate(image, (min(width, image.shape[1]), height), _CENTRE_XY, size_px, _DARKNESS)
    left, top = round(_PADDING_X * size_px), round(_PADDING_Y * size_px)
    text_left = left + _keys_width_px(rows, size_px) + round(_GAP * size_px)
    for number, row in enumerate(rows):
        baseline = top + round((number * _ROW_HEIGHT + _BASELINE) * size_px)
        draw_text(plate, row.shown, (left, baseline), size_px, BOLD, ACCENT_BGR)
        does = shortened(row.does, plate.shape[1] - text_left - size_px // 2, size_px, REGULAR)
        draw_text(plate, does, (text_left, baseline), size_px, REGULAR, WHITE_BGR)


def shown_rows(height: int) -> tuple[KeyRow, ...]:
    """The rows that a picture of that height has room for, in the smallest text that can be read."""
    room = height / _SMALLEST_SIZE_PX - 2 * _PADDING_Y
    return KEY_ROWS[: max(1, int(room / _ROW_HEIGHT))]


def _fits(size_wh: tuple[int, int], image_shape: tuple[int, ...]) -> bool:
    return size_wh[0] <= image_shape[1] and size_wh[1] <= image_shape[0]


@lru_cache(maxsize=64)
def _size_wh(rows: tuple[KeyRow, ...], size_px: int) -> tuple[int, int]:
    does_px = max(text_width_px(row.does, size_px, REGULAR) for row in rows)
    width = _keys_width_px(rows, size_px) + does_px + round((2 * _PADDING_X + _GAP) * size_px)
    return width, round((len(rows) * _ROW_HEIGHT + 2 * _PADDING_Y) * size_px)


def _keys_width_px(rows: tuple[KeyRow, ...], size_px: int) -> int:
    return max(text_width_px(row.shown, size_px, BOLD) for row in rows)
