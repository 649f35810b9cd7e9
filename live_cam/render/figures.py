"""The panel of figures: a table of names and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from live_cam.render.text import (
    DIM_BGR,
    REGULAR,
    WHITE_BGR,
    draw_panel,
    draw_text,
    printable,
    shortened,
    text_width_px,
)

# All relative to the text size.
_PADDING_X, _PADDING_Y = 0.55, 0.35
_ROW_HEIGHT, _BASELINE = 1.32, 1.0
_GAP = 1.0
_WIDEST_VALUE = 12.5


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: What the value is.
        value: With its unit. Empty: there is no row, but room for its name and ``widest``.
        widest: The widest value that is likely, so that the table keeps its width while values change.
        color_bgr: Color of the value.
    """

    name: str
    value: str
    widest: str = ""
    color_bgr: tuple[int, int, int] = WHITE_BGR


@dataclass(frozen=True)
class FigureTable:
    """Figures that were fitted to a width.

    Attributes:
        figures: The rows, from top to bottom.
        size_px: Height of the text in pixels.
        value_px: Width of the column of values.
        width_px: Width of the panel.
    """

    figures: tuple[Figure, ...]
    size_px: int
    value_px: int
    width_px: int

    @staticmethod
    def fit(figures: Sequence[Figure], width_px: int, size_px: int) -> FigureTable:
        """Makes the table as wide as its names and values need, but not wider than that."""
        name_px = max((text_width_px(figure.name, size_px, REGULAR) for figure in figures), default=0)
        texts = [text for figure in figures for text in (figure.value, figure.widest)]
        value_px = max((text_width_px(printable(text), size_px, REGULAR) for text in texts), default=0)
        other_px = name_px + round(_GAP * size_px) + 2 * round(_PADDING_X * size_px)
        value_px = max(0, min(value_px, round(_WIDEST_VALUE * size_px), width_px - other_px))
        rows = tuple(figure for figure in figures if figure.value)
        return FigureTable(rows, size_px, value_px, other_px + value_px)

    def height_px(self, row_count: int) -> int:
        """Returns the height of the panel with that many rows."""
        return 2 * round(_PADDING_Y * self.size_px) + row_count * round(_ROW_HEIGHT * self.size_px)

    def draw(self, area: np.ndarray) -> None:
        """Draws as many rows as fit into the area, (height, width, 3) uint8, BGR: the first ones."""
        panel = draw_panel(area, (area.shape[1], area.shape[0]), (0.0, 0.0), self.size_px)
        left = round(_PADDING_X * self.size_px)
        right = panel.shape[1] - left
        row_px = round(_ROW_HEIGHT * self.size_px)
        top = round(_PADDING_Y * self.size_px)
        for figure in self.figures[: (panel.shape[0] - 2 * top) // row_px]:
            baseline = top + round(_BASELINE * self.size_px)
            draw_text(panel, figure.name, (left, baseline), self.size_px, weight=REGULAR, color_bgr=DIM_BGR)
            value = shortened(printable(figure.value), self.value_px, self.size_px, REGULAR)
            value_left = right - text_width_px(value, self.size_px, REGULAR)
            draw_text(panel, value, (value_left, baseline), self.size_px, weight=REGULAR, color_bgr=figure.color_bgr)
            top += row_px
