"""Places panels on an image so that none overlaps another or leaves the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

# Left, top, width, height in pixels.
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel that can be drawn at several places.

    Attributes:
        places: From the best to the worst.
        draw: Draws it at one of them.
    """

    places: Sequence[Box]
    draw: Callable[[Box], None]


def draw_panels(size_wh: tuple[int, int], panels: Sequence[Panel], gap_px: int) -> None:
    """Draws each panel at the place that ``chosen_places`` finds for it.

    Args:
        size_wh: Size of the image in pixels.
        panels: The most important one first.
        gap_px: Distance between panels, and to the edges.
    """
    chosen = chosen_places(size_wh, [panel.places for panel in panels], gap_px)
    for panel, box in zip(panels, chosen, strict=True):
        if box is not None:
            panel.draw(box)


def chosen_places(size_wh: tuple[int, int], places: Sequence[Sequence[Box]], gap_px: int) -> list[Box | None]:
    """Chooses a place for each panel.

    A panel gets its best place that no more important panel covers. Of these, it prefers places that leave the best
    places of less important panels free.

    Args:
        size_wh: Size of the image in pixels.
        places: Places for each panel, from the best to the worst; the most important panel first.
        gap_px: Distance between panels, and to the edges.

    Returns:
        The place of each panel; None if it has no room.
    """
    chosen: list[Box | None] = []
    for number, candidates in enumerate(places):
        taken = [box for box in chosen if box is not None]
        wanted = [later[0] for later in places[number + 1 :] if later]
        best = None
        for box in candidates:
            if _is_inside(box, size_wh, gap_px) and is_free(box, taken, gap_px):
                best = best or box
                if is_free(box, wanted, gap_px):
                    best = box
                    break
        chosen.append(best)
    return chosen


def area_of(image: np.ndarray, box: Box) -> np.ndarray:
    """Returns the part of an image that a box covers, to draw into."""
    left, top, width, height = box
    return image[top : top + height, left : left + width]


def _is_inside(box: Box, size_wh: tuple[int, int], gap_px: int) -> bool:
    left, top, width, height = box
    return min(left, top) >= gap_px and left + width + gap_px <= size_wh[0] and top + height + gap_px <= size_wh[1]


def is_free(box: Box, taken: Sequence[Box], gap_px: int) -> bool:
    """Returns whether the box keeps that distance from all the others."""
    left, top, width, height = box
    return all(
        left + width + gap_px <= other_left
        or other_left + other_width + gap_px <= left
        or top + height + gap_px <= other_top
        or other_top + other_height + gap_px <= top
        for other_left, other_top, other_width, other_height in taken
    )
