"""The smooth enlargement: against the spline's definition at every pixel, and where its peak lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from splines import exact_heat, exact_spline

from live_cam.render.heatmap_alignment import place_axis
from live_cam.render.spline import enlarge_knots, enlarged_shape, evaluate, place_knots, spline_coefficients

WHOLE, CROP, PAD = (0.0, 0.0, 1.0, 1.0), (0.125, 0.0, 0.75, 1.0), (0.0, -0.25, 1.0, 1.5)
SIZES_WH = [(176, 144), (641, 479), (1920, 1080), (3840, 2160)]
SHAPES = [(7, 7), (14, 14), (56, 56), (1, 9), (5, 12), (1, 1)]


def blob(shape, sigma=1.5):
    """A map like real ones: one smooth hot area, and weak evidence elsewhere."""
    y, x = np.indices(shape)
    center_y, center_x = 0.6 * (shape[0] - 1), 0.35 * (shape[1] - 1)
    sigma *= max(shape) / 7
    hot = np.exp(-((x - center_x) ** 2 + (y - center_y) ** 2) / (2 * sigma**2))
    return (hot + 0.05 * np.random.default_rng(0).random(shape)).astype(np.float32)


def one_hot(shape, row, column):
    heatmap = np.zeros(shape, np.float32)
    heatmap[row, column] = 1.0
    return heatmap


def enlarged(heatmap, size_wh, region_xywh=WHOLE):
    """The heat of each pixel under the map; and which pixels these are."""
    down = place_axis(size_wh[1], region_xywh[1], region_xywh[3], heatmap.shape[0])
    across = place_axis(size_wh[0], region_xywh[0], region_xywh[2], heatmap.shape[1])
    knots = place_knots(down, heatmap.shape[0]), place_knots(across, heatmap.shape[1])
    area = knots[0].inner, knots[1].inner
    surface = evaluate(spline_coefficients(heatmap), knots[0].weights, knots[1].weights)
    out = np.full(enlarged_shape(knots, area), np.nan, np.float32)
    return enlarge_knots(surface, knots, area, out), np.s_[down.first : down.last, across.first : across.last]


@pytest.mark.parametrize("region", [WHOLE, CROP, PAD, (0.11, 0.07, 0.83, 0.71)])
@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_enlarged_map_agrees_with_the_definition_at_every_pixel(shape, size_wh, region):
    heatmap = blob(shape)
    heat, area = enlarged(heatmap, size_wh, region)
    expected = exact_spline(spline_coefficients(heatmap), size_wh, region)[area]
    # Between 10 knots per cell, a line is off by the curvature / 800: half a step of 255 for a blob of this size.
    assert heat.shape == expected.shape
    assert np.abs(heat - expected).max() < 1 / 255


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize(("shape", "steps"), [((7, 7), 2), ((14, 14), 2), ((5, 12), 2), ((56, 56), 8)])
def test_the_worst_map_is_a_single_hot_cell(shape, steps, size_wh):
    # It has the greatest curvature that a map can have: 3 per cell and axis. With 10 knots per cell it is off by
    # 2 * 3 / 800 = 2 / 255; with 5, as maps of more than 28 cells have, by four times as much.
    heatmap = one_hot(shape, shape[0] // 2, shape[1] // 2)
    heat, area = enlarged(heatmap, size_wh)
    assert np.abs(heat - exact_heat(heatmap, size_wh)[area]).max() < steps / 255


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("seed", range(5))
def test_random_maps_agree_with_the_definition_once_their_hottest_cell_is_raised(seed, size_wh):
    heatmap = np.random.default_rng(seed).random((7, 7)).astype(np.float32)
    coefficients = spline_coefficients(heatmap)
    heat, area = enlarged(heatmap, size_wh)
    assert np.abs(heat - exact_spline(coefficients, size_wh)[area]).max() < 2 / 255
    # The cells keep their proportions, except that the hottest may be raised.
    others = np.delete(coefficients / heatmap, heatmap.argmax())
    np.testing.assert_allclose(others, others[0], rtol=1e-4)
    assert (coefficients / heatmap).flat[heatmap.argmax()] >= others[0] * 0.9999


def maps(largest=9):
    shapes = st.tuples(st.integers(1, largest), st.integers(1, largest))
    values = st.floats(0, 1, width=32)
    return shapes.flatmap(lambda shape: npst.arrays(np.float32, shape, elements=values)).filter(lambda m: m.max() > 0)


def test_a_plateau_gets_no_peak_because_one_of_its_cells_is_a_little_hotter():
    plateau = np.zeros((7, 7), np.float32)
    plateau[:, :4] = 1.0
    plateau[3, 3] = 1.0005  # at its edge, where the spline is lower than within it
    coefficients = spline_coefficients(plateau)
    np.testing.assert_allclose(coefficients, plateau * coefficients[0, 0], rtol=1e-5)
    assert coefficients[0, 0] == pytest.approx(1.0, abs=0.01)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(maps())
def test_the_peak_is_within_half_a_cell_of_the_hottest_cell(heatmap):
    peak_is_near_a_hottest_cell(heatmap)


@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (28, 28), (56, 56), (3, 20)])
@pytest.mark.parametrize("power", [1, 4])
def test_the_peak_of_larger_random_maps_is_within_half_a_cell(shape, power):
    for seed in range(10):
        peak_is_near_a_hottest_cell((np.random.default_rng(seed).random(shape) ** power).astype(np.float32))


def peak_is_near_a_hottest_cell(heatmap):
    """Cells that are a thousandth below the hottest one count as equally hot."""
    per_cell = 16
    surface = exact_spline(spline_coefficients(heatmap), (heatmap.shape[1] * per_cell, heatmap.shape[0] * per_cell))
    y, x = ((np.arange(side) + 0.5) / per_cell - 0.5 for side in surface.shape)
    distances = [
        np.maximum(np.abs(y - row)[:, np.newaxis], np.abs(x - column))
        for row, column in np.argwhere(heatmap >= heatmap.max() * 0.999)
    ]
    near = surface[np.min(distances, axis=0) <= 0.5].max()
    # At most two steps of the table of colors are between it and any place farther away.
    assert near >= surface.max() - 2 * heatmap.max() / 255
    # Between the searched points, of which there are only two per cell of the largest maps, it can be a little higher.
    assert near == pytest.approx(heatmap.max(), rel=0.02 if max(heatmap.shape) < 50 else 0.06)
