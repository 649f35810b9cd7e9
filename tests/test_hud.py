"""The head-up display, the help and the cards: what they show, and how much of the image they leave free."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.render.cards import opening_image, opening_message
from live_cam.render.figures import Figure, FigureTable
from live_cam.render.help_card import draw_help_card
from live_cam.render.hud import Status, draw_hud, hud_text_size_px
from live_cam.render.letterbox import letterbox
from live_cam.render.spots import SpotReading
from live_cam.render.text import BOLD, draw_text
from live_cam.viewers.commands import HELP_GROUPS, KEY_ROWS

CAT, TABBY = Prediction(285, "Egyptian cat", 0.784, 9.0), Prediction(281, "tabby", 0.031, 5.0)
EXPLANATION = Explanation((CAT, TABBY), CAT, np.array([[0, 1, 0], [2, 4, 1], [0, 0, 0]], np.float32))


def gray(size_wh, level=128):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def changed_box(before, after):
    """Left, top, right, bottom of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_hud_shows_known_figures_top_left_and_nothing_else():
    empty, speed, full = (gray((640, 480)) for _ in range(3))
    draw_hud(empty, Status())
    assert (empty == 128).all()
    draw_hud(speed, Status(fps=24.0, latency_ms=31.0))
    left, top, right, bottom = changed_box(empty, speed)
    assert left < 15
    assert top < 15
    assert right < 200
    assert bottom < 60
    figures = Status(fps=24.0, heatmap_age_ms=200, dropped_count=7, reconnect_count=1)
    draw_hud(full, figures)
    assert changed_box(empty, full)[3] > 1.5 * (bottom - top)  # four rows instead of two
    hidden = gray((640, 480))
    draw_hud(hidden, replace(figures, detail="none"))
    assert (hidden == 128).all()


def bar_lengths(image):
    """Pixels of the longest bright run in each row that has a bar, from top to bottom; bars are rows apart."""
    panel = image[-120:, 20:230].astype(int)
    is_filled = (panel.min(axis=2) > 85) & (panel.max(axis=2) > 180)
    counts = is_filled.sum(axis=1)
    rows = [row for row in range(1, len(counts)) if counts[row] > 20 and is_filled[row, :20].all()]
    return [counts[row] for row in rows if row - 1 not in rows]


def test_class_bars_are_proportional_to_the_probabilities():
    predictions = tuple(
        Prediction(index, label, probability, 1.0)
        for index, label, probability in ((0, "one", 0.6), (1, "two", 0.3), (2, "three", 0.15))
    )
    image = np.zeros((480, 640, 3), np.uint8)
    draw_hud(image, Status(explanation=Explanation(predictions, predictions[0], np.ones((7, 7), np.float32))))
    first, second, third = bar_lengths(image)
    assert first / second == pytest.approx(2, rel=0.05)
    assert second / third == pytest.approx(2, rel=0.08)


LYNX, TIGER_CAT = Prediction(287, "lynx", 0.02, 3.0), Prediction(282, "tiger cat", 0.09, 4.0)


def height_of_panel(explanation, size_wh=(640, 480)):
    image = gray(size_wh)
    draw_hud(image, Status(explanation=explanation))
    _, top, _, bottom = changed_box(gray(size_wh), image)
    return bottom - top


def test_the_class_panel_has_a_line_for_one_contrast_class_and_two_for_many():
    none = height_of_panel(EXPLANATION)
    one = height_of_panel(replace(EXPLANATION, contrast=(TABBY,)))
    similar = height_of_panel(replace(EXPLANATION, contrast=(TABBY, LYNX, TIGER_CAT)))
    many = height_of_panel(replace(EXPLANATION, contrast=(TABBY, LYNX, TIGER_CAT) * 9))
    line_px = one - none
    assert line_px > 10
    assert similar - none == many - none == pytest.approx(2 * line_px, abs=1)


@pytest.mark.parametrize("size_wh", [(160, 120), (320, 240), (640, 480), (1920, 1080), (720, 1280)])
def test_the_hud_leaves_most_of_the_image_free(size_wh):
    image = gray(size_wh)
    draw_hud(image, Status(explanation=EXPLANATION, fps=24.0, latency_ms=31.0, colormap="turbo"))
    assert (image != 128).any(axis=2).mean() < (0.5 if size_wh[0] < 320 else 0.32)
    middle = image[size_wh[1] * 2 // 5 : size_wh[1] // 2]
    assert (middle == 128).all()


def test_a_recording_is_marked_in_red():
    image = gray((640, 480))
    draw_hud(image, Status(recording_seconds=72))
    left, _, _, bottom = changed_box(gray((640, 480)), image)
    assert left > 500
    assert bottom < 60
    assert ((image[..., 2].astype(int) - image[..., 1]) > 120).any()


def test_a_message_is_in_the_center_and_a_recording_stays_marked():
    image = gray((640, 480))
    draw_hud(image, Status(message="offline for 12 s", message_note="reconnecting to camera 0"))
    left, top, right, bottom = changed_box(gray((640, 480)), image)
    assert (left + right) / 2 == pytest.approx(320, abs=1)
    assert (top + bottom) / 2 == pytest.approx(240, abs=1)
    both, recording = gray((640, 480)), gray((640, 480))
    status = Status(recording_seconds=72)
    draw_hud(both, replace(status, message="offline for 12 s", message_note="reconnecting to camera 0"))
    draw_hud(recording, status)
    assert (both[:60] == recording[:60]).all()
    assert (both[60:] == image[60:]).all()


# Pictures and windows: 16:9, 4:3, portrait, square; small and narrow windows, and full screen.
PICTURES_WH = [(640, 360), (640, 480), (360, 640), (500, 500), (1280, 360), (176, 144)]
WINDOWS_WH = [(300, 300), (160, 120), (200, 500), (1200, 900), (1920, 1080)]

MAPS = tuple((prediction, EXPLANATION.heatmap) for prediction in (TABBY, LYNX, TIGER_CAT))
LIVE = Status(explanation=EXPLANATION, fps=30.04, latency_ms=108.0, heatmap_age_ms=200.0, colormap="turbo")
STATUSES = {
    "few": LIVE,
    "all": replace(
        LIVE,
        detail="all",
        method="grad-cam",
        engine="litert",
        layer="block_13_expand_relu",
        dropped_count=70,
        stage_ms={"capture": 1.2, "preprocess": 0.8, "explain": 10.2, "render": 4.1, "write": None},
    ),
    "notice": replace(LIVE, recording_seconds=70, notice="recording livecam-20261124-120000.mp4"),
    "split": replace(LIVE, view="split", recording_seconds=605, notice="view: split"),
    "offline": Status(
        message="offline for 12 s",
        message_note="reconnecting to rtsp://192.168.0.20:554/stream",
        recording_seconds=70,
        notice="saved livecam-20261124-120000.jpg",
    ),
    "locked": replace(
        LIVE, explanation=replace(EXPLANATION, is_locked=True, contrast=(TABBY, LYNX, TIGER_CAT)), is_frozen=True
    ),
    "classes": replace(LIVE, explanation=replace(EXPLANATION, other_maps=MAPS), notice="layer: block_13_expand_relu"),
}


def in_window(picture, window_wh, status):
    """The picture in a window of that size with the display, without it, and where the picture lies in it."""
    without, (left, top, width, height) = letterbox(picture, window_wh)
    canvas = without.copy()
    fractions_xywh = (left / window_wh[0], top / window_wh[1], width / window_wh[0], height / window_wh[1])
    draw_hud(canvas, status, fractions_xywh)
    return canvas, without, (slice(top, top + height), slice(left, left + width))


SPOTS = [SpotReading(xy, (("Egyptian cat", 0.8), ("tabby", None))) for xy in ((0.0, 0.0), (0.5, 0.4), (0.99, 0.99))]


@pytest.mark.parametrize("window_wh", WINDOWS_WH)
@pytest.mark.parametrize("picture_wh", PICTURES_WH)
def test_nothing_is_drawn_beside_the_picture(picture_wh, window_wh):
    statuses = [*STATUSES.values(), Status(help_groups=HELP_GROUPS), *(replace(LIVE, spot=spot) for spot in SPOTS)]
    for status in statuses:
        canvas, without, inside = in_window(gray(picture_wh), window_wh, status)
        assert (canvas[inside] != without[inside]).any()
        canvas[inside] = without[inside]
        assert (canvas == without).all()


@pytest.mark.parametrize("window_wh", WINDOWS_WH)
@pytest.mark.parametrize("picture_wh", PICTURES_WH)
@pytest.mark.parametrize("name", STATUSES)
def test_panels_never_overlap(name, picture_wh, window_wh):
    canvas, _, inside = in_window(gray(picture_wh, 255), window_wh, STATUSES[name])
    shown = canvas[inside]
    assert (shown == 102).all(axis=2).any()
    # A panel lets 40 % of the white picture through; two would let 16 % through, which is 41.
    assert not (shown == 41).all(axis=2).any()


@pytest.mark.parametrize(("picture_wh", "name"), [((640, 360), "notice"), ((360, 640), "notice"), ((640, 480), "few")])
def test_a_window_of_300_pixels_shows_figures_recording_notice_and_class(picture_wh, name):
    status = STATUSES[name]
    alone = [replace(status, notice=""), replace(status, recording_seconds=None, notice=""), replace(status, fps=None)]
    alone += [replace(status, explanation=None, colormap="")]
    whole = in_window(gray(picture_wh), (300, 300), status)[0]
    shown = [in_window(gray(picture_wh), (300, 300), part)[0] for part in alone]
    # Each of them is seen: without it, the window looks different.
    assert [(whole != part).any() for part in shown] == [name == "notice", name == "notice", True, True]


def test_the_values_of_figures_end_in_one_line_and_their_names_begin_in_one():
    figures = [Figure("speed", "30 fps", "888 fps"), Figure("latency", "108 ms"), Figure("age", "1200 ms")]
    table = FigureTable.fit(figures, 640, 24)
    area = np.zeros((table.height_px(3), table.width_px, 3), np.uint8)
    table.draw(area)
    lit = area.max(axis=2) > 128
    rows = np.array_split(np.arange(area.shape[0]), 3)
    edges = [np.flatnonzero(lit[row].any(axis=0))[[0, -1]] for row in rows]
    lefts, rights = zip(*edges, strict=True)
    assert max(lefts) - min(lefts) <= 2
    assert max(rights) == min(rights)  # all end with an "s"
    assert rights[0] > table.width_px - 24


@pytest.mark.parametrize("detail", ["few", "all"])
def test_the_figures_keep_their_width_while_they_change(detail):
    status = replace(STATUSES["all"], detail=detail, explanation=None)
    boxes = set()
    for fps, latency_ms, dropped_count in ((1.0, 8.0, 0), (30.0, 108.0, 9), (144.0, 1234.0, 4711)):
        image = gray((640, 480))
        draw_hud(image, replace(status, fps=fps, latency_ms=latency_ms, dropped_count=dropped_count))
        boxes.add(changed_box(gray((640, 480)), image)[2])
    assert len(boxes) == 1


@pytest.mark.parametrize("picture_wh", [(1280, 360), (1280, 480), (720, 640), (300, 112)])
def test_both_halves_of_the_split_view_have_a_label_at_the_top_center(picture_wh):
    image, other = gray(picture_wh), gray(picture_wh)
    draw_hud(image, Status(view="split"))
    draw_hud(other, Status(view="overlay"))
    assert (other == 128).all()
    half = picture_wh[0] // 2
    for side in (slice(0, half), slice(half, None)):
        left, top, right, bottom = changed_box(gray(picture_wh)[:, side], image[:, side])
        assert (left + right) / 2 == pytest.approx(half / 2, abs=1)
        assert top < 15
        assert bottom < 50
        assert right - left < half


def help_card(groups, size_wh):
    image = gray(size_wh)
    draw_help_card(image, groups, hud_text_size_px(image.shape))
    return image


def with_other_key(row):
    """The help with another key in one row."""
    return tuple((heading, tuple(("j", row[1]) if r == row else r for r in rows)) for heading, rows in HELP_GROUPS)


def seen_row_count(size_wh):
    """Number of rows that are seen: another key changes the card."""
    card = help_card(HELP_GROUPS, size_wh)
    rows = [row for _, rows in HELP_GROUPS for row in rows]
    return sum((card != help_card(with_other_key(row), size_wh)).any() for row in rows)


@pytest.mark.parametrize(
    "size_wh", [(300, 169), (300, 225), (169, 300), (300, 300), (320, 240), (640, 480), (1920, 1080), (720, 1280)]
)
def test_the_help_card_shows_every_key(size_wh: tuple[int, int]):
    assert seen_row_count(size_wh) == len(KEY_ROWS)


def test_the_last_rows_of_the_help_are_left_out_where_they_cannot_be_read():
    assert 4 < seen_row_count((300, 84)) < len(KEY_ROWS)


def test_the_help_card_has_headings():
    image = gray((1200, 900), 0)
    draw_help_card(image, HELP_GROUPS, 16)
    found = []
    for heading in ("See", "Explain", "Save", "Other"):
        drawn = np.zeros((24, 120, 3), np.uint8)
        draw_text(drawn, heading, (4, 18), 16, weight=BOLD)
        left, top, right, bottom = changed_box(np.zeros_like(drawn), drawn)
        match = cv2.matchTemplate(image, drawn[top:bottom, left:right], cv2.TM_CCOEFF_NORMED)
        found.append(match.max() > 0.98)
    assert found == [True, True, True, False]


def test_the_help_card_is_dark_enough_to_be_read_on_white():
    white = gray((640, 480), 255)
    draw_help_card(white, HELP_GROUPS, 15)
    assert cv2.cvtColor(white, cv2.COLOR_BGR2GRAY)[240, 320:400].min() < 60


def test_the_help_is_shown_instead_of_everything_else():
    image, expected = gray((640, 480)), gray((640, 480))
    draw_hud(image, Status(explanation=EXPLANATION, fps=24.0, message="preparing the model", help_groups=HELP_GROUPS))
    draw_help_card(expected, HELP_GROUPS, hud_text_size_px(expected.shape))
    assert (image == expected).all()


def test_while_a_source_is_opened_the_waiting_time_is_shown_once_it_is_long():
    assert opening_image().shape == (480, 640, 3)
    assert [opening_message(seconds) for seconds in (0.0, 2.9, 3.0)] == ["opening", "opening", "opening, 3 s so far"]
