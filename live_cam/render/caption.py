"""What the picture's caption says about an explanation."""

from __future__ import annotations

import numpy as np

from live_cam.frame import Explanation, Prediction
from live_cam.render.colormaps import CLASS_COLOURS_BGR
from live_cam.render.text import BOLD, DIM_BGR, TextLine, draw_plate

_BOTTOM_LEFT_XY = (0.0, 1.0)
_NOTE_SIZE = 0.78


def draw_caption(image: np.ndarray, explanation: Explanation) -> None:
    """Draws the explained class and how sure the network is, bottom left.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        explanation: What to tell.
    """
    draw_plate(image, caption_lines(explanation), _BOTTOM_LEFT_XY)


def caption_lines(explanation: Explanation) -> list[TextLine]:
    """The caption's lines: the explained class; then, smaller, the top class if it is another; then what is missing."""
    if explanation.other_maps:
        return _lines_by_class(explanation)
    explained, top = explanation.explained, explanation.predictions[:1]
    is_top = not top or top[0].class_index == explained.class_index
    lines = [TextLine(explained.label, score_text(explained), BOLD)]
    if not is_top:
        lines.append(_note(f"top class: {top[0].label}", score_text(top[0])))
    if not has_evidence(explanation.heatmap):
        lines.append(_note("no positive evidence"))
    return lines


def _lines_by_class(explanation: Explanation) -> list[TextLine]:
    """The explained classes, each in the colour of its map."""
    classes = [explanation.explained, *(prediction for prediction, _ in explanation.other_maps)]
    return [
        TextLine(one.label, score_text(one), BOLD, colour)
        for one, colour in zip(classes, CLASS_COLOURS_BGR.values(), strict=False)
    ]


def score_text(prediction: Prediction) -> str:
    """The probability, or the raw value where there is none."""
    if prediction.probability is None:
        return f"{prediction.value:.3g}"
    return percent_text(prediction.probability)


def percent_text(probability: float) -> str:
    """In per cent, with a decimal where it is small."""
    percent = 100 * probability
    if percent < 0.05:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def _note(text: str, tail: str = "") -> TextLine:
    return TextLine(text, tail, color_bgr=DIM_BGR, relative_size=_NOTE_SIZE)


def has_evidence(heatmap: np.ndarray) -> bool:
    """Whether anything speaks for the class: (h, w) float, >= 0."""
    return bool(np.isfinite(heatmap).all() and heatmap.max() > 0)
