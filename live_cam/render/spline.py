"""Smooth enlargement of a heatmap: a cubic B-spline whose coefficients are the cells.

Bilinear enlargement of 7x7 cells to a screen shows its cells as diamonds and crosses, because its slope jumps at every
cell center. The B-spline's slope and curvature are continuous, its contours are round, and it adds no dips or halos.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import cv2
import numpy as np

from live_cam.render.heatmap_alignment import Span

# The spline is evaluated at knots, and linear between them. With n knots per cell, that is off by at most 3 / (8 n^2)
# of the peak per axis, which is reached at the peak of a single hot cell: one step of 255 with 10 knots. Maps of many
# cells have fewer: their cells are small and seldom differ much from their neighbors.
_KNOTS_PER_CELL, _FEWER_KNOTS_PER_CELL, _MANY_CELLS = 10, 5, 28

# Points per cell at which the peak is searched: an even number, fewer for maps of many cells.
_MOST_SEARCHED, _SEARCHED_PER_AXIS = 8, 112
# How far from the center of the hottest cell the peak shall be and may be, in cells.
_NEAR, _WITHIN = 0.4, 0.5
# In units of the hottest cell: what counts as equally hot; and the least raise, which leaves the hottest cell ahead of
# others that are a little higher between the searched points.
_TIE, _LEAST_RAISE = 1e-3, 0.01
# Raising the hottest cell lifts its surroundings, too; so it may take several raises, none of them too large.
_LEAST_STEEPNESS = 0.1

# Larger products wake the threads of BLAS, which then spin for longer than the whole image takes to draw.
_MOST_NUMBERS, _LEAST_ROWS = 2**17, 32


@dataclass(frozen=True, eq=False)
class Knots:
    """Points along one axis of an image at which the spline is evaluated, aligned to the axis's samples.

    The first knot lies half a spacing before the first sample, the last one behind the last sample.

    Attributes:
        weights: (knots, cells) float32: how much each cell weighs at each knot.
        spacing: Number of samples from one knot to the next.
        sample_count: Number of samples of the axis.
    """

    weights: np.ndarray
    spacing: int
    sample_count: int

    @property
    def inner(self) -> slice:
        """All knots but the first and the last, which have no samples of their own."""
        return slice(1, len(self.weights) - 1)

    def around(self, is_hot: np.ndarray) -> slice:
        """Returns the inner knots from the one before the first hot one to the one behind the last.

        Args:
            is_hot: (knots,) bool, with at least one True.
        """
        hot = np.flatnonzero(is_hot)
        return slice(max(int(hot[0]) - 1, self.inner.start), min(int(hot[-1]) + 2, self.inner.stop))

    def samples(self, knots: slice) -> slice:
        """Returns the samples that these inner knots stand for."""
        begin, end = ((knot - 1) * self.spacing for knot in (knots.start, knots.stop))
        return slice(begin, min(end, self.sample_count))


def place_knots(span: Span, cell_count: int) -> Knots:
    """Returns the knots for an axis; none if it has no samples."""
    if not span.positions.size:
        return Knots(np.empty((0, cell_count), np.float32), 1, 0)
    positions = span.positions.astype(np.float64)
    distance = (positions[-1] - positions[0]) / (positions.size - 1) if positions.size > 1 else 1.0
    per_cell = _KNOTS_PER_CELL if cell_count <= _MANY_CELLS else _FEWER_KNOTS_PER_CELL
    # A cell can be far larger than the image.
    spacing = max(1, int(min(1 / max(per_cell * distance, 1e-9), positions.size)))
    knot_count = ceil(positions.size / spacing) + 2
    middles = (np.arange(knot_count) - 0.5) * spacing - 0.5
    return Knots(spline_weights(positions[0] + middles * distance, cell_count), spacing, positions.size)


def spline_weights(positions: np.ndarray, cell_count: int) -> np.ndarray:
    """Returns how much each cell weighs in the uniform cubic B-spline (de Boor 1978).

    Args:
        positions: (n,) float, in cells; 0 = center of the first cell. Beyond the border, cells repeat.
        cell_count: Number of cells.

    Returns:
        (n, cells) float32; each row sums to 1.
    """
    first = np.floor(positions).astype(np.intp)
    after = positions - first
    before = 1 - after
    weights = np.zeros((len(positions), cell_count))
    for cell, weight in (
        (first - 1, before**3 / 6),
        (first, (3 * after**3 - 6 * after**2 + 4) / 6),
        (first + 1, (3 * before**3 - 6 * before**2 + 4) / 6),
        (first + 2, after**3 / 6),
    ):
        weights[np.arange(len(positions)), np.clip(cell, 0, cell_count - 1)] += weight
    return weights.astype(np.float32)


def evaluate(coefficients: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Returns the spline at a grid of points: (rows, columns) float32.

    Args:
        coefficients: (h, w) float32; see ``spline_coefficients``.
        down: (rows, h) float32, the ``spline_weights`` of its rows.
        across: (columns, w) float32, those of its columns.
    """
    return _product(down, np.ascontiguousarray(_product(across, coefficients.T).T))


def _product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns weights @ values, (n, k) and (k, m) float32, block by block without the cells that have no weight."""
    block = max(_LEAST_ROWS, _MOST_NUMBERS // values.size)
    if block >= len(weights):
        return weights @ values
    result = np.empty((len(weights), values.shape[1]), np.float32)
    for begin in range(0, len(weights), block):
        rows = slice(begin, min(begin + block, len(weights)))
        used = np.flatnonzero(weights[rows.start] + weights[rows.stop - 1])
        cells = slice(used[0], used[-1] + 1)
        np.matmul(weights[rows, cells], values[cells], out=result[rows])
    return result


def spline_coefficients(heatmap: np.ndarray) -> np.ndarray:
    """Returns the coefficients of the spline that is drawn for a heatmap.

    These are the cells, with two corrections, because a B-spline passes below peaks: a single hot cell would have 4/9
    of its height, and two warm neighbors would be hotter than a single hot cell elsewhere. So the hottest cell is
    raised, if need be, until the spline's peak is within half a cell of its center; then all are multiplied, so that
    the peak is as high as the hottest cell.

    Args:
        heatmap: (h, w) float32, >= 0.

    Returns:
        (h, w) float32.
    """
    top = heatmap.max()
    if top == 0:
        return heatmap.copy()
    coefficients = heatmap / top
    down, across = (_searched_weights(count) for count in heatmap.shape)
    surface = evaluate(coefficients, down, across)
    cell = divmod(int(coefficients.argmax()), coefficients.shape[1])
    peak_cell = _cell_at(int(surface.argmax()), heatmap.shape)
    if peak_cell == cell or coefficients[peak_cell] < 1 - _TIE:
        near, within = _around(cell, heatmap.shape, _NEAR), _around(cell, heatmap.shape, _WITHIN)
        coefficients[cell] += _raise(surface, np.outer(down[:, cell[0]], across[:, cell[1]]), near, within)
    return coefficients * (top / surface.max())


def _raise(surface: np.ndarray, bump: np.ndarray, near: tuple[slice, slice], within: tuple[slice, slice]) -> float:
    """Raises the hottest cell until the peak is where it may be; returns by how much.

    Args:
        surface: The spline at the searched points; changed.
        bump: What the surface gains if that cell is raised by 1.
        near: The points where the peak shall be.
        within: The points where it may be.
    """
    raised_by = 0.0
    while True:
        far = surface.copy()
        far[within] = 0
        rival, peak = int(far.argmax()), int(surface[near].argmax())
        missing = far.flat[rival] - surface[near].flat[peak]
        if missing <= 0:
            return raised_by
        step = missing / max(bump[near].flat[peak] - bump.flat[rival], _LEAST_STEEPNESS) + _LEAST_RAISE
        surface += step * bump
        raised_by += step


def _searched_per_cell(cell_count: int) -> int:
    return 2 * min(_MOST_SEARCHED // 2, max(1, _SEARCHED_PER_AXIS // (2 * cell_count)))


@lru_cache(maxsize=16)
def _searched_weights(cell_count: int) -> np.ndarray:
    """Returns the weights at the points where the peak is searched, from one edge of the map to the other."""
    per_cell = _searched_per_cell(cell_count)
    return spline_weights(np.arange(cell_count * per_cell + 1) / per_cell - 0.5, cell_count)


def _cell_at(point: int, map_shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the cell that a searched point lies in; the points are counted row by row."""
    rows, columns = map_shape
    y, x = divmod(point, columns * _searched_per_cell(columns) + 1)
    return min(y // _searched_per_cell(rows), rows - 1), min(x // _searched_per_cell(columns), columns - 1)


def _around(cell: tuple[int, int], map_shape: tuple[int, ...], reach: float) -> tuple[slice, slice]:
    """Returns the searched points so near the center of a cell, and all between it and the edge of the map."""
    return _around_axis(cell[0], map_shape[0], reach), _around_axis(cell[1], map_shape[1], reach)


def _around_axis(cell: int, cell_count: int, reach: float) -> slice:
    per_cell = _searched_per_cell(cell_count)
    center, points = (2 * cell + 1) * per_cell // 2, int(reach * per_cell)
    is_first, is_last = cell == 0, cell == cell_count - 1
    return slice(0 if is_first else center - points, None if is_last else center + points + 1)


def enlarged_shape(axes: tuple[Knots, Knots], area: tuple[slice, slice]) -> tuple[int, ...]:
    """Returns the shape of the memory that ``enlarge_knots`` needs."""
    return tuple((knots.stop - knots.start + 2) * axis.spacing for axis, knots in zip(axes, area, strict=True))


def enlarge_knots(
    surface: np.ndarray, axes: tuple[Knots, Knots], area: tuple[slice, slice], out: np.ndarray
) -> np.ndarray:
    """Interpolates linearly between knots.

    Args:
        surface: (knots down, knots across) float32, the spline at all knots.
        axes: The knots of the vertical and of the horizontal axis.
        area: The inner knots to enlarge, down and across.
        out: float32, of ``enlarged_shape``; overwritten.

    Returns:
        The part of ``out`` at the samples of the area.
    """
    # The outermost half spacings of what cv2 enlarges are constant; they belong to the neighbors.
    down, across = (slice(knots.start - 1, knots.stop + 1) for knots in area)
    cv2.resize(surface[down, across], out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    sizes = [axis.samples(knots) for axis, knots in zip(axes, area, strict=True)]
    rows, columns = (
        slice(axis.spacing, axis.spacing + samples.stop - samples.start)
        for axis, samples in zip(axes, sizes, strict=True)
    )
    return out[rows, columns]
