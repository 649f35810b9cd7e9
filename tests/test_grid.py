"""The grid: how many places it has, where they lie, and which place of an image is clicked."""

from __future__ import annotations

import pytest

from live_cam.render.grid import Grid


@pytest.mark.parametrize(
    ("class_count", "columns", "rows"), [(1, 2, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (6, 3, 2), (7, 3, 3)]
)
def test_it_is_nearly_square(class_count, columns, rows):
    assert Grid.of_classes(class_count) == Grid(columns, rows)


@pytest.mark.parametrize("size_wh", [(640, 480), (641, 361), (176, 144), (2160, 3840)])
@pytest.mark.parametrize("class_count", range(1, 8))
def test_tiles_have_the_proportions_of_the_whole_and_do_not_overlap(class_count, size_wh):
    boxes = Grid.of_classes(class_count).boxes_xywh(size_wh)
    assert len(boxes) >= max(2, class_count)
    taken = set()
    for left, top, width, height in boxes:
        assert 0 <= left < left + width <= size_wh[0]
        assert 0 <= top < top + height <= size_wh[1]
        assert width / height == pytest.approx(size_wh[0] / size_wh[1], rel=0.02)
        taken |= {(x, y) for x in range(left, left + width, 8) for y in range(top, top + height, 8)}
    assert len(taken) == sum(len(range(0, w, 8)) * len(range(0, h, 8)) for _, _, w, h in boxes)


@pytest.mark.parametrize("class_count", range(1, 7))
def test_the_same_place_of_each_tile_is_found(class_count):
    grid, size_wh = Grid.of_classes(class_count), (1200, 600)
    for left, top, width, height in grid.boxes_xywh(size_wh):
        whole_xy = (left + 0.2 * width) / size_wh[0], (top + 0.7 * height) / size_wh[1]
        assert grid.tile_xy_of(whole_xy) == pytest.approx((0.2, 0.7))
    assert grid.tile_xy_of(grid.xy_of((0.2, 0.7))) == pytest.approx((0.2, 0.7))


def test_a_place_beside_the_tiles_is_in_none():
    # Two tiles lie in the middle of the height, from 1/4 to 3/4.
    assert Grid(2, 1).tile_xy_of((0.3, 0.1))[1] < 0
    assert Grid(2, 1).tile_xy_of((0.3, 0.9))[1] > 1
