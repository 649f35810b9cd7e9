"""Clicks: from the picture to the frame and back, and what a place says."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.render.spots import frame_xy_of, picture_xy_of, read_spot
from live_cam.render.views import RenderSettings

CAT, DOG = Prediction(0, "cat", 0.75, 3.0), Prediction(1, "dog", 0.25, 2.0)


def explanation(heatmap, region_xywh=(0.0, 0.0, 1.0, 1.0), other=None):
    others = () if other is None else ((DOG, np.array(other, np.float32)),)
    return Explanation((CAT, DOG), CAT, np.array(heatmap, np.float32), region_xywh, others)


@pytest.mark.parametrize(
    ("settings", "picture_xy", "frame_xy"),
    [
        (RenderSettings(), (0.2, 0.3), (0.2, 0.3)),
        (RenderSettings(mirror=True), (0.2, 0.3), (0.8, 0.3)),
        (RenderSettings(view="split"), (0.6, 0.3), (0.2, 0.3)),  # a fifth of the right half
        (RenderSettings(view="split", mirror=True), (0.6, 0.3), (0.8, 0.3)),
    ],
)
def test_views_and_mirrors_are_seen_through(settings, picture_xy, frame_xy):
    assert frame_xy_of(picture_xy, settings) == pytest.approx(frame_xy)
    assert picture_xy_of(frame_xy, settings) == pytest.approx(picture_xy)


def test_a_click_on_the_raw_half_of_a_split_picture_means_the_same_place():
    assert frame_xy_of((0.1, 0.3), RenderSettings(view="split")) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    ("frame_xy", "share"),
    [((0.25, 0.25), 0.0), ((0.75, 0.25), 0.5), ((0.75, 0.75), 1.0), ((0.5, 0.25), 0.25), ((1.0, 1.0), 1.0)],
)
def test_heat_is_read_between_the_cells_as_it_is_drawn(frame_xy, share):
    # Cell centres of a 2x2 map are at 1/4 and 3/4.
    reading = read_spot(explanation([[0, 2], [0, 4]]), frame_xy, RenderSettings())
    assert reading.shares == (("cat", pytest.approx(share)),)


def test_every_class_with_a_map_is_read_by_its_own_peak():
    reading = read_spot(explanation([[1, 0]], other=[[1, 4]]), (0.0, 0.5), RenderSettings())
    assert reading.shares == (("cat", 1.0), ("dog", 0.25))


def test_the_part_that_the_network_saw_is_minded():
    # The middle half of the frame's width; its left edge is the map's.
    cropped = explanation([[4, 0]], (0.25, 0.0, 0.5, 1.0))
    assert read_spot(cropped, (0.25, 0.5), RenderSettings()).shares == (("cat", 1.0),)
    assert read_spot(cropped, (0.2, 0.5), RenderSettings()).shares == ()


@pytest.mark.parametrize("heatmap", [[[0, 0]], [[np.nan, 1]]])
def test_a_class_without_evidence_says_so(heatmap):
    assert read_spot(explanation(heatmap), (0.5, 0.5), RenderSettings()).shares == (("cat", None),)
