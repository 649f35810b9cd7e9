"""Contour lines of heatmaps: where a class's evidence reaches a share of its peak."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from live_cam.frame import WHOLE_FRAME_XYWH
from live_cam.render.spline import evaluate, spline_coefficients, spline_weights

HALF_OF_PEAK = 0.5

# Points per axis at which the map is sampled. The line is placed between them by the map's slope; its chords are off by
# less than a pixel at 1080p.
_POINTS = 65
_HALO_BGR = (20, 20, 20)
# Relative to the image's shorter side.
_THICKNESS = 1 / 300
# OpenCV takes positions in 1/16 of a pixel.
_SHIFT = 4


def draw_contour(
    image: np.ndarray,
    heatmap: np.ndarray,
    color_bgr: tuple[int, int, int],
    region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH,
    level: float = HALF_OF_PEAK,
) -> None:
    """Draws the contour line of a map, with a dark halo that makes it visible on any background.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        heatmap: (h, w) float, >= 0, at target-layer resolution. Nothing is drawn if it has no positive value, or one
            that is not finite.
        color_bgr: Color of the line.
        region_xywh: What the map covers, as fractions of the image.
        level: Value on the line, relative to the map's maximum, in (0, 1).
    """
    lines = contour_lines(heatmap, image.shape[1::-1], region_xywh, level)
    points = [np.rint(line * 2**_SHIFT).astype(np.int32) for line in lines]
    thickness = line_thickness_px(image.shape)
    for color, width in ((_HALO_BGR, thickness + 2 * max(1, thickness // 3)), (color_bgr, thickness)):
        cv2.polylines(image, points, False, color, width, cv2.LINE_AA, _SHIFT)


def line_thickness_px(image_shape: tuple[int, ...]) -> int:
    """Returns the thickness of lines in an image: 2 at 640x480, 4 at 1080p, 7 at 4K."""
    return max(1, round(_THICKNESS * min(image_shape[:2])))


def contour_lines(
    heatmap: np.ndarray,
    size_wh: tuple[int, ...],
    region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH,
    level: float = HALF_OF_PEAK,
) -> list[np.ndarray]:
    """Returns the contour lines of the smooth map that is drawn for a heatmap.

    Lines end where the map or the image ends; they do not follow its border.

    Args:
        heatmap: (h, w) float, >= 0.
        size_wh: Width and height of the image.
        region_xywh: What the map covers, as fractions of the image.
        level: Value on the line, relative to the map's maximum, in (0, 1).

    Returns:
        Each (n, 2) float64: x and y in pixels, 0 = center of the first one. A closed line ends where it begins.
    """
    peak = float(heatmap.max())
    if not (np.isfinite(heatmap).all() and peak > 0):
        return []
    (x, across), (y, down) = (
        _sampled(start, extent, count)
        for start, extent, count in zip(region_xywh[:2], region_xywh[2:], heatmap.shape[::-1], strict=True)
    )
    if x[0] >= x[-1] or y[0] >= y[-1]:
        return []
    coefficients = spline_coefficients(np.clip(heatmap / peak, 0, 1).astype(np.float32))
    lines = _lines_on_grid(evaluate(coefficients, down, across), level)
    first, step = np.array([x[0], y[0]]), np.array([x[1] - x[0], y[1] - y[0]])
    return [(first + line * step) * size_wh - 0.5 for line in lines]


@lru_cache(maxsize=16)
def _sampled(start: float, extent: float, cell_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of the visible part of an axis, edge to edge, as fractions of the image; and their weights."""
    places = np.linspace(max(start, 0.0), min(start + extent, 1.0), _POINTS)
    return places, spline_weights((places - start) / extent * cell_count - 0.5, cell_count)


def _lines_on_grid(surface: np.ndarray, level: float) -> list[np.ndarray]:
    """Returns the contour lines of values on a grid: each (n, 2) float64, column and row."""
    is_inside = (surface >= level).astype(np.uint8)
    outlines, _ = cv2.findContours(is_inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    last = np.array(surface.shape[::-1]) - 1
    lines = []
    for outline in outlines:
        points = outline[:, 0]
        x, y = points.T
        # The outline runs through grid points just inside. A step along the slope leads from there to the level.
        (left, top), (right, bottom) = np.maximum(points - 1, 0).T, np.minimum(points + 1, last).T
        slope = np.stack([surface[y, right] - surface[y, left], surface[bottom, x] - surface[top, x]], axis=1)
        slope /= np.stack([right - left, bottom - top], axis=1)
        is_at_border = (points == 0) | (points == last)
        # Lines end at the border exactly: its points move along it only.
        slope[is_at_border] = 0
        missing = (level - surface[y, x])[:, np.newaxis]
        moves = slope * missing / np.maximum((slope**2).sum(axis=1, keepdims=True), 1e-12)
        line = np.clip(points + np.clip(moves, -1, 1), 0, last)
        lines += _without_border(line, is_at_border.any(axis=1))
    return lines


def _without_border(line: np.ndarray, is_at_border: np.ndarray) -> list[np.ndarray]:
    """Returns the parts of a closed line between points at the border of the grid; the whole if there are none."""
    closed = np.vstack([line, line[:1]])
    if not is_at_border.any():
        return [closed]
    # Begins at the border, so that no part is cut where the outline happens to begin.
    begin = int(is_at_border.argmax())
    closed = np.vstack([line[begin:], line[: begin + 1]])
    is_at_border = np.roll(is_at_border, -begin)
    is_drawn = ~(is_at_border & np.roll(is_at_border, -1))
    borders = np.flatnonzero(np.diff(np.concatenate([[0], is_drawn.astype(np.int8), [0]])))
    return [closed[first : stop + 1] for first, stop in borders.reshape(-1, 2)]
