"""Pictures of explanations and results for notebooks, which show what ``_repr_png_`` returns."""

from __future__ import annotations

import cv2
import numpy as np

from live_cam.frame import Explanation, Result
from live_cam.render.caption import caption_lines
from live_cam.render.letterbox import reduced
from live_cam.render.renderer import Renderer
from live_cam.render.text import draw_text_panel
from live_cam.settings import RenderSettings

_MAP_SIDE_PX = 224
_TEXT_SIZE_PX = 14
_LINE_PX = 20
_BACKGROUND_GRAY = 24
_LONGEST_SIDE_PX = 720


def explanation_png(explanation: Explanation) -> bytes:
    """Returns the heatmap in the default colors, with the class beneath, as a PNG file of some 50 kB."""
    black = np.zeros((_MAP_SIDE_PX, _MAP_SIDE_PX, 3), np.uint8)
    heat = Renderer(RenderSettings(view="heatmap", caption=False)).draw(black, explanation)
    lines = caption_lines(explanation)
    beneath = np.full((_LINE_PX * (len(lines) + 1), _MAP_SIDE_PX, 3), _BACKGROUND_GRAY, np.uint8)
    draw_text_panel(beneath, lines, (0.0, 0.5), _TEXT_SIZE_PX)
    return _png(np.vstack([heat, beneath]))


def result_png(result: Result) -> bytes:
    """Returns the annotated image, at most 720 pixels on its longest side, as a PNG file."""
    return _png(reduced(result.image, _LONGEST_SIDE_PX))


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()
