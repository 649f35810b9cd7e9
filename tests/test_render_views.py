"""Caption, views and the window's texts: that they are there, fit, and stay out of the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.frame import Explanation, Frame, Prediction
from live_cam.render.caption import caption_lines, draw_caption, score_text
from live_cam.render.hud import Status, draw_hud, draw_message
from live_cam.render.overlay import overlay
from live_cam.render.text import TextLine, draw_plate, printable, shortened, text_size_px, text_width_px
from live_cam.render.views import VIEWS, Renderer, RenderSettings

SIZES_WH = [(176, 144), (320, 240), (640, 360), (1920, 1080), (3840, 2160), (360, 640)]
CAT, TABBY = Prediction(285, "Egyptian cat", 0.784, 9.0), Prediction(281, "tabby", 0.031, 5.0)
HEAT = np.array([[0, 1, 0], [2, 4, 1], [0, 0, 0]], np.float32)


def grey(size_wh, level=128):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def noise(size_wh):
    return np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def explanation(explained=CAT, heatmap=HEAT, predictions=(CAT, TABBY)):
    return Explanation(predictions, explained, heatmap)


def with_caption(image):
    captioned = image.copy()
    draw_caption(captioned, explanation())
    return captioned


def labelled(label, probability=0.5):
    prediction = Prediction(0, label, probability, 0.0)
    return Explanation((prediction,), prediction, HEAT)


def changed_box(before, after):
    """Left, top, right, bottom of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("label", ["cat", "soft-coated wheaten terrier", "a label without end " * 50, "猫 кошка قطة"])
def test_the_caption_is_bottom_left_and_covers_little(size_wh, label):
    image = grey(size_wh)
    draw_caption(image, labelled(label))
    left, top, right, bottom = changed_box(grey(size_wh), image)
    width, height = size_wh
    assert 0 < left < 0.06 * width
    assert 0.9 * height < bottom < height
    assert right < width
    assert bottom - top < max(0.1 * height, 30)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size_wh", [(176, 144), (640, 480), (3840, 2160)])
def test_the_caption_is_light_on_dark_whatever_is_below(size_wh, level):
    image = grey(size_wh, level)
    left, top, right, bottom = changed_box(image, drawn := with_caption(image))
    plate = drawn[top:bottom, left:right]
    assert plate.max() == 255
    assert np.median(plate) <= 0.42 * level  # white on this: a contrast of at least 5 to 1
    text_rows = np.flatnonzero((plate > max(0.9 * level, 200)).all(axis=2)[:, 4:-4].any(axis=1))
    assert text_rows[-1] - text_rows[0] >= 11  # with the tails of g, y and p


def test_text_grows_with_the_picture_but_slower():
    assert text_size_px((144, 176, 3)) == 13
    assert text_size_px((480, 640, 3)) == 20
    assert text_size_px((2160, 3840, 3)) == text_size_px((3840, 2160, 3)) == 53


def test_a_caption_says_the_class_and_how_sure():
    assert [(line.text, line.tail) for line in caption_lines(explanation())] == [("Egyptian cat", "78 %")]


def test_a_caption_names_the_top_class_when_another_is_explained():
    lines = caption_lines(explanation(explained=TABBY))
    assert [(line.text, line.tail) for line in lines] == [("tabby", "3.1 %"), ("top class: Egyptian cat", "78 %")]


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_caption_says_when_nothing_spoke_for_the_class(bad):
    lines = caption_lines(explanation(heatmap=np.full((7, 7), bad, np.float32)))
    assert [line.text for line in lines] == ["Egyptian cat", "no positive evidence"]


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(1.0, "100 %"), (0.784, "78 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.031, "3.1 %"), (0.0001, "<0.1 %")],
)
def test_probabilities_in_per_cent(probability, expected):
    assert score_text(Prediction(0, "cat", probability, 0.0)) == expected


def test_a_regression_shows_its_value():
    assert score_text(Prediction(0, "degrees", None, 23.456)) == "23.5"


def test_what_no_font_can_show_is_left_out():
    assert printable("two\nlines\tand \x00 \ud800 half a pair") == "two lines and half a pair"
    image = grey((320, 240))
    draw_caption(image, labelled("\ud800 \U0001f600 \u202e\x00"))
    assert (image != 128).any()


def test_a_long_text_ends_in_an_ellipsis_and_fits():
    text = "black-and-tan coonhound"
    cut = shortened(text, 120, 20, 500)
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    assert text_width_px(cut, 20, 500) <= 120
    assert text_width_px(text[: len(cut)] + "…", 20, 500) > 120  # one letter more would not fit
    assert shortened("cat", 120, 20, 500) == "cat"


@pytest.mark.parametrize("size_wh", [(4, 4), (8, 8), (40, 20), (20, 200)])
def test_pictures_too_small_for_text(size_wh):
    image = grey(size_wh)
    draw_caption(image, explanation(explained=TABBY))
    assert changed_box(grey(size_wh), image)[0] < 6  # a plate wider than the picture loses its right end, not its left
    draw_hud(image, Status(fps=24.0, engine="litert"))
    draw_message(image, "preparing")
    assert image.shape == grey(size_wh).shape


def test_threads_draw_text_side_by_side():
    def drawn(job):
        size, text = job
        image = grey((400, 100))
        draw_plate(image, [TextLine(text)], (0.0, 0.0), size)
        return image

    jobs = [(size, text) for size in range(11, 50) for text in ("Egyptian cat", "78 % äöü", "голова 中文")] * 8
    expected = [drawn(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        assert all((one == other).all() for one, other in zip(pool.map(drawn, jobs), expected, strict=True))


def test_the_hud_shows_what_is_known_top_left_and_nothing_else():
    empty, speed, full = (grey((640, 480)) for _ in range(3))
    draw_hud(empty, Status())
    assert (empty == 128).all()
    draw_hud(speed, Status(fps=24.0, latency_ms=31.0))
    left, top, right, bottom = changed_box(empty, speed)
    assert left < 15
    assert top < 15
    assert right < 200
    assert bottom < 50
    figures = Status(fps=24.0, heat_age_ms=200, dropped_count=7, reconnect_count=1)
    draw_hud(full, figures)
    assert changed_box(empty, full)[3] > 2 * (bottom - top)  # three lines
    hidden = grey((640, 480))
    draw_hud(hidden, replace(figures, detail="none"))
    assert (hidden == 128).all()


def bar_lengths(image):
    """Pixels of the longest bright run in each row that has a bar, from top to bottom; bars are rows apart."""
    plate = image[-120:, 20:230].astype(int)
    is_filled = (plate.min(axis=2) > 85) & (plate.max(axis=2) > 180)
    counts = is_filled.sum(axis=1)
    rows = [row for row in range(1, len(counts)) if counts[row] > 20 and is_filled[row, :20].all()]
    return [counts[row] for row in rows if row - 1 not in rows]


def test_the_class_bars_are_as_long_as_the_classes_are_probable():
    predictions = tuple(
        Prediction(index, label, probability, 1.0)
        for index, label, probability in ((0, "one", 0.6), (1, "two", 0.3), (2, "three", 0.15))
    )
    image = np.zeros((480, 640, 3), np.uint8)
    draw_hud(image, Status(explanation=Explanation(predictions, predictions[0], np.ones((7, 7), np.float32))))
    first, second, third = bar_lengths(image)
    assert first / second == pytest.approx(2, rel=0.05)
    assert second / third == pytest.approx(2, rel=0.08)


@pytest.mark.parametrize("size_wh", [(160, 120), (320, 240), (640, 480), (1920, 1080), (720, 1280)])
def test_the_hud_leaves_most_of_the_picture_free(size_wh):
    image = grey(size_wh)
    draw_hud(image, Status(explanation=explanation(), fps=24.0, latency_ms=31.0, colormap="turbo"))
    assert (image != 128).any(axis=2).mean() < (0.45 if size_wh[0] < 320 else 0.32)
    middle = image[size_wh[1] * 2 // 5 : size_wh[1] // 2]
    assert (middle == 128).all()


def test_a_recording_is_marked_in_red():
    image = grey((640, 480))
    draw_hud(image, Status(recording_seconds=72))
    left, top, right, bottom = changed_box(grey((640, 480)), image)
    assert left > 500
    assert bottom < 60
    assert ((image[..., 2].astype(int) - image[..., 1]) > 120).any()


def test_a_message_is_in_the_middle():
    image = grey((640, 480))
    draw_message(image, "preparing the model ...")
    left, top, right, bottom = changed_box(grey((640, 480)), image)
    assert (left + right) / 2 == pytest.approx(320, abs=1)
    assert (top + bottom) / 2 == pytest.approx(240, abs=1)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_wh", [(176, 144), (641, 361), (2160, 3840)])
def test_the_drawn_size_is_the_promised_one_and_the_frame_is_kept(size_wh, view, mirror):
    frame = Frame(noise(size_wh), 7, 1.25)
    before = frame.image.copy()
    renderer = Renderer(RenderSettings(view=view, mirror=mirror))
    drawn = renderer.draw(frame, explanation())
    assert drawn.image.shape[1::-1] == renderer.drawn_size_wh(size_wh)
    assert (drawn.index, drawn.time_seconds) == (7, 1.25)
    assert (frame.image == before).all()
    assert not np.shares_memory(drawn.image, frame.image)


def test_what_each_view_shows():
    image = noise((320, 240))
    views = {
        view: Renderer(RenderSettings(view=view, caption=False)).draw(Frame(image, 0, 0.0), explanation()).image
        for view in VIEWS
    }
    painted = overlay(image, HEAT)
    assert (views["original"] == image).all()
    assert (views["overlay"] == painted).all()
    assert (views["split"][:, :319] == image[:, :319]).all()
    assert (views["split"][:, 321:] == painted[:, 1:]).all()
    assert (views["heatmap"] == overlay(np.zeros_like(image), HEAT, 1.0, blend="constant")).all()


def test_a_pair_stays_within_what_encoders_take():
    renderer = Renderer(RenderSettings(view="split"))
    assert renderer.drawn_size_wh((640, 480)) == (1280, 480)
    assert renderer.drawn_size_wh((1920, 1080)) == (3840, 1080)
    assert renderer.drawn_size_wh((3840, 2160)) == (3840, 1080)


@pytest.mark.parametrize("view", ["overlay", "heatmap", "original"])
def test_a_mirror_turns_picture_and_heat_but_not_the_text(view):
    frame = Frame(noise((640, 480)), 0, 0.0)

    def drawn(**settings):
        return Renderer(RenderSettings(view=view, **settings)).draw(frame, explanation()).image

    bare, mirrored = drawn(caption=False), drawn(mirror=True, caption=False)
    assert (mirrored == cv2.flip(bare, 1)).all()
    expected = mirrored.copy()
    draw_caption(expected, explanation())
    assert (drawn(mirror=True) == expected).all()


def test_a_mirrored_pair_keeps_the_raw_picture_left():
    image = noise((320, 240))
    drawn = Renderer(RenderSettings(view="split", mirror=True)).draw(Frame(image, 0, 0.0), explanation()).image
    assert (drawn[:, :319] == cv2.flip(image, 1)[:, :319]).all()


def test_the_heatmap_alone_is_black_where_the_network_did_not_look():
    cropped = Explanation((CAT,), CAT, HEAT, (0.25, 0.0, 0.5, 1.0))
    drawn = Renderer(RenderSettings(view="heatmap", caption=False)).draw(Frame(noise((320, 240)), 0, 0.0), cropped)
    assert not drawn.image[:, :80].any()
    assert not drawn.image[:, 240:].any()
    assert drawn.image[:, 80:240].any(axis=2).all()


def test_settings_are_checked_when_the_renderer_is_made():
    with pytest.raises(SettingError, match="unknown view 'overlya'; did you mean overlay"):
        Renderer(RenderSettings(view="overlya"))
    with pytest.raises(SettingError, match="unknown colormap 'jett'; did you mean jet"):
        Renderer(RenderSettings(colormap="jett", view="heatmap"))
    with pytest.raises(SettingError, match="from 0 to 1; got -1"):
        Renderer(RenderSettings(opacity=-1, view="heatmap"))
    with pytest.raises(SettingError, match="unknown blend 'even'"):
        Renderer(RenderSettings(blend="even", view="heatmap"))
