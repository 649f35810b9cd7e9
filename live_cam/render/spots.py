"""A place in the drawn picture, and how much it speaks for each class."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live_cam.frame import Explanation
from live_cam.render.text import ACCENT_BGR, DIM_BGR, TextLine, draw_plate
from live_cam.render.views import RenderSettings

# In parts of the text size.
_RING_RADIUS = 0.55
_PLATE_DISTANCE = 0.6
_LINES_AROUND = 6


@dataclass(frozen=True)
class SpotReading:
    """What is said at a place.

    Attributes:
        picture_xy: Where, as fractions of the drawn picture's width and height.
        shares: Labels, and the heat there as a share of the hottest place of that class, 0..1; None where the class
            has no heat at all. Empty: the network did not see this place.
    """

    picture_xy: tuple[float, float]
    shares: tuple[tuple[str, float | None], ...]


def read_spot(explanation: Explanation, frame_xy: tuple[float, float], settings: RenderSettings) -> SpotReading:
    """How much a place speaks for each class that has a map.

    Args:
        explanation: Of what is shown.
        frame_xy: The place, as fractions of the frame's width and height.
        settings: How the frame is drawn.
    """
    left, top, width, height = explanation.region_xywh
    x, y = (frame_xy[0] - left) / width, (frame_xy[1] - top) / height
    maps = [(explanation.explained, explanation.heatmap), *explanation.other_maps]
    is_seen = 0 <= x <= 1 and 0 <= y <= 1
    shares = tuple((prediction.label, _share_of_peak(heatmap, x, y)) for prediction, heatmap in maps if is_seen)
    return SpotReading(picture_xy_of(frame_xy, settings), shares)


def frame_xy_of(picture_xy: tuple[float, float], settings: RenderSettings) -> tuple[float, float]:
    """The place of the frame that is drawn at a place of the picture; both as fractions."""
    x, y = picture_xy
    if settings.view == "split":
        x = 2 * x % 1.0
    return (1 - x if settings.mirror else x), y


def picture_xy_of(frame_xy: tuple[float, float], settings: RenderSettings) -> tuple[float, float]:
    """Where a place of the frame is drawn; of the two in a split picture, the one with the heatmap."""
    x, y = frame_xy
    x = 1 - x if settings.mirror else x
    return (0.5 + x / 2 if settings.view == "split" else x), y


def _share_of_peak(heatmap: np.ndarray, x: float, y: float) -> float | None:
    """The map at fractions of its own width and height, bilinear between cell centres as it is drawn."""
    peak = float(heatmap.max())
    if not (np.isfinite(heatmap).all() and peak > 0):
        return None
    rows, columns = heatmap.shape
    column, row = (min(max(at * n - 0.5, 0), n - 1) for at, n in ((x, columns), (y, rows)))
    left, top = int(column), int(row)
    corners = heatmap[top : top + 2, left : left + 2].astype(np.float64)
    down = np.array([1 - (row - top), row - top])[: corners.shape[0]]
    across = np.array([1 - (column - left), column - left])[: corners.shape[1]]
    return float(down @ corners @ across) / peak


def draw_spot(
    image: np.ndarray, spot: SpotReading, picture_xywh: tuple[float, float, float, float], size_px: int
) -> None:
    """Draws a ring at the place and what it says beside it.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        spot: What to draw.
        picture_xywh: Where in ``image`` the picture lies, as fractions.
        size_px: Height of the text.
    """
    left, top, width, height = picture_xywh
    x = (left + spot.picture_xy[0] * width) * image.shape[1]
    y = (top + spot.picture_xy[1] * height) * image.shape[0]
    radius = max(4, round(_RING_RADIUS * size_px))
    cv2.circle(image, (round(x), round(y)), radius + 1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.circle(image, (round(x), round(y)), radius, ACCENT_BGR, 2, cv2.LINE_AA)
    lines = [TextLine(label, _share_text(share)) for label, share in spot.shares]
    lines = lines or [TextLine("outside of what the network sees", color_bgr=DIM_BGR)]
    is_left = x > image.shape[1] / 2
    away_px, around_px = round(_PLATE_DISTANCE * size_px), _LINES_AROUND * size_px
    across = slice(0, max(1, round(x) - away_px)) if is_left else slice(round(x) + away_px, None)
    room = image[max(0, round(y) - around_px) : round(y) + around_px, across]
    draw_plate(room, lines, (float(is_left), 0.5), size_px)


def _share_text(share: float | None) -> str:
    return "no evidence" if share is None else f"{100 * share:.0f} % of peak"
