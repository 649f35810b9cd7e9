"""Clicks: from the annotated image to the frame and back, and the evidence at a place."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.render.spots import frame_xy_of, image_xy_of, read_spot
from live_cam.settings import RenderSettings

CAT, DOG = Prediction(0, "cat", 0.75, 3.0), Prediction(1, "dog", 0.25, 2.0)


def explanation(heatmap, region_xywh=(0.0, 0.0, 1.0, 1.0), other=None):
    others = () if other is None else ((DOG, np.array(other, np.float32)),)
    return Explanation((CAT, DOG), CAT, np.array(heatmap, np.float32), region_xywh, others)


@pytest.mark.parametrize(
    ("settings", "image_xy", "frame_xy"),
    [
        (RenderSettings(), (0.2, 0.3), (0.2, 0.3)),
        (RenderSettings(mirror=True), (0.2, 0.3), (0.8, 0.3)),
        (RenderSettings(view="split"), (0.6, 0.3), (0.2, 0.3)),  # a fifth of the right half
        (RenderSettings(view="split", mirror=True), (0.6, 0.3), (0.8, 0.3)),
    ],
)
def test_places_are_converted_for_each_view_and_mirror(settings, image_xy, frame_xy):
    assert frame_xy_of(image_xy, settings) == pytest.approx(frame_xy)
    assert image_xy_of(frame_xy, settings) == pytest.approx(image_xy)


def test_a_click_on_the_raw_half_of_the_split_view_means_the_same_place():
    assert frame_xy_of((0.1, 0.3), RenderSettings(view="split")) == pytest.approx((0.2, 0.3))


def test_a_click_on_any_image_of_the_grid_means_the_same_place():
    # Three classes and the frame: two by two.
    for image_xy in ((0.1, 0.15), (0.6, 0.15), (0.1, 0.65), (0.6, 0.65)):
        assert frame_xy_of(image_xy, RenderSettings(view="grid"), 3) == pytest.approx((0.2, 0.3))
        assert frame_xy_of(image_xy, RenderSettings(view="grid", mirror=True), 3) == pytest.approx((0.8, 0.3))
    # The mark is on the explained class's image.
    assert image_xy_of((0.2, 0.3), RenderSettings(view="grid"), 3) == pytest.approx((0.1, 0.15))


@pytest.mark.parametrize(
    ("frame_xy", "share"),
    [((0.25, 0.25), 0.0), ((0.75, 0.25), 0.5), ((0.75, 0.75), 1.0), ((0.5, 0.25), 0.25), ((1.0, 1.0), 1.0)],
)
def test_heat_is_interpolated_linearly_between_cells_if_it_is_drawn_so(frame_xy, share):
    # Cell centers of a 2x2 map are at 1/4 and 3/4.
    reading = read_spot(explanation([[0, 2], [0, 4]]), frame_xy, RenderSettings(blend="constant"))
    assert reading.shares == (("cat", pytest.approx(share)),)


def test_heat_is_read_from_the_smooth_map_that_is_drawn():
    hot_cell = np.zeros((5, 5), np.float32)
    hot_cell[2, 2] = 3.0
    for place, share in (((0.5, 0.5), 1.0), ((0.7, 0.5), 1 / 4), ((0.7, 0.7), 1 / 16), ((0.9, 0.5), 0.0)):
        # A B-spline has 2/3 of its height at its center, and 1/6 one cell away.
        reading = read_spot(explanation(hot_cell), place, RenderSettings())
        assert reading.shares == (("cat", pytest.approx(share, abs=1e-5)),)


def test_maps_are_read_relative_to_the_highest_peak_of_all():
    reading = read_spot(explanation([[1, 0]], other=[[1, 4]]), (0.0, 0.5), RenderSettings(blend="constant"))
    assert reading.shares == (("cat", 0.25), ("dog", 0.25))


def test_the_region_that_the_network_saw_is_respected():
    # The map covers the middle half of the frame's width: its left edge is at 0.25.
    cropped = explanation([[4, 0]], (0.25, 0.0, 0.5, 1.0))
    assert read_spot(cropped, (0.25, 0.5), RenderSettings()).shares == (("cat", pytest.approx(1.0)),)
    assert read_spot(cropped, (0.2, 0.5), RenderSettings()).shares == ()


@pytest.mark.parametrize("heatmap", [[[0, 0]], [[np.nan, 1]]])
def test_a_class_without_evidence_has_no_share(heatmap):
    assert read_spot(explanation(heatmap), (0.5, 0.5), RenderSettings()).shares == (("cat", None),)
