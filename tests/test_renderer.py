"""The annotated image: captions and views."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from splines import exact_spline

from live_cam.errors import SettingError
from live_cam.frame import Explanation, Prediction
from live_cam.render.caption import caption_lines, contrast_text, draw_caption, score_text
from live_cam.render.class_panel import draw_class_panel
from live_cam.render.colormaps import CLASS_COLORS_BGR, class_colors_bgr, colormap_lut
from live_cam.render.hud import Status, draw_hud, hud_text_size_px
from live_cam.render.overlay import overlay
from live_cam.render.renderer import VIEWS, Renderer
from live_cam.render.spline import spline_coefficients
from live_cam.render.text import (
    ACCENT_BGR,
    TextLine,
    draw_text,
    draw_text_panel,
    printable,
    shortened,
    text_size_px,
    text_width_px,
)
from live_cam.settings import RenderSettings

SIZES_WH = [(176, 144), (320, 240), (640, 360), (1920, 1080), (3840, 2160), (360, 640)]
CAT, TABBY = Prediction(285, "Egyptian cat", 0.784, 9.0), Prediction(281, "tabby", 0.031, 5.0)
HEAT = np.array([[0, 1, 0], [2, 4, 1], [0, 0, 0]], np.float32)


def gray(size_wh, level=128):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def noise(size_wh):
    return np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def explanation(explained=CAT, heatmap=HEAT, predictions=(CAT, TABBY)):
    return Explanation(predictions, explained, heatmap)


def with_caption(image):
    drawn = image.copy()
    draw_caption(drawn, explanation())
    return drawn


def labeled(label, probability=0.5):
    prediction = Prediction(0, label, probability, 0.0)
    return Explanation((prediction,), prediction, HEAT)


def changed_box(before, after):
    """Left, top, right, bottom of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("label", ["cat", "soft-coated wheaten terrier", "a very long label " * 50, "猫 кошка قطة"])
def test_the_caption_is_bottom_left_and_covers_little(size_wh, label):
    image = gray(size_wh)
    draw_caption(image, labeled(label))
    left, top, right, bottom = changed_box(gray(size_wh), image)
    width, height = size_wh
    assert 0 < left < 0.06 * width
    assert 0.9 * height < bottom < height
    assert right < width
    assert bottom - top < max(0.1 * height, 30)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size_wh", [(176, 144), (640, 480), (3840, 2160)])
def test_the_caption_is_light_on_dark_over_any_image(size_wh, level):
    image = gray(size_wh, level)
    left, top, right, bottom = changed_box(image, drawn := with_caption(image))
    panel = drawn[top:bottom, left:right]
    assert panel.max() == 255
    assert np.median(panel) <= 0.42 * level  # white on this has a contrast of at least 5 to 1
    text_rows = np.flatnonzero((panel > max(0.9 * level, 200)).all(axis=2)[:, 4:-4].any(axis=1))
    assert text_rows[-1] - text_rows[0] >= 11  # including the descenders of g, y and p


def test_text_grows_with_the_image_but_more_slowly():
    assert text_size_px((144, 176, 3)) == 13
    assert text_size_px((480, 640, 3)) == 20
    assert text_size_px((2160, 3840, 3)) == text_size_px((3840, 2160, 3)) == 53


def test_the_caption_has_the_explained_class_and_its_probability():
    assert [(line.text, line.tail) for line in caption_lines(explanation())] == [("Egyptian cat", "78 %")]


def test_the_caption_names_the_top_class_if_another_is_explained():
    lines = caption_lines(explanation(explained=TABBY))
    assert [(line.text, line.tail) for line in lines] == [("explaining tabby", "3.1 %"), ("top: Egyptian cat", "78 %")]


def test_the_caption_says_whether_the_class_is_locked_and_the_network_unsure():
    def note(explained: Explanation) -> list[str]:
        return [line.text for line in caption_lines(explained)[1:]]

    weak = Prediction(281, "tabby", 0.099, 1.0)
    unsure = Explanation((weak,), weak, HEAT)
    assert note(explanation()) == []
    assert note(replace(explanation(), is_locked=True)) == ["locked"]
    assert note(unsure) == ["unsure"]
    assert note(replace(unsure, is_locked=True)) == ["locked · unsure"]
    assert note(replace(unsure, predictions=(replace(weak, probability=0.1),))) == []
    assert note(replace(unsure, predictions=(replace(weak, probability=None),))) == []  # a number


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_the_caption_says_if_there_is_no_positive_evidence(bad):
    lines = caption_lines(explanation(heatmap=np.full((7, 7), bad, np.float32)))
    assert [line.text for line in lines] == ["Egyptian cat", "no positive evidence"]


TIGER = Prediction(282, "tiger cat", 0.09, 4.0)
NO_HEAT = np.zeros((7, 7), np.float32)


@pytest.mark.parametrize(
    ("contrast", "heatmap", "expected"),
    [
        ((TABBY,), HEAT, [("Egyptian cat, not tabby", "78 %")]),
        ((TIGER, TABBY), HEAT, [("Egyptian cat, not similar classes", "78 %"), ("tiger cat, tabby", "")]),
        ((TABBY,), NO_HEAT, [("Egyptian cat, not tabby", "78 %"), ("no evidence for Egyptian cat over tabby", "")]),
        (
            (TIGER, TABBY),
            NO_HEAT,
            [
                ("Egyptian cat, not similar classes", "78 %"),
                ("tiger cat, tabby", ""),
                ("no evidence for Egyptian cat over similar classes", ""),
            ],
        ),
    ],
)
def test_the_caption_names_the_contrast(
    contrast: tuple[Prediction, ...], heatmap: np.ndarray, expected: list[tuple[str, str]]
):
    lines = caption_lines(replace(explanation(heatmap=heatmap), contrast=contrast))
    assert [(line.text, line.tail) for line in lines] == expected


def test_the_contrast_is_that_of_the_explained_class_only_if_several_are_explained():
    several = replace(explanation(), contrast=(TABBY,), other_maps=((TABBY, HEAT), (TIGER, HEAT)))
    assert [line.text for line in caption_lines(several)] == ["Egyptian cat, not tabby", "tabby", "tiger cat"]


def test_no_contrast_has_no_text():
    assert contrast_text(explanation()) == ""


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(1.0, "100 %"), (0.784, "78 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.031, "3.1 %"), (0.0001, "<0.1 %")],
)
def test_probabilities_are_in_percent(probability, expected):
    assert score_text(Prediction(0, "cat", probability, 0.0)) == expected


def test_a_regression_has_its_value_instead():
    assert score_text(Prediction(0, "degrees", None, 23.456)) == "23.5"


def test_characters_that_cannot_be_drawn_are_left_out():
    assert printable("two\nlines\tand \x00 \ud800 half a pair") == "two lines and half a pair"
    image = gray((320, 240))
    draw_caption(image, labeled("\ud800 \U0001f600 \u202e\x00"))
    assert (image != 128).any()


def test_a_long_text_ends_in_an_ellipsis_and_fits():
    text = "black-and-tan coonhound"
    cut = shortened(text, 120, 20, 500)
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    assert text_width_px(cut, 20, 500) <= 120
    assert text_width_px(text[: len(cut)] + "…", 20, 500) > 120  # one more letter would not fit
    assert shortened("cat", 120, 20, 500) == "cat"


@pytest.mark.parametrize("size_wh", [(4, 4), (8, 8), (40, 20), (20, 200)])
def test_images_too_small_for_text(size_wh):
    image = gray(size_wh)
    draw_caption(image, explanation(explained=TABBY))
    assert changed_box(gray(size_wh), image)[0] < 6  # a panel wider than the image loses its right end
    draw_hud(image, Status(fps=24.0, engine="litert", message="preparing", view="split", recording_seconds=1.0))
    assert image.shape == gray(size_wh).shape


@pytest.mark.parametrize("weight", [400, 500, 600])
def test_a_zero_is_an_empty_oval_as_high_and_wide_as_the_other_digits(weight):
    def drawn(text, size):
        image = np.zeros((2 * size, size, 3), np.uint8)
        draw_text(image, text, (0, int(1.5 * size)), size, weight=weight)
        return image[..., 0]

    zero, eight = drawn("0", 100), drawn("8", 100)
    (left, top, right, bottom), other = (changed_box(0 * digit[..., None], digit[..., None]) for digit in (zero, eight))
    assert (left, top, right, bottom) == pytest.approx(other, abs=3)
    middle_y, middle_x = (top + bottom) // 2, (left + right) // 2
    assert not zero[middle_y - 20 : middle_y + 21, middle_x - 8 : middle_x + 9].any()
    for size in (12, 15, 24, 53):
        small = drawn("0", size)
        lit = np.flatnonzero(small.any(axis=1))
        row = small[(lit[0] + lit[-1]) // 2, : text_width_px("0", size, weight)]
        assert row[len(row) // 2] < 128 < row.max()


def test_text_around_zeros_is_where_the_font_puts_it():
    drawn, expected = np.zeros((60, 400, 3), np.uint8), np.zeros((60, 400, 3), np.uint8)
    draw_text(drawn, "10 %, 200 ms 1:05", (-5, 40), 30)
    cv2.putText(expected, "10 %, 200 ms 1:05", (-5, 40), (255, 255, 255), cv2.FontFace("sans"), 30, 500)
    differs = np.abs(drawn.astype(int) - expected).max(axis=(0, 2)) > 24
    # Only the four zeros differ; each is as wide as a digit.
    digit_px = text_width_px("0", 30, 500) - 1
    starts = [text_width_px(text, 30, 500) - 1 - 5 for text in ("1", "10 %, 2", "10 %, 20", "10 %, 200 ms 1:")]
    zeros = np.zeros(400, bool)
    for start in starts:
        zeros[start : start + digit_px] = True
        assert differs[start : start + digit_px].any()
    assert not differs[~zeros].any()


@pytest.mark.parametrize("symbol", "·–…←→●□▶■×")
def test_the_font_has_the_symbols_that_panels_use(symbol):
    def drawn(text):
        image = np.zeros((60, 60, 3), np.uint8)
        draw_text(image, text, (10, 45), 30)
        return image

    # What the font does not have is drawn as a question mark.
    assert (drawn("\u2610") == drawn("?")).all()
    assert drawn(symbol).any()
    assert (drawn(symbol) != drawn("?")).any()


def test_text_can_be_drawn_from_several_threads():
    def drawn(job):
        size, text = job
        image = gray((400, 100))
        draw_text_panel(image, [TextLine(text)], (0.0, 0.0), size)
        return image

    jobs = [(size, text) for size in range(11, 50) for text in ("Egyptian cat", "78 % äöü", "голова 中文")] * 8
    expected = [drawn(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        assert all((image == other).all() for image, other in zip(pool.map(drawn, jobs), expected, strict=True))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_wh", [(176, 144), (641, 361), (2160, 3840)])
def test_the_output_has_the_promised_size_and_the_image_is_not_changed(size_wh, view, mirror):
    image = noise(size_wh)
    before = image.copy()
    renderer = Renderer(RenderSettings(view=view, mirror=mirror))
    drawn = renderer.draw(image, explanation())
    assert drawn.shape[1::-1] == renderer.output_size_wh(size_wh)
    assert (image == before).all()
    assert not np.shares_memory(drawn, image)
    assert not np.shares_memory(drawn, renderer.draw(image, explanation()))


@pytest.mark.parametrize("view", [view for view in VIEWS if view != "grid"])
def test_a_viewer_gets_the_image_without_its_caption(view):
    image, renderer = noise((320, 240)), Renderer(RenderSettings(view=view))
    without = renderer.draw(image, explanation(), caption=False)
    assert (without == Renderer(RenderSettings(view=view, caption=False)).draw(image, explanation())).all()
    assert (without != renderer.draw(image, explanation())).any()


@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_renderer_can_be_used_from_several_threads(blend):
    renderer = Renderer(RenderSettings(blend=blend))
    jobs = [(noise((side, 300)), explanation(heatmap=np.roll(HEAT, side))) for side in range(300, 420, 10)] * 6
    expected = [Renderer(renderer.settings).draw(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda job: renderer.draw(*job), jobs))
    assert all((image == other).all() for image, other in zip(drawn, expected, strict=True))


def test_what_each_view_shows():
    image = noise((320, 240))
    views = {view: Renderer(RenderSettings(view=view, caption=False)).draw(image, explanation()) for view in VIEWS}
    overlaid = overlay(image, HEAT)
    assert (views["original"] == image).all()
    assert (views["overlay"] == overlaid).all()
    assert (views["split"][:, :319] == image[:, :319]).all()
    assert (views["split"][:, 321:] == overlaid[:, 1:]).all()
    constant = Renderer(RenderSettings(view="heatmap", blend="constant", caption=False)).draw(image, explanation())
    assert (constant == overlay(np.zeros_like(image), HEAT, 1.0, blend="constant")).all()
    smooth = np.clip(exact_spline(spline_coefficients(HEAT / HEAT.max()), (320, 240)), 0, 1)
    # The index into the table of colors may be rounded up or down.
    nearest = (
        np.abs(views["heatmap"][..., np.newaxis, :].astype(int) - colormap_lut("inferno")).max(axis=-1).argmin(axis=-1)
    )
    assert np.abs(nearest - 255 * smooth).max() < 3


def test_the_split_view_is_at_most_3840_pixels_wide():
    renderer = Renderer(RenderSettings(view="split"))
    assert renderer.output_size_wh((640, 480)) == (1280, 480)
    assert renderer.output_size_wh((1920, 1080)) == (3840, 1080)
    assert renderer.output_size_wh((3840, 2160)) == (3840, 1080)


@pytest.mark.parametrize("view", ["overlay", "heatmap", "original"])
def test_mirror_flips_image_and_heat_but_not_the_text(view):
    image = noise((640, 480))

    def drawn(**settings):
        return Renderer(RenderSettings(view=view, **settings)).draw(image, explanation())

    bare, mirrored = drawn(caption=False), drawn(mirror=True, caption=False)
    assert (mirrored == cv2.flip(bare, 1)).all()
    expected = mirrored.copy()
    draw_caption(expected, explanation())
    assert (drawn(mirror=True) == expected).all()


def test_the_mirrored_split_view_keeps_the_raw_image_on_the_left():
    image = noise((320, 240))
    drawn = Renderer(RenderSettings(view="split", mirror=True)).draw(image, explanation())
    assert (drawn[:, :319] == cv2.flip(image, 1)[:, :319]).all()


def of_classes(*heatmaps, color_indices=(), region_xywh=(0.0, 0.0, 1.0, 1.0)):
    """An explanation of one class per map."""
    classes = [Prediction(index, f"class {index}", 0.5 / (index + 1), 1.0) for index in range(len(heatmaps))]
    heatmaps = [np.array(heatmap, np.float32) for heatmap in heatmaps]
    others = tuple(zip(classes[1:], heatmaps[1:], strict=True))
    return Explanation(tuple(classes), classes[0], heatmaps[0], region_xywh, others, color_indices=tuple(color_indices))


LEFT, RIGHT = np.zeros((5, 9)), np.zeros((5, 9))
LEFT[2, 2], RIGHT[2, 6] = 2.0, 1.0
ORANGE, BLUE, GREEN, PURPLE, YELLOW = CLASS_COLORS_BGR.values()


def has_color(image, color_bgr):
    return bool((np.abs(image.astype(int) - color_bgr).max(axis=2) < 20).any())


@pytest.mark.parametrize("view", ["overlay", "split"])
def test_several_classes_are_drawn_as_lines_in_their_colors_without_fills(view):
    drawn = Renderer(RenderSettings(view=view, caption=False)).draw(gray((640, 360)), of_classes(LEFT, RIGHT))
    drawn = drawn[:, -640:]
    if view == "split":
        drawn[:, 0] = 128  # the line between the halves
    assert has_color(drawn[:, :320], ORANGE)
    assert has_color(drawn[:, 320:], BLUE)
    assert (drawn == 128).all(axis=2).mean() > 0.95
    # The hottest places are inside of the lines, and show the frame.
    assert (drawn[160:200, 170:190] == 128).all()


def test_a_class_keeps_its_color_when_it_is_no_longer_first():
    renderer, frame = Renderer(RenderSettings(caption=False)), gray((640, 360))
    before = renderer.draw(frame, of_classes(LEFT, RIGHT, color_indices=(0, 1)))
    after = renderer.draw(frame, of_classes(RIGHT, LEFT, color_indices=(1, 0)))
    assert (before == after).all()
    assert not (renderer.draw(frame, of_classes(RIGHT, LEFT)) == before).all()


def test_captions_and_panels_have_the_colors_of_the_lines():
    explained = of_classes(LEFT, RIGHT, color_indices=(3, 2))
    assert [line.color_bgr for line in caption_lines(explained)] == [PURPLE, GREEN]
    panel = gray((640, 480))
    draw_class_panel(panel, explained, 20)
    assert has_color(panel, PURPLE)
    assert has_color(panel, GREEN)
    assert not has_color(panel, ORANGE)


def test_a_probability_that_is_no_number_has_an_empty_bar():
    def bar_px(probability: float) -> int:
        """Length of the bar: the longest row in its color."""
        predictions = (Prediction(0, "left", probability, 1.0),)
        panel = gray((640, 480))
        draw_class_panel(panel, replace(of_classes(LEFT), predictions=predictions, explained=predictions[0]), 20)
        return int((panel == ACCENT_BGR).all(axis=2).sum(axis=1).max())

    assert bar_px(0.5) > 100
    # Text has the color, too.
    assert max(bar_px(float("nan")), bar_px(0.0)) < 50


def test_colors_repeat_if_there_are_more_classes_than_colors():
    assert class_colors_bgr(of_classes(*[LEFT] * 6)) == [ORANGE, BLUE, GREEN, PURPLE, YELLOW, ORANGE]
    assert class_colors_bgr(of_classes(LEFT, RIGHT, color_indices=(6, 0))) == [BLUE, ORANGE]


def test_a_class_with_negligible_evidence_has_no_line():
    def drawn(*heatmaps, **options):
        return Renderer(RenderSettings(caption=False)).draw(gray((640, 360)), of_classes(*heatmaps), **options)

    assert has_color(drawn(LEFT, 0.2 * RIGHT), BLUE)
    assert not has_color(drawn(LEFT, 0.02 * RIGHT), BLUE)  # 1 % of the other's peak
    assert not has_color(drawn(LEFT, RIGHT, scale=1000.0), BLUE)
    assert not has_color(drawn(LEFT, 0 * RIGHT), BLUE)


def test_the_heatmap_view_of_several_classes_has_the_first_ones_heat_and_all_lines():
    settings = RenderSettings(view="heatmap", caption=False)
    drawn = Renderer(settings).draw(gray((640, 360)), of_classes(LEFT, RIGHT))
    alone = Renderer(settings).draw(gray((640, 360)), of_classes(LEFT))
    assert (drawn != alone).any(axis=2).mean() < 0.05
    assert has_color(drawn, BLUE)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_grid_has_an_image_per_class_by_one_scale_and_the_frame_in_a_free_place(mirror):
    frame = noise((640, 480))
    settings = RenderSettings(view="grid", caption=False, mirror=mirror)
    drawn = Renderer(settings).draw(frame, of_classes(LEFT, RIGHT, LEFT + RIGHT))
    small = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)
    expected = [*(overlay(small, heatmap, scale=2.0) for heatmap in (LEFT, RIGHT, LEFT + RIGHT)), small]
    for number, (image, color) in enumerate(zip(expected, (ORANGE, BLUE, GREEN, None), strict=True)):
        top, left = 240 * (number // 2), 320 * (number % 2)
        tile = drawn[top : top + 240, left : left + 320]
        if color is not None:
            assert (tile[0] == color).all()
        assert (tile[5:] == (cv2.flip(image, 1) if mirror else image)[5:]).all()


def test_the_grid_of_one_class_has_its_heat_and_the_frame():
    frame = noise((640, 480))
    drawn = Renderer(RenderSettings(view="grid", caption=False)).draw(frame, explanation())
    small = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)
    assert (drawn[120:360] == np.hstack([overlay(small, HEAT), small])).all()
    assert not drawn[:120].any()
    assert not drawn[360:].any()


@pytest.mark.parametrize("caption", [True, False])
def test_the_labels_of_the_grid_are_on_its_images_also_for_viewers(caption):
    renderer = Renderer(RenderSettings(view="grid"))
    drawn = renderer.draw(gray((640, 480)), of_classes(LEFT, RIGHT, 0 * LEFT), caption=caption)
    for number, color in enumerate((ORANGE, BLUE, GREEN)):
        top, left = 240 * (number // 2), 320 * (number % 2)
        assert has_color(drawn[top + 200 : top + 240, left : left + 160], color)


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 2), (7, 3), (40, 20)])
def test_a_grid_in_an_image_that_is_too_small_for_it(size_wh):
    drawn = Renderer(RenderSettings(view="grid")).draw(noise(size_wh), of_classes(*[LEFT] * 5))
    assert drawn.shape[1::-1] == size_wh


@pytest.mark.parametrize("size_wh", [(176, 144), (640, 480), (1920, 1080)])
@pytest.mark.parametrize("view", ["overlay", "split", "heatmap", "original"])
def test_the_panel_has_the_class_bars_instead_of_the_caption(view, size_wh):
    def drawn(caption=True, **settings):
        return Renderer(RenderSettings(view=view, **settings)).draw(noise(size_wh), explanation(), caption=caption)

    bare = drawn(caption=False)
    expected = bare.copy()
    right = expected[:, expected.shape[1] // 2 :] if view == "split" else expected
    draw_class_panel(right, explanation(), hud_text_size_px(right.shape))
    assert (expected != bare).any()
    assert (drawn(panel=True) == expected).all()
    # A viewer draws its own.
    assert (drawn(panel=True, caption=False) == bare).all()


@pytest.mark.parametrize("size_wh", [(1, 1), (4, 4), (11, 40), (12, 12), (13, 13), (40, 2)])
@pytest.mark.parametrize("view", ["overlay", "split", "heatmap", "original"])
def test_an_image_too_small_for_the_panel_is_drawn_without_it(view, size_wh):
    drawn = Renderer(RenderSettings(view=view, panel=True)).draw(noise(size_wh), explanation())
    assert drawn.shape[1::-1] == Renderer(RenderSettings(view=view)).output_size_wh(size_wh)


def test_the_heatmap_view_is_black_where_the_network_did_not_look():
    cropped = Explanation((CAT,), CAT, HEAT, (0.25, 0.0, 0.5, 1.0))
    drawn = Renderer(RenderSettings(view="heatmap", caption=False)).draw(noise((320, 240)), cropped)
    assert not drawn[:, :80].any()
    assert not drawn[:, 240:].any()
    assert drawn[:, 80:240].any(axis=2).all()


def test_a_renderer_checks_its_settings():
    with pytest.raises(SettingError, match="unknown view 'overlya'; did you mean overlay"):
        Renderer(RenderSettings(view="overlya"))
    with pytest.raises(SettingError, match="view must be a name, not NoneType; there are: overlay"):
        Renderer(RenderSettings(view=None))
    with pytest.raises(SettingError, match="unknown colormap 'jett'; did you mean jet"):
        Renderer(RenderSettings(colormap="jett", view="heatmap"))
    with pytest.raises(SettingError, match="from 0 to 1; got -1"):
        Renderer(RenderSettings(opacity=-1, view="heatmap"))
    with pytest.raises(SettingError, match="unknown blend 'even'"):
        Renderer(RenderSettings(blend="even", view="heatmap"))
