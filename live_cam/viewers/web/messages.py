"""Messages from the server: predictions and maps as JSON, and a frame with its maps as one binary message.

A binary message is a uint32, little-endian, with the number of bytes of JSON; the JSON, padded with spaces so that the
rest is aligned to four bytes; the maps, float32; and a JPEG.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from live_cam.frame import Explanation, Prediction, Result
from live_cam.render.colormaps import class_colors_bgr
from live_cam.render.letterbox import reduced
from live_cam.render.overlay import heat_of
from live_cam.render.spline import spline_coefficients

_JPEG_QUALITY = 80
# Larger frames are reduced: screens show tiles, and a JPEG of 4K costs more than the network.
_LONGEST_SIDE_PX = 1280
_ALIGNMENT_BYTES = 4


def jpeg_of(image: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """Returns the image, (height, width, 3) uint8 BGR, as a JPEG, and its width and height there."""
    image = reduced(image, _LONGEST_SIDE_PX)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes(), (image.shape[1], image.shape[0])


def frame_message(result: Result, facts: Mapping[str, Any], blend: str) -> bytes:
    """Returns the binary message for one frame.

    Args:
        result: The frame with its explanation.
        facts: What else the JSON holds.
        blend: One of ``BLENDS``; see ``cells_of``.
    """
    jpeg, (width, height) = jpeg_of(result.frame.image)
    explanation = result.drawn_explanation
    facts = {
        **facts,
        "index": result.frame.index,
        "time_seconds": round(result.frame.time_seconds, 6),
        "width": width,
        "height": height,
        "explanation": explanation_json(explanation),
    }
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return b"".join((struct.pack("<I", len(text)), text, cells_of(explanation, result.scale, blend).tobytes(), jpeg))


def cells_of(explanation: Explanation, scale: float | None, blend: str) -> np.ndarray:
    """Returns what a page enlarges and colors, to draw the same heat as ``HeatPainter``.

    Args:
        explanation: Its heatmaps may be smoothed over time.
        scale: Heatmap value that is drawn hottest. Default: the maximum of all its maps.
        blend: "heat": the coefficients of cubic B-splines. "constant": cells to enlarge bilinearly.

    Returns:
        (maps, h, w) float32, little-endian; 1 is drawn hottest, a map of zeros not at all.
    """
    heatmaps = [explanation.heatmap, *(heatmap for _, heatmap in explanation.other_maps)]
    if scale is None:
        scale = max(float(heatmap.max()) for heatmap in heatmaps)
    cells = np.zeros((len(heatmaps), *heatmaps[0].shape), "<f4")
    for place, heatmap in zip(cells, heatmaps, strict=True):
        heat = heat_of(heatmap, scale)
        if heat is not None:
            place[:] = spline_coefficients(heat) if blend == "heat" else heat
    return cells


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Returns an explanation without its maps."""
    maps = [explanation.explained, *(prediction for prediction, _ in explanation.other_maps)]
    colors = ["#{:02x}{:02x}{:02x}".format(*reversed(color)) for color in class_colors_bgr(explanation)]
    return {
        "predictions": [prediction_json(prediction) for prediction in explanation.predictions],
        "explained": prediction_json(explanation.explained),
        "is_locked": explanation.is_locked,
        "is_unsure": explanation.is_unsure,
        "contrast": [prediction_json(prediction) for prediction in explanation.contrast],
        "region_xywh": list(explanation.region_xywh),
        "map_shape": list(explanation.heatmap.shape),
        "peak": finite(float(explanation.heatmap.max())),
        "maps": [
            {**prediction_json(prediction), "color": color} for prediction, color in zip(maps, colors, strict=True)
        ],
    }


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """Returns a prediction; numbers that are not finite become None."""
    return {
        "class_index": prediction.class_index,
        "label": prediction.label,
        "probability": finite(prediction.probability),
        "value": finite(prediction.value),
    }


def finite(number: float | None, digits: int = 6) -> float | None:
    """Returns the number rounded; None if there is none or it is not finite."""
    return None if number is None or not math.isfinite(number) else round(float(number), digits)
