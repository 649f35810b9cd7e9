"""Placement of heatmap cells on an image, in fractions of a pixel, and enlargement of the heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class Span:
    """One axis of a heatmap placed on one axis of an image.

    Attributes:
        first: First pixel whose center lies under the map.
        last: One past the last such pixel; equal to ``first`` if the map misses the image.
        step: Number of pixels that share a sample; the last sample may stand for fewer.
        positions: (samples,) float32: position of each sample on the map, in cells; 0 = center of the first cell,
            below 0 between it and the map's edge.
        is_whole: Whether the map covers the axis from edge to edge and ``step`` divides it.
    """

    first: int
    last: int
    step: int
    positions: np.ndarray
    is_whole: bool

    def pixels(self, samples: slice) -> slice:
        """Returns the pixels that these samples stand for."""
        start, stop = (min(self.first + index * self.step, self.last) for index in (samples.start, samples.stop))
        return slice(start, stop)


def place_axis(pixel_count: int, start: float, extent: float, cell_count: int, step: int = 1) -> Span:
    """Places the cells of one axis of a heatmap on the pixels of an image.

    Pixel i has its center at i + 1/2, cell k at k + 1/2. The map starts at ``start * pixel_count`` and is
    ``extent * pixel_count`` long, so pixel i lies at the cell coordinate

        u(i) = (i + 1/2 - start * pixel_count) / (extent * pixel_count) * cell_count - 1/2,

    the half-pixel-center rule that ``cv2.resize`` and the resize layers of networks follow.

    Args:
        pixel_count: The image's width or height.
        start: Where the map starts, as a fraction of the image.
        extent: Length of the map, as a fraction of the image; > 0.
        cell_count: The map's width or height.
        step: Number of pixels that share a sample, which is taken at their middle.

    Returns:
        The pixels under the map, and the positions of their samples.
    """
    edge, length = start * pixel_count, extent * pixel_count
    first = min(max(ceil(edge - 0.5), 0), pixel_count)
    last = min(max(ceil(edge + length - 0.5), first), pixel_count)
    middles = np.arange(first, last, step) + step / 2
    positions = (middles - edge) / length * cell_count - 0.5
    is_whole = abs(edge) < 1e-3 and abs(length - pixel_count) < 1e-3 and pixel_count % step == 0
    return Span(first, last, step, positions.astype(np.float32), is_whole)


def enlarge(heatmap: np.ndarray, across: Span, down: Span, out: np.ndarray) -> np.ndarray:
    """Interpolates the map bilinearly at every sample; it is constant outside of the outermost cell centers.

    Args:
        heatmap: (h, w) float32.
        across: Its horizontal axis.
        down: Its vertical axis.
        out: (samples down, samples across) float32; overwritten.

    Returns:
        ``out``.
    """
    if across.is_whole and down.is_whole:
        # Bit for bit what the usual recipe computes; but it can neither crop a map nor shift it by part of a pixel.
        return cv2.resize(heatmap, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    x, y = (np.clip(span.positions, 0, count - 1) for span, count in ((across, heatmap.shape[1]), (down, len(heatmap))))
    left = np.floor(x).astype(np.intp)
    right = np.minimum(left + 1, heatmap.shape[1] - 1)
    rows = heatmap[:, left] + (heatmap[:, right] - heatmap[:, left]) * (x - left.astype(np.float32))
    # A matrix product would be shorter, but above some size BLAS wakes its threads, which then spin for longer than
    # the whole image takes to draw.
    borders = np.searchsorted(y, np.arange(heatmap.shape[0] + 1))
    for row, (begin, end) in enumerate(pairwise(borders)):
        rise = rows[min(row + 1, len(rows) - 1)] - rows[row]
        np.multiply((y[begin:end] - row)[:, np.newaxis], rise, out=out[begin:end])
        out[begin:end] += rows[row]
    return out
