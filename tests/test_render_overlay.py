"""The heatmap over the picture: where it lies, how it blends, and what it leaves alone."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.frame import Explanation, Prediction
from live_cam.render.colormaps import COLORMAPS, colormap_lut, heat_lut
from live_cam.render.overlay import HeatPainter, overlay
from live_cam.render.placement import enlarge, lay_axis

SIZES_WH = [(176, 144), (640, 480), (1280, 720), (641, 479), (360, 640)]
WHOLE, CROP, PAD = (0.0, 0.0, 1.0, 1.0), (0.125, 0.0, 0.75, 1.0), (0.0, -0.25, 1.0, 1.5)


def noise(size_wh, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def one_hot(shape, row, column):
    heatmap = np.zeros(shape, np.float32)
    heatmap[row, column] = 3.0
    return heatmap


def exact_heat_blend(image, heatmap, colormap, opacity):
    """The definition, in float: colour by heat t, weight opacity * t^2 (3 - 2 t)."""
    heat = cv2.resize(heatmap.astype(np.float64) / heatmap.max(), image.shape[1::-1])
    weight = (opacity * heat**2 * (3 - 2 * heat))[..., np.newaxis]
    colours = [np.interp(heat * 255, np.arange(256), channel) for channel in heat_lut(colormap).T]
    return image * (1 - weight) + np.stack(colours, axis=-1) * weight


def centre_of_heat(picture):
    weight = picture.astype(np.float64).sum(axis=2)
    y, x = np.indices(weight.shape)
    return (weight * (x + 0.5)).sum() / weight.sum(), (weight * (y + 0.5)).sum() / weight.sum()


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (4, 9), (1, 1)])
def test_constant_blend_is_the_usual_recipe(size_wh, shape):
    image, heatmap = noise(size_wh), np.random.default_rng(1).random(shape).astype(np.float32) * 5
    share = cv2.resize(heatmap / heatmap.max(), size_wh)
    colours = cv2.applyColorMap(np.uint8(255 * share), cv2.COLORMAP_JET)
    expected = cv2.addWeighted(image, 0.4, colours, 0.6, 0)
    painted = overlay(image, heatmap, opacity=0.6, colormap="jet", blend="constant")
    assert cv2.absdiff(painted, expected).max() <= 1


@pytest.mark.parametrize("colormap", ["turbo", "inferno", "jet"])
@pytest.mark.parametrize("size_wh", [(176, 144), (640, 480), (1280, 720), (1920, 1080), (641, 479)])
def test_heat_blend_is_its_definition(size_wh, colormap):
    image = noise(size_wh)
    y, x = np.mgrid[:7, :7]
    heatmap = np.exp(-((x - 3.4) ** 2 + (y - 2.2) ** 2) / 4).astype(np.float32)
    difference = np.abs(overlay(image, heatmap, colormap=colormap) - exact_heat_blend(image, heatmap, colormap, 0.6))
    # Rows and columns that share their colours are off by 1.25 and 0.75 of 255 steps, where the map is steepest.
    assert difference.mean() < 0.4
    assert np.percentile(difference, 99.9) < 2.5
    assert difference.max() < 4.5


@pytest.mark.parametrize(
    "region", [WHOLE, CROP, PAD, (0.3, 0.2, 0.1, 0.5), (-0.5, 0.1, 2.0, 0.41), (0.02, 0.02, 1, 0.95)]
)
@pytest.mark.parametrize("size_wh", [*SIZES_WH, (500, 1081)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_nothing_is_painted_outside_the_region(size_wh, region, blend):
    image = noise(size_wh)
    painted = HeatPainter(1.0, "jet", blend).paint(image, np.ones((7, 7), np.float32), region)
    x, y = (np.arange(side) + 0.5 for side in size_wh)
    inside_x = (x >= region[0] * size_wh[0]) & (x < (region[0] + region[2]) * size_wh[0])
    inside_y = (y >= region[1] * size_wh[1]) & (y < (region[1] + region[3]) * size_wh[1])
    inside = inside_y[:, np.newaxis] & inside_x
    hottest = heat_lut("jet")[255] if blend == "heat" else colormap_lut("jet")[255]
    assert (painted[~inside] == image[~inside]).all()
    assert (np.abs(painted[inside] - hottest) <= 1).all()


@pytest.mark.parametrize("region", [WHOLE, CROP, PAD, (0.11, 0.07, 0.83, 0.71)])
@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (641, 479), (360, 640)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_hot_cell_is_drawn_around_its_own_middle(size_wh, region, blend):
    # Red falls off alike on all sides, so its centre is the cell's: left + (column + 1/2) / columns * width.
    black = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    painted = HeatPainter(1.0, "hot", blend).paint(black, one_hot((7, 7), 4, 2), region)
    painted[painted < 60] = 0  # the coldest colour of "hot" is not quite black
    x, y = centre_of_heat(painted)
    assert x == pytest.approx((region[0] + 2.5 / 7 * region[2]) * size_wh[0], abs=0.3)
    assert y == pytest.approx((region[1] + 4.5 / 7 * region[3]) * size_wh[1], abs=0.3)


@pytest.mark.parametrize("shape", [(7, 7), (3, 5), (28, 28), (1, 1), (2, 1)])
def test_enlarging_a_part_gives_the_part_of_the_enlarged(shape):
    heatmap = np.random.default_rng(2).random(shape).astype(np.float32)
    whole = cv2.resize(heatmap, (640, 480))
    # The frame is pixels 100..420 and 60..400 of the map's 640x480.
    across, down = lay_axis(320, -100 / 320, 2.0, shape[1]), lay_axis(340, -60 / 340, 480 / 340, shape[0])
    part = enlarge(heatmap, across, down, np.empty((340, 320), np.float32))
    np.testing.assert_allclose(part, whole[60:400, 100:420], atol=1e-5)


def test_a_sample_for_three_rows_is_the_middle_row():
    heatmap = np.random.default_rng(2).random((7, 7)).astype(np.float32)
    across = lay_axis(10, 0.0, 1.0, 7)
    each = enlarge(heatmap, across, lay_axis(722, 0.0, 1.0, 7), np.empty((722, 10), np.float32))
    thirds = enlarge(heatmap, across, lay_axis(722, 0.0, 1.0, 7, step=3), np.empty((241, 10), np.float32))
    np.testing.assert_allclose(thirds, each[[*range(1, 722, 3), 721]][:241], atol=2e-5)


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (642, 362)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_symmetric_map_gives_a_symmetric_picture(size_wh, blend):
    grey = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    quarter = np.random.default_rng(3).random((4, 4))
    half = np.vstack([quarter, quarter[2::-1]])
    heatmap = np.hstack([half, half[:, 2::-1]]).astype(np.float32)
    painted = overlay(grey, heatmap, blend=blend)
    # The index into the table may round to either side of a half.
    assert cv2.absdiff(painted, cv2.flip(painted, 1)).max() <= 3
    assert cv2.absdiff(painted, cv2.flip(painted, 0)).max() <= 3


@pytest.mark.parametrize("blend", ["heat", "constant"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_without_evidence_the_picture_stays_and_nothing_warns(blend, value):
    image = noise((64, 48))
    heatmap = np.full((7, 7), 0.0, np.float32)
    heatmap[3, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        painted = overlay(image, heatmap, blend=blend)
    assert (painted == image).all()
    assert painted is not image


def test_cold_areas_show_the_picture_itself():
    image = noise((700, 700))
    painted = overlay(image, one_hot((7, 7), 3, 3))
    # Bilinear heat ends at the neighbours' centres: 250 and 450.
    changed = (painted != image).any(axis=2)
    assert not changed[:250].any()
    assert not changed[450:].any()
    assert not changed[:, :250].any()
    assert not changed[:, 450:].any()
    assert changed[300:400, 300:400].all()


def test_a_higher_scale_draws_colder_and_a_lower_one_hotter():
    black = np.zeros((70, 70, 3), np.uint8)
    heatmap = np.full((7, 7), 2.0, np.float32)
    for blend in ("heat", "constant"):
        hottest = overlay(black, heatmap, 1.0, "jet", blend)
        assert (overlay(black, heatmap, 1.0, "jet", blend, scale=1.0) == hottest).all()
        assert (overlay(black, heatmap, 1.0, "jet", blend, scale=1e-30) == hottest).all()
    half = overlay(black, heatmap, 1.0, "jet", "constant", scale=4.0)
    assert (half == colormap_lut("jet")[127]).all()  # int(255 * 2 / 4)
    assert (overlay(black, heatmap, scale=1e9) == black).all()


def test_the_input_is_not_changed_and_out_is_used():
    image, heatmap = noise((320, 240)), np.random.default_rng(4).random((7, 7)).astype(np.float32)
    image_before, heatmap_before, out = image.copy(), heatmap.copy(), np.zeros_like(image)
    painter = HeatPainter()
    returned = painter.paint(image, heatmap, CROP, out=out)
    assert returned is out
    assert (image == image_before).all()
    assert (heatmap == heatmap_before).all()
    assert (painter.paint(image, heatmap, CROP, out=image) == out).all()


def test_a_painter_remembers_nothing_of_earlier_frames():
    painter, random = HeatPainter(), np.random.default_rng(5)
    for size_wh, shape, region in [
        ((640, 480), (7, 7), WHOLE),
        ((176, 144), (14, 14), CROP),
        ((176, 144), (7, 7), CROP),
        ((176, 144), (7, 7), PAD),
        ((1280, 720), (7, 7), WHOLE),
    ]:
        image, heatmap = noise(size_wh), random.random(shape).astype(np.float32)
        assert (painter.paint(image, heatmap, region) == HeatPainter().paint(image, heatmap, region)).all()


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 90), (90, 1), (2, 3), (3840, 2160)])
@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (28, 5)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_any_size_of_picture_and_map(size_wh, shape, blend):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for region in (WHOLE, CROP, PAD):
        painted = HeatPainter(1.0, "turbo", blend).paint(image, np.ones(shape, np.float32), region)
        assert painted.shape == image.shape
    assert HeatPainter(1.0, "turbo", blend).paint(image, np.ones(shape, np.float32)).any()


def test_an_explanation_is_laid_on_its_region():
    image, prediction = noise((64, 48)), Prediction(0, "cat", 0.9, 2.0)
    explanation = Explanation((prediction,), prediction, np.ones((7, 7), np.float32), CROP)
    painted = overlay(image, explanation)
    assert (painted[:, :8] == image[:, :8]).all()
    assert (painted[:, 8:56] != image[:, 8:56]).any(axis=2).mean() > 0.95


@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_picture_in_an_unusual_order_in_memory(blend):
    heatmap = np.random.default_rng(6).random((7, 7)).astype(np.float32)
    for image in (noise((64, 48))[:, ::-1], np.rot90(noise((64, 48)))):
        assert (overlay(image, heatmap, blend=blend) == overlay(image.copy(), heatmap, blend=blend)).all()


def test_wrong_settings_say_what_is_right():
    image, heatmap = noise((64, 48)), np.ones((7, 7), np.float32)
    with pytest.raises(SettingError, match="from 0 to 1; got 1.5"):
        overlay(image, heatmap, opacity=1.5)
    with pytest.raises(SettingError, match="unknown colormap 'turbos'; did you mean turbo"):
        overlay(image, heatmap, colormap="turbos")
    with pytest.raises(SettingError, match="unknown blend 'heats'; did you mean heat"):
        overlay(image, heatmap, blend="heats")
    with pytest.raises(SettingError, match=r"\(height, width, 3\), uint8, got \(48, 64\)"):
        overlay(image[..., 0], heatmap)
    with pytest.raises(SettingError, match=r"heatmap of shape \(h, w\), got \(1, 7, 7\)"):
        overlay(image, heatmap[np.newaxis])


@pytest.mark.parametrize("name", COLORMAPS)
def test_colormaps_are_opencvs_and_safe_to_share(name):
    ramp = np.arange(256, dtype=np.uint8)
    expected = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    lut = colormap_lut(name)
    assert (lut == expected.reshape(256, 3)).all()
    with pytest.raises(ValueError, match="read-only"):
        lut[0] = 0
