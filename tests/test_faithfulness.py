"""The faithfulness metrics, on arrays small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.evaluation import faithfulness
from live_cam.frame import WHOLE_FRAME_XYWH
from live_cam.preprocess import FrameFitter

EVERYWHERE = np.ones((4, 4), bool)


def gray(values: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8)[..., np.newaxis], 3, axis=2)


def test_a_map_is_divided_by_its_maximum_and_keeps_its_minimum():
    heat = faithfulness.heat_on_input(np.array([[2, 4], [6, 8]], np.float32), (2, 2))
    assert heat.tolist() == [[0.25, 0.5], [0.75, 1.0]]  # not stretched from 0 to 1


def test_a_map_is_enlarged_by_half_pixel_centers():
    heat = faithfulness.heat_on_input(np.array([[0, 1]], np.float32), (4, 1))
    # The centers of the cells are at 1 and 3, those of the pixels at 0.5, 1.5, 2.5, 3.5.
    assert heat.tolist() == [[0.0, 0.25, 0.75, 1.0]]


def test_a_map_without_evidence_is_zero_not_nan():
    assert not faithfulness.heat_on_input(np.zeros((2, 2), np.float32), (4, 4)).any()


def test_a_map_of_tiny_values_is_divided_without_loss():
    assert faithfulness.heat_on_input(np.full((1, 1), 1e-44, np.float32), (1, 1)).tolist() == [[1.0]]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_the_mask_is_where_the_fitter_puts_the_image(fit: str):
    white = np.full((30, 60, 3), 255, np.uint8)
    pixels, region_xywh = FrameFitter((16, 16), fit).fit(white)
    mask = faithfulness.image_mask(region_xywh, (16, 16))
    assert np.array_equal(mask, (pixels[0] == 255).all(axis=-1))
    # Padded, 60x30 becomes 16x8 in 16x16.
    assert mask.sum() == (128 if fit == "pad" else 256)


def test_dimming_multiplies_the_image_and_keeps_the_padding():
    pixels = gray([[100, 100], [200, 201]])
    heat = np.array([[0.0, 1.0], [0.5, 0.5]], np.float32)
    is_image = np.array([[True, True], [True, False]])
    assert faithfulness.dim(pixels, heat, is_image)[..., 0].tolist() == [[0, 100], [100, 201]]


@pytest.mark.parametrize(
    ("confidence", "dimmed", "drop"),
    [(0.8, 0.6, 25.0), (0.5, 0.0, 100.0), (0.5, 0.9, 0.0), (0.0, 0.0, 0.0)],
)
def test_a_drop_is_relative_and_never_negative(confidence: float, dimmed: float, drop: float):
    assert faithfulness.drop_percent(confidence, dimmed) == pytest.approx(drop)


def test_the_hottest_pixel_is_first():
    heat = np.array([[0.1, 0.9], [0.5, 0.3]], np.float32)
    order = faithfulness.hottest_first(heat, np.ones((2, 2), bool), np.random.default_rng(0))
    assert order.tolist() == [1, 2, 3, 0]


def test_the_order_leaves_out_the_padding():
    heat = np.array([[0.1, 0.9], [0.5, 0.3]], np.float32)
    is_image = np.array([[True, False], [True, True]])
    assert faithfulness.hottest_first(heat, is_image, np.random.default_rng(0)).tolist() == [2, 3, 0]


def test_the_seed_shuffles_equally_hot_pixels():
    flat = np.zeros((8, 8), np.float32)
    orders = [
        faithfulness.hottest_first(flat, np.ones((8, 8), bool), np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], np.arange(64))
    assert sorted(orders[0]) == list(range(64))


def test_pixels_are_exchanged_step_by_step_from_start_to_finish():
    start, finish = gray([[0, 0], [0, 0]]), gray([[1, 2], [3, 4]])
    steps = faithfulness.exchange_pixels(start, finish, np.array([3, 0, 1, 2]), 2)
    assert [step[..., 0].copy().tolist() for step in steps] == [[[0, 0], [0, 0]], [[1, 0], [0, 4]], [[1, 2], [3, 4]]]
    assert not start.any()


def test_deletion_gives_the_image_one_color_and_keeps_the_padding():
    is_image = np.array([[True, False]])
    assert faithfulness.delete(gray([[7, 7]]), is_image).tolist() == [[[104, 117, 124], [7, 7, 7]]]


def test_the_blur_is_a_gaussian_of_ten_pixels_at_224():
    pixels = gray([[0] * 224] * 224)
    pixels[:, 112:] = 255
    blurred = faithfulness.blur(pixels, np.ones((224, 224), bool))[100, :, 0].astype(float) / 255
    # A blurred edge is the normal distribution: 0.8413 one standard deviation behind the edge at 111.5.
    at_one_deviation = np.interp(111.5 + 10, np.arange(224), blurred)
    assert at_one_deviation == pytest.approx(0.8413, abs=0.01)


def test_the_blur_leaves_out_the_padding():
    pixels = gray([[200] * 32] * 32)
    pixels[:8] = pixels[24:] = 0
    is_image = np.zeros((32, 32), bool)
    is_image[8:24] = True
    assert np.array_equal(faithfulness.blur(pixels, is_image), pixels)


def test_areas_are_computed_by_the_trapezoid_rule():
    assert faithfulness.area_under(np.array([1.0, 0.0])) == 0.5
    assert faithfulness.area_under(np.array([0.0, 1.0, 1.0])) == 0.75
    assert faithfulness.area_under(np.full(29, 0.3)) == pytest.approx(0.3)


def test_a_box_covers_parts_of_pixels():
    # From 1/4 to 5/8 of 4 pixels: the whole second pixel and half of the third.
    cover = faithfulness.boxes_on_input(np.array([[0.25, 0.0, 0.625, 0.5]]), WHOLE_FRAME_XYWH, (4, 4))
    assert cover.tolist() == [[0, 1, 0.5, 0], [0, 1, 0.5, 0], [0] * 4, [0] * 4]


def test_overlapping_boxes_count_once_and_are_clipped_to_the_input():
    boxes = np.array([[-1.0, -1.0, 0.5, 2.0], [0.25, 0.0, 0.75, 1.0]])
    assert faithfulness.boxes_on_input(boxes, WHOLE_FRAME_XYWH, (4, 1)).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_box_is_mapped_to_where_the_fitter_puts_its_contents(fit: str):
    image = np.zeros((300, 600, 3), np.uint8)
    image[60:210, 210:420] = 255
    pixels, region_xywh = FrameFitter((60, 60), fit).fit(image)
    box = np.array([[210 / 600, 60 / 300, 420 / 600, 210 / 300]])
    cover = faithfulness.boxes_on_input(box, region_xywh, (60, 60))
    if fit == "pad":
        pixels = np.where(faithfulness.image_mask(region_xywh, (60, 60))[..., np.newaxis], pixels, 0)
    shown = pixels[0, ..., 0] / 255
    assert np.abs(cover - shown).mean() < 0.02
    assert cover.sum() == pytest.approx(shown.sum(), rel=0.02)


def test_energy_is_the_part_of_the_sum_inside_the_box():
    heat = np.array([[1, 2], [3, 4]], np.float32)
    assert faithfulness.energy_inside(heat, np.array([[0, 0], [0, 1]])) == pytest.approx(0.4)
    assert faithfulness.energy_inside(heat, np.array([[0, 0.5], [1, 0]])) == pytest.approx(0.4)
    assert faithfulness.energy_inside(np.zeros((2, 2), np.float32), np.ones((2, 2))) == 0.0


def test_ranks_and_not_values_are_correlated():
    values = np.array([[1, 2], [3, 4]], np.float32)
    assert faithfulness.rank_correlation(values, values**5) == pytest.approx(1.0)
    assert faithfulness.rank_correlation(values, -values) == pytest.approx(-1.0)
    # Spearman for distinct ranks: 1 - 6 sum(d^2) / (n (n^2 - 1)); ranks 1 2 3 4 and 2 1 4 3 give 1 - 24 / 60.
    assert faithfulness.rank_correlation(values, np.array([[2, 1], [4, 3]], np.float32)) == pytest.approx(0.6)


def test_equal_values_share_their_mean_rank():
    # Ranks 1.5 1.5 3 4 and 1 2 3 4: covariance 4.5, deviations sqrt(4.5) and sqrt(5).
    tied = faithfulness.rank_correlation(np.array([[0, 0, 5, 9]]), np.array([[1, 2, 3, 4]]))
    assert tied == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_a_flat_map_correlates_with_flat_maps_only():
    flat, other = np.zeros((2, 2), np.float32), np.array([[1, 2], [3, 4]], np.float32)
    assert faithfulness.rank_correlation(flat, other) == 0.0
    assert faithfulness.rank_correlation(flat, flat + 7) == 1.0
