"""The caption: the explained class and its score."""

from __future__ import annotations

import numpy as np

from live_cam.frame import Explanation, Prediction
from live_cam.render.colormaps import class_colors_bgr
from live_cam.render.text import BOLD, DIM_BGR, TextLine, draw_text_panel

_BOTTOM_LEFT_XY = (0.0, 1.0)
_NOTE_SIZE = 0.78


def draw_caption(image: np.ndarray, explanation: Explanation) -> None:
    """Draws the explained class and its score, bottom left.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        explanation: What the caption describes.
    """
    draw_text_panel(image, caption_lines(explanation), _BOTTOM_LEFT_XY)


def caption_lines(explanation: Explanation) -> list[TextLine]:
    """Returns the caption's lines.

    The first is the explained class and its contrast. Smaller ones name the contrast classes if there are several, name
    the top class if it is another, and say whether the class is locked, the network unsure, and the map without
    evidence. If several classes are explained: a line for each, in the color of its map.
    """
    if explanation.other_maps:
        return [line for lines in class_lines(explanation) for line in lines]
    explained, top = explanation.explained, explanation.predictions[:1]
    is_top = not top or top[0].class_index == explained.class_index
    title = _title(explanation) if is_top else f"explaining {_title(explanation)}"
    lines = [TextLine(title, score_text(explained), BOLD), *_contrast_notes(explanation)]
    if not is_top:
        lines.append(_note(f"top: {top[0].label}", score_text(top[0])))
    if note := choice_note(explanation):
        lines.append(_note(note))
    if not has_evidence(explanation.heatmap):
        lines.append(_note(no_evidence_text(explanation)))
    return lines


def class_lines(explanation: Explanation) -> list[list[TextLine]]:
    """Returns the caption's lines for each class that has a map."""
    if not explanation.other_maps:
        return [caption_lines(explanation)]
    classes = [explanation.explained, *(prediction for prediction, _ in explanation.other_maps)]
    titles = [_title(explanation), *(prediction.label for prediction in classes[1:])]
    lines = [
        [TextLine(title, score_text(prediction), BOLD, color)]
        for title, prediction, color in zip(titles, classes, class_colors_bgr(explanation), strict=True)
    ]
    return [[*lines[0], *_contrast_notes(explanation)], *lines[1:]]


def contrast_text(explanation: Explanation) -> str:
    """Returns the class that the explained one is contrasted with, or "similar classes"; empty if there is none."""
    labels = [prediction.label for prediction in explanation.contrast]
    return "similar classes" if len(labels) > 1 else "".join(labels)


def no_evidence_text(explanation: Explanation) -> str:
    """Returns what to write about a map without evidence."""
    contrast = contrast_text(explanation)
    return f"no evidence for {explanation.explained.label} over {contrast}" if contrast else "no positive evidence"


def _title(explanation: Explanation) -> str:
    contrast = contrast_text(explanation)
    return f"{explanation.explained.label}, not {contrast}" if contrast else explanation.explained.label


def _contrast_notes(explanation: Explanation) -> list[TextLine]:
    labels = [prediction.label for prediction in explanation.contrast]
    return [_note(", ".join(labels))] if len(labels) > 1 else []


def choice_note(explanation: Explanation) -> str:
    """Returns "locked" if the user chose the class, "unsure" if the network recognizes nothing; both, or neither."""
    words = {"locked": explanation.is_locked, "unsure": explanation.is_unsure}
    return " · ".join(word for word, is_true in words.items() if is_true)


def score_text(prediction: Prediction) -> str:
    """Returns the probability in percent, with a decimal below 10 %; or the raw value if there is no probability."""
    if prediction.probability is None:
        return f"{prediction.value:.3g}"
    percent = 100 * prediction.probability
    if percent < 0.05:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def _note(text: str, tail: str = "") -> TextLine:
    return TextLine(text, tail, color_bgr=DIM_BGR, relative_size=_NOTE_SIZE)


def has_evidence(heatmap: np.ndarray) -> bool:
    """Returns whether a heatmap, (h, w) float, is finite and has a positive value."""
    return bool(np.isfinite(heatmap).all() and heatmap.max() > 0)
