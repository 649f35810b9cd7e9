"""The heatmap laid over the picture."""

from __future__ import annotations

from math import prod

import cv2
import numpy as np

from live_cam.errors import SettingError, unknown_name
from live_cam.frame import WHOLE_FRAME_XYWH, Explanation
from live_cam.render.colormaps import DEFAULT_COLORMAP, colormap_lut, heat_lut
from live_cam.render.placement import Span, enlarge, hot_samples, lay_axis

BLENDS = ("heat", "constant")
DEFAULT_OPACITY = 0.6

# Rows and columns that share their colours may be this far, in steps of the colour table, from their own: not to be
# seen, and most of the work is saved on large frames.
_TABLE_STEPS_OFF = 1.25
_TABLE_STEPS_OFF_ACROSS = 0.75

# Rows of heat that are painted at a time, few enough to stay in the processor's cache from step to step.
_BAND_ROWS = 128

# Keeps a map far above its scale from running over.
_MOST_OVER_SCALE = 1e6


def overlay(
    image: np.ndarray,
    explanation: Explanation | np.ndarray,
    opacity: float = DEFAULT_OPACITY,
    colormap: str = DEFAULT_COLORMAP,
    blend: str = "heat",
    scale: float | None = None,
) -> np.ndarray:
    """Lays a heatmap over a picture.

    Args:
        image: (height, width, 3) uint8, BGR; not changed.
        explanation: What ``explain`` gave, or a bare (h, w) map of the whole image.
        opacity: Weight of the heatmap's colours, 0..1.
        colormap: One of ``COLORMAPS``.
        blend: "heat": the hotter, the more opaque, and cold areas show the picture as it is. "constant": the same
            opacity wherever the network looked, as in most published figures.
        scale: The map's value that is drawn hottest; None = the map's own maximum.

    Returns:
        A new (height, width, 3) uint8 BGR picture; a copy of ``image`` where the map has no positive evidence or has
        values that are no numbers.

    Raises:
        SettingError: The opacity is out of range, the colormap or the blend unknown, or an array has the wrong shape.
    """
    if isinstance(explanation, Explanation):
        heatmap, region_xywh = explanation.heatmap, explanation.region_xywh
    else:
        heatmap, region_xywh = np.asarray(explanation), WHOLE_FRAME_XYWH
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise SettingError(
            f"expected an image of shape (height, width, 3), uint8, got {image.shape}, {image.dtype}; "
            "cv2.imread gives such images"
        )
    if heatmap.ndim != 2 or heatmap.size == 0:
        raise SettingError(f"expected a heatmap of shape (h, w), got {heatmap.shape}; give one map at a time")
    return HeatPainter(opacity, colormap, blend).paint(image, heatmap, region_xywh, scale)


class HeatPainter:
    """Paints frame after frame with the same settings; keeps its scratch memory between them.

    Args:
        opacity: Weight of the heatmap's colours, 0..1.
        colormap: One of ``COLORMAPS``.
        blend: One of ``BLENDS``; ``overlay`` says what they mean.

    Raises:
        SettingError: The opacity is out of range, or the colormap or the blend unknown.
    """

    def __init__(self, opacity: float = DEFAULT_OPACITY, colormap: str = DEFAULT_COLORMAP, blend: str = "heat") -> None:
        if not 0 <= opacity <= 1:
            raise SettingError(f"opacity is the heatmap's weight, from 0 to 1; got {opacity}")
        if blend not in BLENDS:
            raise unknown_name("blend", blend, BLENDS)
        self._opacity = opacity
        self._lut = colormap_lut(colormap).reshape(256, 1, 3)
        colours, keep = _heat_tables(heat_lut(colormap), opacity)
        self._colour_tables, self._keep_tables = _pixel_tables(colours), _pixel_tables(keep)
        self._coldest_share = int((keep == keep[0]).all(axis=1).argmin() - 1) / 255
        self._by_heat = blend == "heat"
        self._scratch: dict[str, np.ndarray] = {}
        self._placement: tuple[tuple, Span, Span] | None = None

    def paint(
        self,
        image: np.ndarray,
        heatmap: np.ndarray,
        region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH,
        scale: float | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Lays one map over one picture.

        Args:
            image: (height, width, 3) uint8, BGR; not changed, unless it is ``out`` too.
            heatmap: (h, w) float, at target-layer resolution, not normalized.
            region_xywh: What the map covers, as fractions of the frame; nothing is painted elsewhere.
            scale: The map's value that is drawn hottest; None = the map's own maximum.
            out: Where to paint, of the same shape as ``image``; None = a new array.

        Returns:
            ``out``, (height, width, 3) uint8, BGR.
        """
        out = np.empty(image.shape, np.uint8) if out is None else out
        shares = _shares_of_scale(heatmap, scale)
        across, down = self._lay(image.shape, heatmap.shape, region_xywh)
        if shares is None or not across.positions.size or not down.positions.size:
            np.copyto(out, image)
        elif self._by_heat:
            self._blend_by_heat(image, shares, across, down, out)
        else:
            self._blend_evenly(image, shares, across, down, out)
        return out

    def _lay(self, image_shape: tuple, map_shape: tuple, region_xywh: tuple) -> tuple[Span, Span]:
        """Both axes of the map on the frame; remembered, because they seldom change between frames."""
        key = (image_shape, map_shape, region_xywh)
        if self._placement is None or self._placement[0] != key:
            (height, width), (rows, columns) = image_shape[:2], map_shape
            x, y, region_width, region_height = region_xywh
            row_step = _shared_rows(region_height * height / rows) if self._by_heat else 1
            column_step = _shared_columns(region_width * width / columns) if self._by_heat else 1
            across = lay_axis(width, x, region_width, columns, column_step)
            down = lay_axis(height, y, region_height, rows, row_step)
            self._placement = (key, across, down)
        return self._placement[1:]

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
        """Scratch memory of that shape; it only grows, for the hot area is another in each frame."""
        size = prod(shape)
        if name not in self._scratch or self._scratch[name].size < size:
            self._scratch[name] = np.empty(size, dtype)
        return self._scratch[name][:size].reshape(shape)

    def _enlarge(self, shares: np.ndarray, across: Span, down: Span) -> np.ndarray:
        shape = (down.positions.size, across.positions.size)
        return enlarge(shares, across, down, self._buffer("enlarged", shape, np.float32))

    def _blend_evenly(self, image: np.ndarray, shares: np.ndarray, across: Span, down: Span, out: np.ndarray) -> None:
        enlarged = self._enlarge(shares, across, down)
        if shares.max() > 1:
            np.minimum(enlarged, 1, out=enlarged)
        index = self._buffer("index", enlarged.shape)
        np.multiply(enlarged, 255, out=index, casting="unsafe")
        colours = cv2.applyColorMap(index, self._lut, dst=self._buffer("colours", (*index.shape, 3)))
        area = np.s_[down.first : down.last, across.first : across.last]
        _copy_around(image, out, area)
        cv2.addWeighted(image[area], 1 - self._opacity, colours, self._opacity, 0, dst=out[area])

    def _blend_by_heat(self, image: np.ndarray, shares: np.ndarray, across: Span, down: Span, out: np.ndarray) -> None:
        is_hot = shares > self._coldest_share
        if not is_hot.any():
            np.copyto(out, image)
            return
        rows, columns = hot_samples(is_hot, 0, down), hot_samples(is_hot, 1, across)
        enlarged = self._enlarge(shares, across, down)
        left, right = (min(across.first + one * across.step, across.last) for one in (columns.start, columns.stop))
        top, bottom = (min(down.first + one * down.step, down.last) for one in (rows.start, rows.stop))
        _copy_around(image, out, np.s_[top:bottom, left:right])
        for row in range(rows.start, rows.stop, _BAND_ROWS):
            band = slice(row, min(row + _BAND_ROWS, rows.stop))
            pixels = slice(
                top + (row - rows.start) * down.step, min(top + (band.stop - rows.start) * down.step, bottom)
            )
            # The map is cut into 256 steps only now: before it was enlarged, they would show as contour lines.
            heat = enlarged[band, columns]
            index = cv2.convertScaleAbs(heat, dst=self._buffer("index", heat.shape), alpha=255)
            self._paint_band(image[pixels, left:right], index, across.step, down.step, out[pixels, left:right])

    def _paint_band(
        self, image: np.ndarray, index: np.ndarray, column_step: int, row_step: int, out: np.ndarray
    ) -> None:
        """Paints that many columns and rows of pixels for each colour index."""
        width = image.shape[1]
        colours = self._look_up(index, self._colour_tables[column_step], "colours")[:, :width]
        keep = self._look_up(index, self._keep_tables[column_step], "keep")[:, :width]
        for offset in range(min(row_step, len(image))):
            painted, count = out[offset::row_step], len(image[offset::row_step])
            cv2.multiply(image[offset::row_step], keep[:count], dst=painted, scale=1 / 255)
            cv2.add(painted, colours[:count], dst=painted)

    def _look_up(self, index: np.ndarray, table: np.ndarray, name: str) -> np.ndarray:
        """(rows, pixels, 3) uint8: what the table holds for each index, one or two pixels of four bytes.

        Whole pixels in one look-up: that is three times as fast as a colormap.
        """
        packed = cv2.LUT(index, table, dst=self._buffer(f"packed {name}", index.shape, table.dtype.type))
        four_bytes = packed.view(np.uint8).reshape(len(index), -1, 4)
        return cv2.cvtColor(
            four_bytes, cv2.COLOR_BGRA2BGR, dst=self._buffer(name, (len(index), four_bytes.shape[1], 3))
        )


def _shared_rows(cell_height: float) -> int:
    """How many rows of pixels may share their colours, for cells of that many pixels.

    From one cell's centre to the next, heat changes by 255 steps of the table at most; the outermost of n rows is
    (n - 1) / 2 from their middle.
    """
    return max(1, int(1 + 2 * _TABLE_STEPS_OFF * cell_height / 255))


def _shared_columns(cell_width: float) -> int:
    """As ``_shared_rows``, but one or two, which is what fits into one element of a table."""
    return 2 if 255 / cell_width <= 2 * _TABLE_STEPS_OFF_ACROSS else 1


def _heat_tables(lut: np.ndarray, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """What a colour index does to a pixel: pixel * keep / 255 + colour.

    The weight of the colour rises with the heat t as t^2 (3 - 2 t): weak heat, which is everywhere, then does not veil
    the picture, and there is no edge where it begins.

    Args:
        lut: (256, 3) float, BGR, 0..255.
        opacity: Weight of the hottest colour.

    Returns:
        Two (256, 3) uint8: colour times its weight, BGR, and keep, 255 times the picture's weight, thrice.
    """
    heat = np.arange(256)[:, np.newaxis] / 255
    weight = opacity * heat**2 * (3 - 2 * heat)
    colours, keep = lut * weight, np.repeat(255 * (1 - weight), 3, axis=1)
    return np.rint(colours).astype(np.uint8), np.rint(keep).astype(np.uint8)


def _pixel_tables(triples: np.ndarray) -> dict[int, np.ndarray]:
    """The (256, 3) uint8 as OpenCV looks them up: pixels an element holds -> (1, 256) elements, which it only moves."""
    padded = np.pad(triples, ((0, 0), (0, 1)))
    return {1: padded.view(np.int32).reshape(1, 256), 2: np.tile(padded, 2).view(np.float64).reshape(1, 256)}


def _copy_around(image: np.ndarray, out: np.ndarray, area: tuple[slice, slice]) -> None:
    """Copies all of the image but that area."""
    rows, columns = area
    for outside in (
        np.s_[: rows.start],
        np.s_[rows.stop :],
        np.s_[rows, : columns.start],
        np.s_[rows, columns.stop :],
    ):
        np.copyto(out[outside], image[outside])


def _shares_of_scale(heatmap: np.ndarray, scale: float | None) -> np.ndarray | None:
    """The map divided by what is drawn hottest: (h, w) float32, >= 0; None if there is nothing to draw."""
    peak = float(heatmap.max())
    if not (np.isfinite(heatmap).all() and peak > 0):
        return None
    if scale is None:
        scale = peak
    elif not (np.isfinite(scale) and scale > 0):
        return None
    return np.clip(heatmap.astype(np.float64) / scale, 0, _MOST_OVER_SCALE).astype(np.float32)
