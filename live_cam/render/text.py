"""Text on dark, translucent panels: readable on any image, at any size."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np

WHITE_BGR = (255, 255, 255)
DIM_BGR = (205, 205, 205)
ACCENT_BGR = (92, 196, 255)
RECORDING_BGR = (70, 70, 255)

REGULAR = 400
MEDIUM = 500
BOLD = 600

_LONGEST_TEXT = 200
_SMALLEST_SIZE_PX = 11

# The font's zero is slashed. This letter, as narrow as a digit, is its zero without the slash.
_SLASHED, _ROUND = "0", "O"
# The narrow letter is drawn that much larger and reduced, for smooth edges.
_OVERSAMPLING = 8
_DESCENT = 0.25

# All relative to the text size.
_PADDING_X = 0.5
_PADDING_Y = 0.3
_LINE_HEIGHT = 1.3
_BASELINE = 0.98
_MARGIN = 0.5
_TAIL_GAP = 0.45
_CORNER_RADIUS = 0.35

# OpenCV has one font engine per process, which mixes up glyphs if two threads draw at the same time.
_FONT_LOCK = threading.Lock()


@dataclass(frozen=True)
class TextLine:
    """One line of a text panel.

    Attributes:
        text: Shortened with an ellipsis if it does not fit.
        tail: Follows the text; never shortened.
        weight: Weight of the text, 100 (thin) to 1000 (black); the tail is ``MEDIUM``.
        color_bgr: Color of both.
        relative_size: Size of both; 1 = the panel's text size.
    """

    text: str
    tail: str = ""
    weight: int = MEDIUM
    color_bgr: tuple[int, int, int] = WHITE_BGR
    relative_size: float = 1.0


def text_size_px(image_shape: tuple[int, ...]) -> int:
    """Returns the height of text for an image, in pixels: 13 at 176x144, 20 at 640x480, 32 at 1080p, 53 at 4K."""
    return round(10 + 0.02 * min(image_shape[:2]))


@lru_cache(maxsize=256)
def printable(text: str) -> str:
    """Returns the text on one line, without characters that cannot be drawn: half a surrogate pair crashes OpenCV."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_TEXT]).split())


@lru_cache(maxsize=1024)
def text_width_px(text: str, size_px: int, weight: int) -> int:
    """Returns the width of the text in pixels."""
    with _FONT_LOCK:
        return cv2.getTextSize((0, 0), text, (0, 0), _font(), size_px, weight)[2]


@lru_cache(maxsize=256)
def shortened(text: str, width_px: int, size_px: int, weight: int) -> str:
    """Returns the text, or its longest beginning that fits the width with an ellipsis after it."""
    if text_width_px(text, size_px, weight) <= width_px:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if text_width_px(text[:middle].rstrip() + "…", size_px, weight) <= width_px:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def draw_text_panel(
    image: np.ndarray,
    lines: Sequence[TextLine],
    position_xy: tuple[float, float],
    size_px: int | None = None,
) -> None:
    """Draws lines of text on a panel that is just large enough for them.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        lines: From top to bottom.
        position_xy: Position in the image, each in [0, 1]: (0, 1) is bottom left, (0.5, 0.5) the center.
        size_px: Height of the text in pixels. Default: suited to the image.
    """
    size_px = size_px or text_size_px(image.shape)
    text_panel = TextPanel.fit(lines, image.shape[1] - 2 * margin_px(size_px), size_px)
    text_panel.draw(_cut_out(image, text_panel.size_wh, position_xy, margin_px(size_px)))


@dataclass(frozen=True)
class TextPanel:
    """Lines of text that were fitted to a width, on a panel that is just large enough for them.

    Attributes:
        lines: The fitted lines, from top to bottom.
        size_px: Height of the text in pixels.
        size_wh: Size of the panel in pixels.
    """

    lines: tuple[_FittedLine, ...]
    size_px: int
    size_wh: tuple[int, int]

    @staticmethod
    def fit(lines: Sequence[TextLine], width_px: int, size_px: int) -> TextPanel:
        """Shortens lines so that the panel is at most that wide."""
        padding_x, padding_y = round(_PADDING_X * size_px), round(_PADDING_Y * size_px)
        fitted_lines = tuple(_FittedLine.fit(line, size_px, width_px - 2 * padding_x) for line in lines)
        width = max(line.width_px for line in fitted_lines) + 2 * padding_x
        height = sum(line.height_px for line in fitted_lines) + 2 * padding_y
        return TextPanel(fitted_lines, size_px, (width, height))

    def draw(self, area: np.ndarray) -> None:
        """Draws the panel into an area of its size, (height, width, 3) uint8, BGR; cut off if the area is smaller."""
        panel = draw_panel(area, self.size_wh, (0.0, 0.0), self.size_px)
        top = round(_PADDING_Y * self.size_px)
        for line in self.lines:
            line.draw(panel, round(_PADDING_X * self.size_px), top)
            top += line.height_px


def margin_px(size_px: int) -> int:
    """Returns the distance between a panel and the image's edge, for text of that height."""
    return round(_MARGIN * size_px)


def draw_panel(
    image: np.ndarray, size_wh: tuple[int, int], position_xy: tuple[float, float], size_px: int, darkness: float = 0.6
) -> np.ndarray:
    """Draws an empty panel: darkens a rectangle with rounded corners.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        size_wh: Size of the panel in pixels.
        position_xy: Position in the image, each in [0, 1]: (0, 1) is bottom left, (0.5, 0.5) the center.
        size_px: Height of the text that will be drawn on it; margin and corners are proportional to it.
        darkness: Opacity of the panel, in [0, 1].

    Returns:
        The part of ``image`` under the panel, to draw into; smaller than the panel if the image is.
    """
    panel = _cut_out(image, size_wh, position_xy, margin_px(size_px))
    keep = _panel_keep(*size_wh, round(_CORNER_RADIUS * size_px), darkness)[: panel.shape[0], : panel.shape[1]]
    cv2.multiply(panel, keep, dst=panel, scale=1 / 255)
    return panel


def draw_text(
    image: np.ndarray,
    text: str,
    left_baseline_xy: tuple[int, int],
    size_px: int,
    *,
    weight: int = MEDIUM,
    color_bgr: tuple[int, int, int] = WHITE_BGR,
) -> None:
    """Draws one line of ``printable`` text into an image, (height, width, 3) uint8, BGR, without a panel."""
    x, baseline = left_baseline_xy
    for number, part in enumerate(text.split(_SLASHED)):
        if number > 0:
            zero = _round_zero(size_px, weight)
            _blend(image, zero, (x, baseline - size_px), color_bgr)
            x += zero.shape[1]
        if part:
            with _FONT_LOCK:
                (x, _), _ = cv2.putText(image, part, (x, baseline), color_bgr, _font(), size_px, weight)


@lru_cache(maxsize=64)
def _round_zero(size_px: int, weight: int) -> np.ndarray:
    """Returns the coverage of a zero without a slash, (height, width, 1) float32 in [0, 1], as wide as a digit."""
    # The measured width of a text is its advance and one pixel.
    width = text_width_px(_SLASHED, size_px, weight) - 1
    large_px = _OVERSAMPLING * size_px
    large_width = text_width_px(_ROUND, large_px, weight) - 1
    height = size_px + round(_DESCENT * size_px)
    large = np.zeros((_OVERSAMPLING * height, large_width, 3), np.uint8)
    with _FONT_LOCK:
        cv2.putText(large, _ROUND, (0, large_px), WHITE_BGR, _font(), large_px, weight)
    small = cv2.resize(large[..., 0], (width, height), interpolation=cv2.INTER_AREA)
    return small[..., np.newaxis].astype(np.float32) / 255


def _blend(
    image: np.ndarray, coverage: np.ndarray, left_top_xy: tuple[int, int], color_bgr: tuple[int, int, int]
) -> None:
    """Draws a color where ``coverage``, (height, width, 1) float, is 1; cut off at the image's edges."""
    left, top = left_top_xy
    height, width = coverage.shape[:2]
    target = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    coverage = coverage[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    target[:] = np.rint(target + coverage * (np.array(color_bgr, np.float32) - target))


@dataclass(frozen=True)
class _FittedLine:
    """A line, shortened to the width of its panel."""

    line: TextLine
    text: str
    tail: str
    size_px: int
    tail_x_px: int
    width_px: int

    @staticmethod
    def fit(line: TextLine, panel_size_px: int, available_px: int) -> _FittedLine:
        """Shortens the line's text until the line fits the available width."""
        size_px = max(round(line.relative_size * panel_size_px), _SMALLEST_SIZE_PX)
        tail = printable(line.tail)
        gap_px = round(_TAIL_GAP * size_px) if tail else 0
        tail_px = text_width_px(tail, size_px, MEDIUM)
        text = shortened(printable(line.text), available_px - tail_px - gap_px, size_px, line.weight)
        tail_x_px = text_width_px(text, size_px, line.weight) + gap_px
        return _FittedLine(line, text, tail, size_px, tail_x_px, tail_x_px + tail_px)

    @property
    def height_px(self) -> int:
        return round(_LINE_HEIGHT * self.size_px)

    def draw(self, panel: np.ndarray, x: int, top: int) -> None:
        baseline = top + round(_BASELINE * self.size_px)
        for text, text_x, weight in ((self.text, x, self.line.weight), (self.tail, x + self.tail_x_px, MEDIUM)):
            draw_text(panel, text, (text_x, baseline), self.size_px, weight=weight, color_bgr=self.line.color_bgr)


def _cut_out(
    image: np.ndarray, size_wh: tuple[int, int], position_xy: tuple[float, float], margin_px: int
) -> np.ndarray:
    """Returns the part of the image under a panel of that size; smaller if the image is."""
    left, top = (
        max(0, min(round(margin_px + (side - size - 2 * margin_px) * position), side - size))
        for side, size, position in zip(image.shape[1::-1], size_wh, position_xy, strict=True)
    )
    return image[top : top + size_wh[1], left : left + size_wh[0]]


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=64)
def _panel_keep(width: int, height: int, radius: int, darkness: float) -> np.ndarray:
    """Returns the weight of the image under a panel with antialiased corners: (height, width, 3) uint8, 255 = all."""
    x, y = (np.abs(np.arange(side) + 0.5 - side / 2) - (side / 2 - radius) for side in (width, height))
    from_corner = np.hypot(np.maximum(x, 0), np.maximum(y, 0)[:, np.newaxis])
    covered = np.clip(radius + 0.5 - from_corner, 0, 1)
    keep = np.rint(255 * (1 - darkness * covered)).astype(np.uint8)
    return cv2.cvtColor(keep, cv2.COLOR_GRAY2BGR)
