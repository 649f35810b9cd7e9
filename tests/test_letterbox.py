"""A picture of one size on a canvas of another."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.render.letterbox import letterbox

WHITE = 255


def white(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), WHITE, np.uint8)


@pytest.mark.parametrize(("image_wh", "canvas_wh", "box_xywh"), [
    ((40, 20), (40, 40), (0, 10, 40, 20)),  # a bar of ten rows above and below
    ((20, 40), (60, 40), (20, 0, 20, 40)),
    ((40, 20), (80, 60), (0, 10, 80, 40)),  # enlarged twice
    ((80, 40), (20, 20), (0, 5, 20, 10)),
    ((40, 20), (40, 20), (0, 0, 40, 20)),
    ((4, 3), (7, 4), (1, 0, 5, 4)),  # 5.33 pixels wide, so 2 are left: one on each side
    ((1000, 1), (10, 10), (0, 4, 10, 1)),  # never less than one pixel
])  # fmt: skip
def test_the_picture_is_whole_and_in_the_middle_of_black(image_wh, canvas_wh, box_xywh):
    dirty = np.full((canvas_wh[1], canvas_wh[0], 3), 77, np.uint8)
    for out in (None, dirty):
        canvas, place_xywh = letterbox(white(*image_wh), canvas_wh, out)
        assert (place_xywh, canvas.shape[1::-1], canvas.dtype) == (box_xywh, canvas_wh, np.uint8)
        left, top, width, height = box_xywh
        expected = np.zeros_like(canvas)
        expected[top : top + height, left : left + width] = WHITE
        np.testing.assert_array_equal(canvas, expected)
    assert canvas is dirty


def test_a_canvas_of_another_size_is_not_used():
    out = np.full((9, 9, 3), 77, np.uint8)
    canvas, _ = letterbox(white(4, 4), (8, 8), out)
    assert canvas.shape == (8, 8, 3)
    assert (out == 77).all()


def test_a_picture_that_needs_no_scaling_is_copied_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    canvas, (left, top, width, height) = letterbox(image, (40, 30))
    np.testing.assert_array_equal(canvas[top : top + height, left : left + width], image)
    assert not np.shares_memory(canvas, image)
