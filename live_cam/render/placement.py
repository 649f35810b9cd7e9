"""Where the cells of a heatmap lie on the frame, to fractions of a pixel, and what the map is between their centres."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class Span:
    """One axis of a map laid on a frame.

    Attributes:
        first: First pixel whose centre lies under the map.
        last: One past the last such pixel; equal to ``first`` where the map misses the frame.
        step: Pixels that share a sample; the last sample may stand for fewer.
        positions: (samples,) float32: where each sample lies on the map, in cells, 0 = centre of the first cell.
        is_whole: The samples divide the axis of map and frame evenly from edge to edge.
    """

    first: int
    last: int
    step: int
    positions: np.ndarray
    is_whole: bool


def lay_axis(pixel_count: int, start: float, extent: float, cell_count: int, step: int = 1) -> Span:
    """Lays the cells of one axis of a map on the pixels of the frame.

    Pixel i has its centre at i + 1/2, cell k at k + 1/2. The map starts at ``start * pixel_count`` and is
    ``extent * pixel_count`` long, so pixel i lies at the cell coordinate

        u(i) = (i + 1/2 - start * pixel_count) / (extent * pixel_count) * cell_count - 1/2,

    the half-pixel-centre rule that networks' resize and ``cv2.resize`` follow. Beyond the outermost cell centres the
    map keeps their value: u is held in [0, cell_count - 1].

    Args:
        pixel_count: The frame's width or height.
        start: Where the map starts, as a fraction of the frame.
        extent: How long it is, as a fraction of the frame; > 0.
        cell_count: The map's width or height.
        step: Pixels that share a sample, taken at their middle.

    Returns:
        The pixels under the map, and the samples for them.
    """
    edge, length = start * pixel_count, extent * pixel_count
    first = min(max(ceil(edge - 0.5), 0), pixel_count)
    last = min(max(ceil(edge + length - 0.5), first), pixel_count)
    middles = np.arange(first, last, step) + step / 2
    positions = np.clip((middles - edge) / length * cell_count - 0.5, 0, cell_count - 1)
    is_whole = abs(edge) < 1e-3 and abs(length - pixel_count) < 1e-3 and pixel_count % step == 0
    return Span(first, last, step, positions.astype(np.float32), is_whole)


def enlarge(heatmap: np.ndarray, across: Span, down: Span, out: np.ndarray) -> np.ndarray:
    """The map at every sample, bilinear between cell centres.

    Args:
        heatmap: (h, w) float32.
        across: Its horizontal axis.
        down: Its vertical axis.
        out: (samples down, samples across) float32; overwritten.

    Returns:
        ``out``.
    """
    if across.is_whole and down.is_whole:
        # To the last bit what the usual recipe computes; but it can neither cut a map nor shift it by part of a pixel.
        return cv2.resize(heatmap, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    left = np.floor(across.positions).astype(np.intp)
    right = np.minimum(left + 1, heatmap.shape[1] - 1)
    rows = heatmap[:, left] + (heatmap[:, right] - heatmap[:, left]) * (across.positions - left.astype(np.float32))
    # Not one product of matrices, short as that is: above some size BLAS wakes threads, and these spin for longer
    # than the whole picture takes.
    borders = np.searchsorted(down.positions, np.arange(heatmap.shape[0] + 1))
    for row, (begin, end) in enumerate(pairwise(borders)):
        rise = rows[min(row + 1, len(rows) - 1)] - rows[row]
        np.multiply((down.positions[begin:end] - row)[:, np.newaxis], rise, out=out[begin:end])
        out[begin:end] += rows[row]
    return out


def hot_samples(is_hot: np.ndarray, axis: int, span: Span) -> slice:
    """The samples of one axis that heat can reach: all between the cold centres on either side of the hot cells.

    Args:
        is_hot: (h, w) bool, with at least one True.
        axis: 0 = down, 1 = across.
        span: Where the cells lie on that axis.
    """
    hot_cells = np.unique(np.nonzero(is_hot)[axis])
    begin, end = np.searchsorted(span.positions, (hot_cells[0] - 1, hot_cells[-1] + 1), side="right")
    return slice(int(begin), int(end))
