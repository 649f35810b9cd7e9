"""The panel of the best classes with their bars, which viewers show instead of the caption."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from live_cam.frame import Explanation, Prediction
from live_cam.render.caption import choice_note, has_evidence, no_evidence_text, score_text
from live_cam.render.colormaps import class_colors_bgr
from live_cam.render.text import (
    ACCENT_BGR,
    BOLD,
    DIM_BGR,
    REGULAR,
    WHITE_BGR,
    draw_panel,
    draw_text,
    margin_px,
    printable,
    shortened,
    text_width_px,
)

_BOTTOM_LEFT_XY = (0.0, 1.0)
# Rows if several classes are explained, and if one is.
_MAX_EXPLAINED_ROWS = 5
_BEST_ROWS = 3
# Relative to the image's height; if the panel is higher, only the explained class is shown.
_MAX_HEIGHT = 0.42
_EMPTY_BAR_BGR = (95, 95, 95)
_FULL_BAR_BGR = (190, 190, 190)

# All relative to the text size.
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


def class_panel_size_wh(image_shape: tuple[int, ...], explanation: Explanation, size_px: int) -> tuple[int, int]:
    """Returns the size of the panel in pixels; its width does not depend on the classes."""
    rows, notes = _content(image_shape, explanation, size_px)
    return _width_px(image_shape, size_px), _height_px(len(rows), len(notes), size_px)


def draw_class_panel(image: np.ndarray, explanation: Explanation, size_px: int) -> None:
    """Draws the best classes, the explained one brightest, bottom left; nothing if the image has no room for a panel.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        explanation: What the panel shows.
        size_px: Height of the text.
    """
    rows, notes = _content(image.shape, explanation, size_px)
    size_wh = class_panel_size_wh(image.shape, explanation, size_px)
    if min(size_wh) < 1:
        return
    panel = draw_panel(image, size_wh, _BOTTOM_LEFT_XY, size_px)
    top = round(_PADDING_Y * size_px)
    for row in rows:
        _draw_row(panel, row, top, size_px)
        top += round(_ROW_HEIGHT * size_px)
    for note_line in notes:
        _draw_note(panel, note_line, top, size_px)
        top += round(_NOTE_HEIGHT * size_px)


def _width_px(image_shape: tuple[int, ...], size_px: int) -> int:
    return min(round(_WIDTH * size_px), image_shape[1] - 2 * margin_px(size_px))


def _content(image_shape: tuple[int, ...], explanation: Explanation, size_px: int) -> tuple[list[_Row], list[str]]:
    """Returns rows and notes, as many as there is room for: first other classes are left out, then notes."""
    note = " · ".join(filter(None, [choice_note(explanation), _evidence_note(explanation)]))
    rows, notes = _rows(explanation), _note_lines(printable(note), _width_px(image_shape, size_px), size_px)
    max_height = _MAX_HEIGHT * image_shape[0]
    if _height_px(len(rows), len(notes), size_px) > max_height:
        rows = [row for row in rows if row.is_explained][:1]
    while notes and _height_px(len(rows), len(notes), size_px) > max_height:
        notes = notes[:-1]
    return rows, notes


def _rows(explanation: Explanation) -> list[_Row]:
    """Returns the classes that have a map if there are several, else the best ones and always the explained one."""
    explained = explanation.explained
    if explanation.other_maps:
        classes = [explained, *(prediction for prediction, _ in explanation.other_maps)]
        rows = zip(classes, class_colors_bgr(explanation), strict=True)
        return [_Row(prediction, True, color) for prediction, color in rows][:_MAX_EXPLAINED_ROWS]
    best = explanation.predictions[:_BEST_ROWS]
    if all(prediction.class_index != explained.class_index for prediction in best):
        best = (*best[: _BEST_ROWS - 1], explained)
    return [
        _Row(prediction, True, ACCENT_BGR)
        if prediction.class_index == explained.class_index
        else _Row(prediction, False, _FULL_BAR_BGR)
        for prediction in best
    ]


def _evidence_note(explanation: Explanation) -> str:
    """Returns whether the map has evidence, and over which classes; empty if it has and there is no contrast."""
    if not has_evidence(explanation.heatmap):
        return no_evidence_text(explanation)
    if not explanation.contrast:
        return ""
    *others, last = (prediction.label for prediction in explanation.contrast)
    contrast = f"{', '.join(others)} or {last}" if others else last
    return f"{explanation.explained.label}, not {contrast}"


def _note_lines(note: str, panel_width_px: int, size_px: int) -> list[str]:
    """Returns the note on as many lines as it needs, at most two; the second is shortened if it does not fit."""
    width_px, note_px = panel_width_px - 2 * round(_PADDING_X * size_px), _note_size_px(size_px)
    words = note.split()
    fitting = [
        count
        for count in range(1, len(words) + 1)
        if text_width_px(" ".join(words[:count]), note_px, REGULAR) <= width_px
    ]
    first_count = max(fitting, default=len(words))
    lines = [" ".join(words[:first_count]), " ".join(words[first_count:])]
    return [shortened(line, width_px, note_px, REGULAR) for line in lines if line]


def _note_size_px(size_px: int) -> int:
    return max(11, round(_NOTE_SIZE * size_px))


def _height_px(row_count: int, note_count: int, size_px: int) -> int:
    return round((2 * _PADDING_Y + _ROW_HEIGHT * row_count + _NOTE_HEIGHT * note_count) * size_px)


def _draw_row(panel: np.ndarray, row: _Row, top: int, size_px: int) -> None:
    left, right = round(_PADDING_X * size_px), panel.shape[1] - round(_PADDING_X * size_px)
    baseline = top + round(_BASELINE * size_px)
    weight, color = (BOLD, WHITE_BGR) if row.is_explained else (REGULAR, DIM_BGR)
    score = score_text(row.prediction)
    score_px = text_width_px(score, size_px, weight)
    label = shortened(printable(row.prediction.label), right - left - score_px - size_px // 2, size_px, weight)
    draw_text(panel, label, (left, baseline), size_px, weight=weight, color_bgr=color)
    draw_text(panel, score, (right - score_px, baseline), size_px, weight=weight, color_bgr=color)
    if row.prediction.probability is not None:
        bar_top = top + round(_BAR_TOP * size_px)
        bar_height = max(2, round(_BAR_HEIGHT * size_px))
        bar = panel[bar_top : bar_top + bar_height, left:right]
        bar[:] = _EMPTY_BAR_BGR
        if math.isfinite(row.prediction.probability):
            bar[:, : round(row.prediction.probability * bar.shape[1])] = row.bar_bgr


def _draw_note(panel: np.ndarray, note: str, top: int, size_px: int) -> None:
    left, note_px = round(_PADDING_X * size_px), _note_size_px(size_px)
    draw_text(panel, note, (left, top + round(_BASELINE * note_px)), note_px, weight=REGULAR, color_bgr=ACCENT_BGR)
