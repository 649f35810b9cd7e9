"""The help over the image: keys and what they do, grouped under headings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from live_cam.render.text import (
    ACCENT_BGR,
    BOLD,
    REGULAR,
    WHITE_BGR,
    draw_panel,
    draw_text,
    margin_px,
    shortened,
    text_width_px,
)

HelpRows: TypeAlias = tuple[tuple[str, str], ...]
# Headings, each with keys and what they do.
HelpGroups: TypeAlias = tuple[tuple[str, HelpRows], ...]

_CENTER_XY = (0.5, 0.5)
_DARKNESS = 0.82
_SMALLEST_SIZE_PX = 9
# All relative to the text size; the second value where there is little room.
_ROW_HEIGHT = (1.5, 1.3)
_PADDING = (1.0, 0.5)
_KEY_GAP = (1.0, 0.8)
_COLUMN_GAP = (2.2, 1.0)
_BASELINE = 1.1


def draw_help_card(image: np.ndarray, groups: HelpGroups, size_px: int) -> None:
    """Draws all keys in the center, with smaller text if there is not enough room.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        groups: Headings, each with keys and what they do. If even the smallest text has no room, descriptions are
            shortened and the last rows of each column are left out.
        size_px: Height of the text if there is enough room.
    """
    card = _fitting_card(groups, (image.shape[1], image.shape[0]), size_px)
    panel = draw_panel(image, card.size_wh, _CENTER_XY, card.size_px, _DARKNESS)
    left = card.px(_PADDING)
    for rows, width in zip(card.columns, card.column_widths, strict=True):
        card.draw_column(panel, rows, left, width)
        left += width + card.px(_COLUMN_GAP)


@dataclass(frozen=True)
class _Card:
    """The arrangement of the rows.

    Attributes:
        columns: Rows from top to bottom. A heading has no description; an empty row separates groups.
        column_widths: In pixels.
        size_px: Height of the text in pixels.
        is_tight: Whether there is little room.
    """

    columns: tuple[HelpRows, ...]
    column_widths: tuple[int, ...]
    size_px: int
    is_tight: bool

    @staticmethod
    def arrange(columns: tuple[HelpRows, ...], size_px: int, is_tight: bool) -> _Card:
        """Makes columns as wide as their texts."""
        gap_px = round(_KEY_GAP[is_tight] * size_px)
        widths = tuple(_keys_px(rows, size_px) + gap_px + _descriptions_px(rows, size_px) for rows in columns)
        return _Card(columns, widths, size_px, is_tight)

    def cut(self, size_wh: tuple[int, int]) -> _Card:
        """Returns the card with narrower columns and fewer rows, so that it has that size."""
        fixed_px = self.size_wh[0] - sum(self.column_widths)
        share = min(1.0, max(0, size_wh[0] - fixed_px) / sum(self.column_widths))
        row_count = max(1, (size_wh[1] - 2 * self.px(_PADDING)) // self.px(_ROW_HEIGHT))
        columns = tuple(rows[:row_count] for rows in self.columns)
        return _Card(columns, tuple(int(share * width) for width in self.column_widths), self.size_px, self.is_tight)

    def px(self, relative: tuple[float, float]) -> int:
        """Returns the pixels of a length that is relative to the text size."""
        return round(relative[self.is_tight] * self.size_px)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Size of the whole card in pixels."""
        gaps_px = (len(self.columns) - 1) * self.px(_COLUMN_GAP)
        row_count = max(map(len, self.columns))
        padding_px = 2 * self.px(_PADDING)
        return sum(self.column_widths) + gaps_px + padding_px, row_count * self.px(_ROW_HEIGHT) + padding_px

    def fits(self, size_wh: tuple[int, int]) -> bool:
        return self.size_wh[0] <= size_wh[0] and self.size_wh[1] <= size_wh[1]

    def draw_column(self, panel: np.ndarray, rows: HelpRows, left: int, width: int) -> None:
        text_left = left + _keys_px(rows, self.size_px) + self.px(_KEY_GAP)
        for number, (keys, description) in enumerate(rows):
            baseline = self.px(_PADDING) + number * self.px(_ROW_HEIGHT) + round(_BASELINE * self.size_px)
            color = ACCENT_BGR if description else WHITE_BGR
            draw_text(panel, keys, (left, baseline), self.size_px, weight=BOLD, color_bgr=color)
            text = shortened(description, left + width - text_left, self.size_px, REGULAR)
            draw_text(panel, text, (text_left, baseline), self.size_px, weight=REGULAR, color_bgr=WHITE_BGR)


@lru_cache(maxsize=16)
def _fitting_card(groups: HelpGroups, image_size_wh: tuple[int, int], size_px: int) -> _Card:
    """Returns the card with the largest text that fits; of two such cards, the one whose shape is the image's."""
    width, height = image_size_wh
    splits = [groups[:1], groups[1:]], [groups]
    for size in range(size_px, _SMALLEST_SIZE_PX - 1, -1):
        available_wh = width - 2 * margin_px(size), height - 2 * margin_px(size)
        for is_tight in (False, True) if size == _SMALLEST_SIZE_PX else (False,):
            cards = [_Card.arrange(_columns(split, is_tight), size, is_tight) for split in splits]
            fitting = [card for card in cards if card.fits(available_wh)]
            if fitting:
                return fitting[0 if width > height else -1]
    two, one = (card.cut(available_wh) for card in cards)
    return two if width > height else one


def _columns(split: list[HelpGroups], is_tight: bool) -> tuple[HelpRows, ...]:
    return tuple(_column(groups, is_tight) for groups in split if groups)


def _column(groups: HelpGroups, is_tight: bool) -> HelpRows:
    separator = () if is_tight else (("", ""),)
    rows: HelpRows = ()
    for heading, group_rows in groups:
        rows += (*(separator if rows else ()), (heading, ""), *group_rows)
    return rows


def _keys_px(rows: HelpRows, size_px: int) -> int:
    return max(text_width_px(keys, size_px, BOLD) for keys, description in rows if description)


def _descriptions_px(rows: HelpRows, size_px: int) -> int:
    return max(text_width_px(description, size_px, REGULAR) for _, description in rows)
