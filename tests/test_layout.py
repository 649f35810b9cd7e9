"""Panels get places that do not overlap, the most important panel first."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from live_cam.render.layout import chosen_places


def test_a_less_important_panel_gives_way_and_is_left_out_where_there_is_no_room():
    first, elsewhere = (1, 1, 10, 10), (20, 1, 10, 10)
    assert chosen_places((40, 20), [[first], [first, elsewhere]], 1) == [first, elsewhere]
    assert chosen_places((40, 20), [[first], [first]], 1) == [first, None]
    assert chosen_places((40, 20), [[]], 1) == [None]


def test_an_important_panel_leaves_the_best_place_of_others_free_if_it_can():
    shared, elsewhere = (1, 1, 10, 10), (20, 1, 10, 10)
    assert chosen_places((40, 20), [[shared, elsewhere], [shared]], 1) == [elsewhere, shared]
    assert chosen_places((20, 20), [[shared, elsewhere], [shared]], 1) == [shared, None]  # it cannot


@pytest.mark.parametrize(("box", "is_inside"), [
    ((2, 2, 16, 6), True), ((1, 2, 9, 6), False), ((2, 1, 9, 6), False), ((2, 2, 17, 6), False), ((2, 2, 9, 7), False),
])  # fmt: skip
def test_panels_keep_their_distance_from_the_edges(box, is_inside):
    assert chosen_places((20, 10), [[box]], 2) == [box if is_inside else None]


def test_chosen_places_are_apart():
    random = np.random.default_rng(0)
    placed_count = 0
    for _ in range(200):
        places = [
            [tuple(int(number) for number in random.integers(1, 60, 4)) for _ in range(random.integers(0, 6))]
            for _ in range(6)
        ]
        boxes = [box for box in chosen_places((100, 100), places, 3) if box is not None]
        placed_count += len(boxes)
        used = np.zeros((110, 110), int)
        for left, top, width, height in boxes:
            # With half of the gap around each box, no pixel belongs to two of them.
            used[top - 1 : top + height + 2, left - 1 : left + width + 2] += 1
        assert used.max(initial=0) <= 1
        assert all(first != second for first, second in combinations(boxes, 2))
    assert placed_count > 300
