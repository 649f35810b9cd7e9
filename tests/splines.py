"""A cubic B-spline from its definition, in float64 and for every pixel: what smooth heatmaps are compared with."""

from __future__ import annotations

import numpy as np

WHOLE = (0.0, 0.0, 1.0, 1.0)


def kernel(distance):
    """The cubic B-spline (Unser 1999, eq. 6)."""
    distance = np.abs(distance)
    inner, outer = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance) ** 3 / 6
    return np.where(distance < 1, inner, np.where(distance < 2, outer, 0.0))


def _weights(pixel_count, start, extent, cell_count):
    pixels = np.arange(pixel_count) + 0.5
    cells = (pixels - start * pixel_count) / (extent * pixel_count) * cell_count - 0.5
    # Two cells more on either side, which repeat the border.
    return kernel(cells[:, np.newaxis] - np.arange(-2, cell_count + 2))


def exact_spline(coefficients, size_wh, region_xywh=WHOLE):
    """The spline at each pixel's center; what lies outside of the map is meaningless."""
    x, y, width, height = region_xywh
    padded = np.pad(np.asarray(coefficients, np.float64), 2, mode="edge")
    rows, columns = np.shape(coefficients)
    return _weights(size_wh[1], y, height, rows) @ padded @ _weights(size_wh[0], x, width, columns).T


def exact_heat(heatmap, size_wh, region_xywh=WHOLE):
    """The spline of a map, relative to its peak; for maps whose hottest cell need not be raised."""
    fine = exact_spline(heatmap, (40 * heatmap.shape[1] + 1, 40 * heatmap.shape[0] + 1))
    return exact_spline(heatmap, size_wh, region_xywh) / fine.max()
