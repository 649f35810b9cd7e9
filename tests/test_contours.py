"""Contour lines: they lie on the level, end at the border, and are visible on any background."""

from __future__ import annotations

import numpy as np
import pytest
from splines import kernel

from live_cam.render.contours import contour_lines, draw_contour
from live_cam.render.spline import spline_coefficients

WHOLE, CROP, PAD = (0.0, 0.0, 1.0, 1.0), (0.125, 0.0, 0.75, 1.0), (0.0, -0.25, 1.0, 1.5)
GREEN = (40, 200, 40)


def blob(shape, center_yx, sigma=1.0):
    y, x = np.indices(shape)
    return np.exp(-((y - center_yx[0]) ** 2 + (x - center_yx[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def spline_at(heatmap, points, size_wh, region):
    """The spline that is drawn for a map, from its definition, at positions in pixels."""
    padded = np.pad(spline_coefficients(heatmap).astype(np.float64), 2, mode="edge")
    weights = []
    for pixel, side, start, extent, count in zip(
        points.T, size_wh, region[:2], region[2:], heatmap.shape[::-1], strict=True
    ):
        cells = ((pixel + 0.5) / side - start) / extent * count - 0.5
        weights.append(kernel(cells[:, np.newaxis] - np.arange(-2, count + 2)))
    return np.einsum("ny,yx,nx->n", weights[1], padded, weights[0])


def touches_border(points, size_wh):
    """Which points lie on the edge of the image: half a pixel beside the center of its outermost pixels."""
    return ((np.abs(points + 0.5) < 1e-6) | (np.abs(points + 0.5 - np.array(size_wh)) < 1e-6)).any(axis=1)


@pytest.mark.parametrize("region", [WHOLE, CROP, PAD])
@pytest.mark.parametrize("level", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("size_wh", [(176, 144), (1920, 1080)])
def test_a_line_is_where_the_smooth_map_has_the_level(size_wh, level, region):
    heatmap = 3 * blob((7, 7), (3.2, 2.6), sigma=1.4)
    lines = contour_lines(heatmap, size_wh, region, level)
    assert len(lines) == 1
    values = spline_at(heatmap, lines[0], size_wh, region) / heatmap.max()
    assert np.abs(values - level).max() < 0.01
    is_closed = (lines[0][0] == lines[0][-1]).all()
    assert is_closed or touches_border(lines[0][[0, -1]], size_wh).all()


def test_the_line_of_a_round_map_is_a_circle():
    # Each cell has 100x100 pixels; the center of cell (3, 3) is at pixel 349.5.
    (line,) = contour_lines(blob((7, 7), (3, 3)), (700, 700))
    radii = np.hypot(*(line - 349.5).T)
    assert np.ptp(radii) / radii.mean() < 0.04
    # Bilinear heat would make a diamond, whose corners are sqrt(2) times as far as its sides.


@pytest.mark.parametrize("center_yx", [(0, 0), (6, 3), (3, 6), (0, 5)])
def test_a_line_ends_at_the_border_and_does_not_follow_it(center_yx):
    size_wh = (640, 480)
    lines = contour_lines(blob((7, 7), center_yx, sigma=1.5), size_wh)
    assert len(lines) == 1
    is_at_border = touches_border(lines[0], size_wh)
    assert is_at_border[[0, -1]].all()
    assert not is_at_border[1:-1].any()


def test_each_hot_area_and_each_hole_has_a_line():
    two = np.maximum(blob((14, 14), (3, 3)), blob((14, 14), (10, 10)))
    assert len(contour_lines(two, (640, 480))) == 2
    y, x = np.indices((14, 14)) - 6.5
    ring = np.exp(-((np.hypot(y, x) - 4) ** 2)).astype(np.float32)
    assert len(contour_lines(ring, (640, 480))) == 2


@pytest.mark.parametrize(
    "heatmap", [np.zeros((7, 7)), np.full((7, 7), np.nan), np.full((7, 7), np.inf), np.ones((7, 7)), np.ones((1, 1))]
)
def test_maps_without_evidence_and_flat_ones_have_no_line(heatmap):
    assert contour_lines(heatmap.astype(np.float32), (640, 480)) == []


def test_a_map_beside_the_image_has_no_line():
    assert contour_lines(blob((7, 7), (3, 3)), (640, 480), (1.5, 0.0, 1.0, 1.0)) == []


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 90), (176, 144), (3840, 2160)])
@pytest.mark.parametrize("shape", [(7, 7), (1, 7), (56, 56)])
def test_any_size_of_image_and_map(size_wh, shape):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    draw_contour(image, blob(shape, (shape[0] // 2, shape[1] // 2), sigma=max(shape) / 6), GREEN)
    assert image.any() or min(size_wh) < 100


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), GREEN])
def test_a_line_is_visible_on_any_background(background):
    image = np.full((480, 640, 3), background, np.uint8)
    draw_contour(image, blob((7, 7), (3, 3)), GREEN)
    (line,) = contour_lines(blob((7, 7), (3, 3)), (640, 480))
    x, y = np.rint(line).astype(int).T
    assert np.abs(image[y, x].astype(int) - GREEN).max() < 60  # the line itself
    if background != (0, 0, 0):
        assert ((image < 60).all(axis=2)).sum() > len(line)  # its dark halo
    # Nothing else is changed.
    far = np.ones(image.shape[:2], bool)
    for column, row in line:
        far[max(0, int(row) - 5) : int(row) + 7, max(0, int(column) - 8) : int(column) + 10] = False
    assert (image[far] == background).all()
