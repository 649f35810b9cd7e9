"""The overlay: where the heatmap lies, how it blends, what it does not change, and which arguments are refused."""

from __future__ import annotations

import warnings
from itertools import product

import cv2
import numpy as np
import pytest
from splines import exact_heat

from live_cam.errors import SettingError
from live_cam.frame import Explanation, Prediction
from live_cam.render.colormaps import COLORMAPS, colormap_lut, heat_lut
from live_cam.render.heatmap_alignment import enlarge, place_axis
from live_cam.render.overlay import HeatPainter, overlay

SIZES_WH = [(176, 144), (640, 480), (1280, 720), (641, 479), (360, 640)]
WHOLE, CROP, PAD = (0.0, 0.0, 1.0, 1.0), (0.125, 0.0, 0.75, 1.0), (0.0, -0.25, 1.0, 1.5)


def noise(size_wh, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def one_hot(shape, row, column):
    heatmap = np.zeros(shape, np.float32)
    heatmap[row, column] = 3.0
    return heatmap


def explanation_with(heatmap, region_xywh=WHOLE):
    prediction = Prediction(0, "cat", 0.9, 2.0)
    return Explanation((prediction,), prediction, heatmap, region_xywh)


def exact_heat_blend(image, heatmap, colormap, opacity):
    """The definition, in float: color by heat t, weight opacity * u^2 (3 - 2 u), u from 0 at t = 0.15 to 1 at 0.85."""
    heat = exact_heat(heatmap, image.shape[1::-1])
    rise = np.clip((heat - 0.15) / 0.7, 0, 1)
    weight = (opacity * rise**2 * (3 - 2 * rise))[..., np.newaxis]
    colors = [np.interp(heat * 255, np.arange(256), channel) for channel in heat_lut(colormap).T]
    return image * (1 - weight) + np.stack(colors, axis=-1) * weight


def center_of_heat(image):
    weight = image.astype(np.float64).sum(axis=2)
    y, x = np.indices(weight.shape)
    return (weight * (x + 0.5)).sum() / weight.sum(), (weight * (y + 0.5)).sum() / weight.sum()


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (4, 9), (1, 1)])
def test_constant_blend_agrees_with_the_usual_recipe(size_wh, shape):
    image, heatmap = noise(size_wh), np.random.default_rng(1).random(shape).astype(np.float32) * 5
    heat = cv2.resize(heatmap / heatmap.max(), size_wh)
    colors = cv2.applyColorMap(np.uint8(255 * heat), cv2.COLORMAP_JET)
    expected = cv2.addWeighted(image, 0.4, colors, 0.6, 0)
    drawn = overlay(image, heatmap, opacity=0.6, colormap="jet", blend="constant")
    assert cv2.absdiff(drawn, expected).max() <= 1


@pytest.mark.parametrize(
    ("size_wh", "colormap"),
    [
        *product([(176, 144), (640, 480), (1280, 720), (1920, 1080), (641, 479)], ["turbo", "inferno", "jet"]),
        ((3840, 2160), "turbo"),
    ],
)
def test_heat_blend_agrees_with_its_definition(size_wh, colormap):
    image = noise(size_wh)
    y, x = np.mgrid[:7, :7]
    heatmap = np.exp(-((x - 3.4) ** 2 + (y - 2.2) ** 2) / 4).astype(np.float32)
    difference = np.abs(overlay(image, heatmap, colormap=colormap) - exact_heat_blend(image, heatmap, colormap, 0.6))
    # Where the map is steepest, rows and columns that share a sample are off by 1.25 and 1.5 of 255 steps.
    assert difference.mean() < 0.4
    assert np.percentile(difference, 99.9) < 2.5
    assert difference.max() < 4.5


@pytest.mark.parametrize(
    "region", [WHOLE, CROP, PAD, (0.3, 0.2, 0.1, 0.5), (-0.5, 0.1, 2.0, 0.41), (0.02, 0.02, 1, 0.95)]
)
@pytest.mark.parametrize("size_wh", [*SIZES_WH, (500, 1081)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_nothing_is_drawn_outside_the_region(size_wh, region, blend):
    image = noise(size_wh)
    drawn = HeatPainter(1.0, "jet", blend).paint(image, np.ones((7, 7), np.float32), region)
    x, y = (np.arange(side) + 0.5 for side in size_wh)
    inside_x = (x >= region[0] * size_wh[0]) & (x < (region[0] + region[2]) * size_wh[0])
    inside_y = (y >= region[1] * size_wh[1]) & (y < (region[1] + region[3]) * size_wh[1])
    inside = inside_y[:, np.newaxis] & inside_x
    hottest = heat_lut("jet")[255] if blend == "heat" else colormap_lut("jet")[255]
    assert (drawn[~inside] == image[~inside]).all()
    assert (np.abs(drawn[inside] - hottest) <= 1).all()


@pytest.mark.parametrize("region", [WHOLE, CROP, PAD, (0.11, 0.07, 0.83, 0.71)])
@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (641, 479), (360, 640)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_hot_cell_is_drawn_around_its_center(size_wh, region, blend):
    # Heat falls off equally on all sides, so its center is the cell's: left + (column + 1/2) / columns * width.
    black = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    drawn = HeatPainter(1.0, "hot", blend).paint(black, one_hot((7, 7), 4, 2), region)
    drawn[drawn < 60] = 0  # the coldest color of "hot" is almost black
    x, y = center_of_heat(drawn)
    assert x == pytest.approx((region[0] + 2.5 / 7 * region[2]) * size_wh[0], abs=0.3)
    assert y == pytest.approx((region[1] + 4.5 / 7 * region[3]) * size_wh[1], abs=0.3)


@pytest.mark.parametrize("shape", [(7, 7), (3, 5), (28, 28), (1, 1), (2, 1)])
def test_enlarging_a_part_of_a_map_gives_that_part_of_the_enlarged_map(shape):
    heatmap = np.random.default_rng(2).random(shape).astype(np.float32)
    whole = cv2.resize(heatmap, (640, 480))
    # The image shows pixels 100..420 and 60..400 of the map enlarged to 640x480.
    across, down = place_axis(320, -100 / 320, 2.0, shape[1]), place_axis(340, -60 / 340, 480 / 340, shape[0])
    part = enlarge(heatmap, across, down, np.empty((340, 320), np.float32))
    np.testing.assert_allclose(part, whole[60:400, 100:420], atol=1e-5)


def test_a_sample_shared_by_three_rows_is_that_of_the_middle_row():
    heatmap = np.random.default_rng(2).random((7, 7)).astype(np.float32)
    across = place_axis(10, 0.0, 1.0, 7)
    each = enlarge(heatmap, across, place_axis(722, 0.0, 1.0, 7), np.empty((722, 10), np.float32))
    thirds = enlarge(heatmap, across, place_axis(722, 0.0, 1.0, 7, step=3), np.empty((241, 10), np.float32))
    np.testing.assert_allclose(thirds, each[[*range(1, 722, 3), 721]][:241], atol=2e-5)


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (642, 362)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_symmetric_map_gives_a_symmetric_image(size_wh, blend):
    gray = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    quarter = np.random.default_rng(3).random((4, 4))
    half = np.vstack([quarter, quarter[2::-1]])
    heatmap = np.hstack([half, half[:, 2::-1]]).astype(np.float32)
    drawn = overlay(gray, heatmap, blend=blend)
    # The index into the color table may be rounded up on one side and down on the other.
    assert cv2.absdiff(drawn, cv2.flip(drawn, 1)).max() <= 3
    assert cv2.absdiff(drawn, cv2.flip(drawn, 0)).max() <= 3


@pytest.mark.parametrize("blend", ["heat", "constant"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_without_evidence_the_image_is_unchanged_and_nothing_warns(blend, value):
    image = noise((64, 48))
    heatmap = np.full((7, 7), 0.0, np.float32)
    heatmap[3, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = overlay(image, heatmap, blend=blend)
    assert (drawn == image).all()
    assert drawn is not image


def test_cold_areas_show_the_image_unchanged():
    image = noise((700, 700))
    drawn = overlay(image, one_hot((7, 7), 3, 3))
    # A B-spline is 0 from two cells on: 350 - 200 and 350 + 200.
    changed = (drawn != image).any(axis=2)
    assert not changed[:150].any()
    assert not changed[550:].any()
    assert not changed[:, :150].any()
    assert not changed[:, 550:].any()
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


def test_the_inputs_are_not_changed_and_out_is_used():
    image, heatmap = noise((320, 240)), np.random.default_rng(4).random((7, 7)).astype(np.float32)
    image_before, heatmap_before, out = image.copy(), heatmap.copy(), np.zeros_like(image)
    painter = HeatPainter()
    returned = painter.paint(image, heatmap, CROP, out=out)
    assert returned is out
    assert (image == image_before).all()
    assert (heatmap == heatmap_before).all()
    assert (painter.paint(image, heatmap, CROP, out=image) == out).all()


def test_earlier_images_do_not_change_how_a_painter_draws():
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
def test_any_size_of_image_and_map(size_wh, shape, blend):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for region in (WHOLE, CROP, PAD):
        drawn = HeatPainter(1.0, "turbo", blend).paint(image, np.ones(shape, np.float32), region)
        assert drawn.shape == image.shape
    assert HeatPainter(1.0, "turbo", blend).paint(image, np.ones(shape, np.float32)).any()


@pytest.mark.parametrize("region", [(2, 2, 1, 1), (0, -2, 1, 1), (-3, 0, 2, 1), (0.501, 0, 0.001, 1)])
@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_map_beside_the_image_or_between_two_pixels_leaves_it_unchanged(blend, region):
    image = noise((64, 48))
    drawn = overlay(image, explanation_with(np.ones((7, 7), np.float32), region), blend=blend)
    assert (drawn == image).all()


def test_an_explanation_is_drawn_on_its_region():
    image = noise((64, 48))
    drawn = overlay(image, explanation_with(np.ones((7, 7), np.float32), CROP))
    assert (drawn[:, :8] == image[:, :8]).all()
    assert (drawn[:, 8:56] != image[:, 8:56]).any(axis=2).mean() > 0.95


@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_an_image_with_an_unusual_memory_layout(blend):
    heatmap = np.random.default_rng(6).random((7, 7)).astype(np.float32)
    for image in (noise((64, 48))[:, ::-1], np.rot90(noise((64, 48)))):
        assert (overlay(image, heatmap, blend=blend) == overlay(image.copy(), heatmap, blend=blend)).all()


def test_wrong_names_and_shapes_are_refused_with_what_was_expected():
    image, heatmap = noise((64, 48)), np.ones((7, 7), np.float32)
    with pytest.raises(SettingError, match="from 0 to 1; got 1.5"):
        overlay(image, heatmap, opacity=1.5)
    with pytest.raises(SettingError, match="from 0 to 1; got nan"):
        overlay(image, heatmap, opacity=float("nan"))
    with pytest.raises(SettingError, match="opacity must be a number, not None"):
        overlay(image, heatmap, opacity=None)
    with pytest.raises(SettingError, match="scale must be a number, not str"):
        overlay(image, heatmap, scale="1")
    with pytest.raises(SettingError, match="unknown colormap 'turbos'; did you mean turbo"):
        overlay(image, heatmap, colormap="turbos")
    with pytest.raises(SettingError, match="colormap must be a name, not int; there are: inferno"):
        overlay(image, heatmap, colormap=cv2.COLORMAP_JET)
    with pytest.raises(SettingError, match="unknown blend 'heats'; did you mean heat"):
        overlay(image, heatmap, blend="heats")
    with pytest.raises(
        SettingError, match=r"heatmap of shape \(h, w\), got \(1, 7, 7\), float32; give one map at a time"
    ):
        overlay(image, heatmap[np.newaxis])
    with pytest.raises(SettingError, match=r"region, got \(0.0, 0.0, 0.0, 1.0\)"):
        overlay(image, explanation_with(heatmap, (0.0, 0.0, 0.0, 1.0)))


@pytest.mark.parametrize(
    ("image", "described"),
    [
        (None, "None"),
        ("cat.jpg", "str"),
        (noise((4, 4)).tolist(), "list"),
        (noise((4, 4))[..., 0], r"\(4, 4\), uint8"),
        (noise((4, 4))[np.newaxis], r"\(1, 4, 4, 3\), uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\), uint8"),
        (np.zeros((4, 4, 3), np.float32), r"\(4, 4, 3\), float32"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\), uint8"),
    ],
)
def test_anything_but_one_bgr_image_is_refused(image, described):
    with pytest.raises(SettingError, match=rf"\(height, width, 3\), uint8, got {described}; cv2.imread"):
        overlay(image, np.ones((7, 7), np.float32))


def test_a_pil_image_is_refused():
    pil_image = pytest.importorskip("PIL.Image").new("RGB", (64, 48))
    with pytest.raises(SettingError, match="uint8, got Image; "):
        overlay(pil_image, np.ones((7, 7), np.float32))


# What a caller may pass by mistake, for any argument.
ODD_VALUES = [
    None, True, 0, -1, 10**400, 0.5, 1e308, -np.inf, np.nan, 1j, "", "jet", "jett", b"jet", [], [1, 2], [[1, 2], [3]],
    {}, set(), (), object(), np.float32(0.5), np.float64("nan"), np.int64(3), np.array(0.5), np.array([0.1, 0.2]),
    np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3), "M8[s]"), np.full((2, 2), "a"), np.zeros((2, 0), np.float32),
    np.ones((2, 2), np.complex64), np.ones((2, 2), bool), np.array([[None]]), Explanation, explanation_with(None),
    explanation_with([[1, 2], [3]]), explanation_with(np.ones((2, 2)), None), explanation_with(np.ones((2, 2)), "abcd"),
    explanation_with(np.ones((2, 2)), (0, 0, np.nan, 1)), explanation_with(np.ones((2, 2)), [0, 0, 1e300, 1]),
]  # fmt: skip


@pytest.mark.parametrize("name", ["image", "explanation", "opacity", "colormap", "blend", "scale"])
@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: f"{type(value).__name__}")
def test_an_odd_argument_gives_an_image_or_a_setting_error(name, value):
    image = noise((64, 48))
    arguments = {"image": image, "explanation": np.ones((7, 7), np.float32), name: value}
    try:
        drawn, message = overlay(**arguments), ""
    except SettingError as error:
        drawn, message = None, str(error)
    if drawn is None:
        assert message.count("\n") == 0
    else:
        assert drawn.shape == arguments["image"].shape
        assert drawn.dtype == np.uint8


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_maps_of_any_number_type_are_drawn_alike(dtype):
    image, heatmap = noise((64, 48)), one_hot((7, 7), 3, 3) > 0
    assert (overlay(image, heatmap.astype(dtype)) == overlay(image, heatmap.astype(np.float32))).all()
    assert (overlay(image, heatmap.tolist()) == overlay(image, heatmap.astype(np.float32))).all()


@pytest.mark.parametrize("name", COLORMAPS)
def test_colormaps_are_those_of_opencv_and_cannot_be_changed(name):
    ramp = np.arange(256, dtype=np.uint8)
    expected = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    lut = colormap_lut(name)
    assert (lut == expected.reshape(256, 3)).all()
    with pytest.raises(ValueError, match="read-only"):
        lut[0] = 0
