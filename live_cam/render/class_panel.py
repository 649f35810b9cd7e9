"""The best classes with a bar each: the window's own, richer caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from live_cam.frame import Explanation, Prediction
from live_cam.render.caption import has_evidence, score_text
from live_cam.render.colormaps import CLASS_COLOURS_BGR
from live_cam.render.text import (
    ACCENT_BGR,
    BOLD,
    DIM_BGR,
    REGULAR,
    WHITE_BGR,
    draw_text,
    open_plate,
    printable,
    shortened,
    text_width_px,
)

_BOTTOM_LEFT_XY = (0.0, 1.0)
_MOST_ROWS = 5
_BAR_COUNT = 3
# Of the picture's height, for more than one row.
_MOST_HEIGHT = 0.42
_EMPTY_BAR_BGR = (95, 95, 95)
_FULL_BAR_BGR = (190, 190, 190)

# In parts of the text size.
_WIDTH = 15.0
_PADDING_X, _PADDING_Y = 0.75, 0.55
_ROW_HEIGHT, _BASELINE = 1.85, 0.95
_BAR_TOP, _BAR_HEIGHT = 1.3, 0.22
_NOTE_HEIGHT, _NOTE_SIZE = 1.25, 0.85


@dataclass(frozen=True)
class _Row:
    prediction: Prediction
    is_explained: bool
    bar_bgr: tuple[int, int, int]


def class_panel_width_px(image_shape: tuple[int, ...], size_px: int) -> int:
    """How wide the panel is: it does not change with what it says."""
    return min(round(_WIDTH * size_px), image_shape[1] - size_px)


def draw_class_panel(image: np.ndarray, explanation: Explanation, size_px: int, note: str = "") -> None:
    """Draws the best classes, the explained one brightest, bottom left.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        explanation: What to tell.
        size_px: Height of the text.
        note: What else is to be said of the explained class, small.
    """
    evidence = "" if has_evidence(explanation.heatmap) else "no positive evidence"
    note = printable(" · ".join(filter(None, [note, evidence])))
    rows = _rows(explanation)
    if _height_px(len(rows), note, size_px) > _MOST_HEIGHT * image.shape[0]:
        rows = [row for row in rows if row.is_explained][:1]
    size_wh = class_panel_width_px(image.shape, size_px), _height_px(len(rows), note, size_px)
    plate = open_plate(image, size_wh, _BOTTOM_LEFT_XY, size_px)
    top = round(_PADDING_Y * size_px)
    for row in rows:
        _draw_row(plate, row, top, size_px)
        top += round(_ROW_HEIGHT * size_px)
    if note:
        _draw_note(plate, note, top, size_px)


def _rows(explanation: Explanation) -> list[_Row]:
    """The classes that have a map, in their colours; else the best ones, with the explained one whatever its rank."""
    if explanation.other_maps:
        classes = [explanation.explained, *(prediction for prediction, _ in explanation.other_maps)]
        colours = CLASS_COLOURS_BGR.values()
        return [_Row(one, True, colour) for one, colour in zip(classes[:_MOST_ROWS], colours, strict=False)]
    explained = explanation.explained
    best = explanation.predictions[:_BAR_COUNT]
    if all(one.class_index != explained.class_index for one in best):
        best = (*best[: _BAR_COUNT - 1], explained)
    return [
        _Row(one, is_explained, ACCENT_BGR if is_explained else _FULL_BAR_BGR)
        for one in best
        for is_explained in [one.class_index == explained.class_index]
    ]


def _height_px(row_count: int, note: str, size_px: int) -> int:
    return round((2 * _PADDING_Y + _ROW_HEIGHT * row_count + (_NOTE_HEIGHT if note else 0)) * size_px)


def _draw_row(plate: np.ndarray, row: _Row, top: int, size_px: int) -> None:
    left, right = round(_PADDING_X * size_px), plate.shape[1] - round(_PADDING_X * size_px)
    baseline = top + round(_BASELINE * size_px)
    weight, colour = (BOLD, WHITE_BGR) if row.is_explained else (REGULAR, DIM_BGR)
    score = score_text(row.prediction)
    score_px = text_width_px(score, size_px, weight)
    label = shortened(printable(row.prediction.label), right - left - score_px - size_px // 2, size_px, weight)
    draw_text(plate, label, (left, baseline), size_px, weight, colour)
    draw_text(plate, score, (right - score_px, baseline), size_px, weight, colour)
    if row.prediction.probability is not None:
        bar_top = top + round(_BAR_TOP * size_px)
        bar_height = max(2, round(_BAR_HEIGHT * size_px))
        bar = plate[bar_top : bar_top + bar_height, left:right]
        bar[:] = _EMPTY_BAR_BGR
        bar[:, : round(row.prediction.probability * bar.shape[1])] = row.bar_bgr


def _draw_note(plate: np.ndarray, note: str, top: int, size_px: int) -> None:
    left, note_px = round(_PADDING_X * size_px), max(11, round(_NOTE_SIZE * size_px))
    text = shortened(note, plate.shape[1] - 2 * left, note_px, REGULAR)
    draw_text(plate, text, (left, top + round(_BASELINE * note_px)), note_px, REGULAR, ACCENT_BGR)
