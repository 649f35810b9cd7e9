"""Draws a heatmap over an image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, isfinite, prod
from numbers import Real

import cv2
import numpy as np

from live_cam.errors import SettingError, unknown_name
from live_cam.frame import WHOLE_FRAME_XYWH, Explanation
from live_cam.render.colormaps import COLORMAPS, colormap_lut, heat_lut
from live_cam.render.heatmap_alignment import Span, enlarge, place_axis
from live_cam.render.spline import Knots, enlarge_knots, enlarged_shape, evaluate, place_knots, spline_coefficients
from live_cam.settings import DEFAULT_BLEND, DEFAULT_COLORMAP, DEFAULT_OPACITY

BLENDS = ("heat", "constant")

# Between these, as shares of the hottest heat, the weight of the heatmap's colors rises from 0 to the opacity.
VISIBLE_HEAT = (0.15, 0.85)

# Largest error, in steps of the 256-entry color table, of pixels that share a sample of the heatmap. It cannot be
# seen, and it saves most of the work on large images.
_ROW_ERROR_STEPS = 1.25
_COLUMN_ERROR_STEPS = 1.5

# Pixels that are drawn at a time, each with its own color: few enough that they stay in the processor's cache.
_BAND_PIXELS = 320_000

# The weight of an image, of 255, that can be told from 255.
_LEAST_VISIBLE_KEEP = 254

# Keeps a map far above its scale from overflowing.
_HIGHEST_HEAT = 1e6

# Pixels per look-up -> element types of the tables of colors, four bytes a pixel, and of weights, one byte a pixel.
# ``cv2.LUT`` only copies elements, so the four bytes of a pixel can be stored as an int32, and two pixels as a float64;
# other types of eight bytes are converted by OpenCV's Python module. With two pixels per look-up, drawing at 640x480,
# 1280x720 and 1920x1080 is 1.4 times as fast as with one (one thread). The look-up alone takes 0.7 of the time
# of single pixels, 0.4 of that of ``cv2.applyColorMap``, and 0.1 of that of ``np.take``.
_ELEMENT_TYPES = {1: (np.int32, np.uint8), 2: (np.float64, np.int16)}


def overlay(
    image: np.ndarray,
    explanation: Explanation | np.ndarray,
    opacity: float = DEFAULT_OPACITY,
    colormap: str = DEFAULT_COLORMAP,
    blend: str = DEFAULT_BLEND,
    *,
    scale: float | None = None,
) -> np.ndarray:
    """Draws a heatmap over an image.

    Args:
        image: (height, width, 3) uint8, BGR; not changed.
        explanation: The result of ``explain``, or a bare (h, w) heatmap of the whole image.
        opacity: Weight of the heatmap's colors, in [0, 1].
        colormap: One of ``COLORMAPS``.
        blend: "heat": the opacity rises with the heat, and cold areas show the image unchanged. "constant": the same
            opacity wherever the network looked, as in most published figures.
        scale: Heatmap value that is drawn hottest. Default: the heatmap's own maximum.

    Returns:
        A new (height, width, 3) uint8 BGR image; a copy of ``image`` if the heatmap has no positive value or one that
        is not finite, or if the scale is not a finite number above 0.

    Raises:
        SettingError: An argument has the wrong type, shape or range; the message says what was expected and what came.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,) or image.size == 0:
        raise SettingError(
            f"expected an image of shape (height, width, 3), uint8, got {_described(image)}; "
            "cv2.imread returns such images, and None for a file that it cannot read"
        )
    heatmap, region_xywh = _map_of(explanation)
    scale = None if scale is None else _number("scale", scale)
    return HeatPainter(opacity, colormap, blend).paint(image, heatmap, region_xywh, scale)


def _map_of(explanation: object) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Returns the heatmap, and the region it covers as fractions of the image.

    Raises:
        SettingError: There is no such map, or the region is empty.
    """
    values, region_xywh = explanation, WHOLE_FRAME_XYWH
    if isinstance(explanation, Explanation):
        values, region_xywh = explanation.heatmap, explanation.region_xywh
    heatmap, region = _numbers(values), _numbers(region_xywh)
    if heatmap is None or heatmap.ndim != 2 or heatmap.size == 0:
        raise SettingError(
            f"expected an explanation or a heatmap of shape (h, w), got {_described(values)}; give one map at a time"
        )
    if region is None or region.shape != (4,) or not np.isfinite(region).all() or min(region[2:]) <= 0:
        given = " ".join(str(region_xywh).split())
        raise SettingError(f"expected left, top, width and height above 0 as the region, got {given}")
    x, y, width, height = region.tolist()
    return heatmap, (x, y, width, height)


def _numbers(values: object) -> np.ndarray | None:
    """Returns the values as an array; None if they are not real numbers."""
    try:
        array = np.asarray(values)
    # Ragged lists, and tensors that cannot be read from the CPU.
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.dtype.kind in "biuf" else None


def _number(name: str, value: object) -> float:
    """Returns the value as a float.

    Raises:
        SettingError: It is not a number.
    """
    if not isinstance(value, Real):
        raise SettingError(f"{name} must be a number, not {_described(value)}")
    try:
        return float(value)
    except OverflowError:
        return inf


def _described(value: object) -> str:
    """Returns shape and type of an array, the type of anything else."""
    if isinstance(value, np.ndarray):
        return f"{value.shape}, {value.dtype}"
    return "None" if value is None else type(value).__name__


@dataclass(frozen=True, eq=False)
class _Placement:
    """A map on an image.

    Attributes:
        down: Its vertical axis.
        across: Its horizontal axis.
        knots: Where the spline is evaluated, down and across.
    """

    down: Span
    across: Span
    knots: tuple[Knots, Knots]

    def surface(self, heat: np.ndarray) -> np.ndarray:
        """Returns the spline at all knots, (knots down, knots across) float32."""
        return evaluate(spline_coefficients(heat), self.knots[0].weights, self.knots[1].weights)


class HeatPainter:
    """Draws heatmaps over images with the same settings. Keeps its scratch memory: for one thread at a time.

    Args:
        opacity: Weight of the heatmap's colors, in [0, 1].
        colormap: One of ``COLORMAPS``.
        blend: One of ``BLENDS``; see ``overlay``.
        is_smooth: Whether the map is enlarged by a B-spline instead of bilinearly. Default: if the blend is "heat".

    Raises:
        SettingError: The opacity is out of range, or the colormap or the blend is unknown.
    """

    def __init__(
        self,
        opacity: float = DEFAULT_OPACITY,
        colormap: str = DEFAULT_COLORMAP,
        blend: str = DEFAULT_BLEND,
        is_smooth: bool | None = None,
    ) -> None:
        if not 0 <= _number("opacity", opacity) <= 1:
            raise SettingError(f"opacity is the weight of the heatmap's colors, from 0 to 1; got {opacity}")
        if not isinstance(blend, str) or blend not in BLENDS:
            raise unknown_name("blend", blend, BLENDS)
        if not isinstance(colormap, str):
            raise unknown_name("colormap", colormap, COLORMAPS)
        self._opacity = float(opacity)
        self._lut = colormap_lut(colormap).reshape(256, 1, 3)
        colors, keep = _heat_tables(heat_lut(colormap), self._opacity)
        four_bytes = np.pad(colors, ((0, 0), (0, 1)))
        self._tables = {
            step: (_pixel_table(four_bytes, color_type), _pixel_table(keep, keep_type))
            for step, (color_type, keep_type) in _ELEMENT_TYPES.items()
        }
        # Below this heat, the tables change a pixel by at most one of 255 levels, which nobody sees.
        self._coldest_visible_heat = int((keep >= _LEAST_VISIBLE_KEEP).argmin() - 1) / 255
        self._by_heat = blend == "heat"
        self._is_smooth = self._by_heat if is_smooth is None else is_smooth
        self._scratch: dict[str, np.ndarray] = {}
        self._placement: tuple[tuple, _Placement] | None = None

    def paint(
        self,
        image: np.ndarray,
        heatmap: np.ndarray,
        region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH,
        scale: float | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draws one map over one image.

        Args:
            image: (height, width, 3) uint8, BGR; not changed, unless it is ``out`` too.
            heatmap: (h, w) float, at target-layer resolution, not normalized.
            region_xywh: What the map covers, as fractions of the image; the rest of the image is not changed.
            scale: Heatmap value that is drawn hottest. Default: the heatmap's own maximum.
            out: Where to draw, of the same shape as ``image``. Default: a new array.

        Returns:
            ``out``, (height, width, 3) uint8, BGR.
        """
        out = np.empty(image.shape, np.uint8) if out is None else out
        heat = heat_of(heatmap, scale)
        place = self._place(image.shape, heatmap.shape, region_xywh)
        if heat is None or not place.across.positions.size or not place.down.positions.size:
            _copy(image, out)
        elif self._by_heat:
            self._blend_by_heat(image, heat, place, out)
        else:
            self._blend_evenly(image, heat, place, out)
        return out

    def _place(self, image_shape: tuple, map_shape: tuple, region_xywh: tuple) -> _Placement:
        """Places both axes of the map on the image. Kept between frames, which seldom differ in this."""
        key = (image_shape, map_shape, region_xywh)
        if self._placement is None or self._placement[0] != key:
            (height, width), (rows, columns) = image_shape[:2], map_shape
            x, y, region_width, region_height = region_xywh
            row_step = _rows_per_sample(region_height * height / rows) if self._by_heat else 1
            column_step = _columns_per_sample(region_width * width / columns) if self._by_heat else 1
            down = place_axis(height, y, region_height, rows, row_step)
            across = place_axis(width, x, region_width, columns, column_step)
            self._placement = (key, _Placement(down, across, (place_knots(down, rows), place_knots(across, columns))))
        return self._placement[1]

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
        """Returns scratch memory of that shape. It only grows, because the hot area differs from frame to frame."""
        size = prod(shape)
        if name not in self._scratch or self._scratch[name].size < size:
            self._scratch[name] = np.empty(size, dtype)
        return self._scratch[name][:size].reshape(shape)

    def _enlarge_smoothly(self, surface: np.ndarray, place: _Placement, area: tuple[slice, slice]) -> np.ndarray:
        buffer = self._buffer("enlarged", enlarged_shape(place.knots, area), np.float32)
        return enlarge_knots(surface, place.knots, area, buffer)

    def _enlarge_all(self, heat: np.ndarray, place: _Placement) -> np.ndarray:
        if self._is_smooth:
            return self._enlarge_smoothly(place.surface(heat), place, (place.knots[0].inner, place.knots[1].inner))
        shape = (place.down.positions.size, place.across.positions.size)
        return enlarge(heat, place.across, place.down, self._buffer("enlarged", shape, np.float32))

    def _blend_evenly(self, image: np.ndarray, heat: np.ndarray, place: _Placement, out: np.ndarray) -> None:
        enlarged = self._enlarge_all(heat, place)
        if self._is_smooth or heat.max() > 1:
            np.minimum(enlarged, 1, out=enlarged)
        index = self._buffer("index", enlarged.shape)
        np.multiply(enlarged, 255, out=index, casting="unsafe")
        colors = cv2.applyColorMap(index, self._lut, dst=self._buffer("colors", (*index.shape, 3)))
        area = np.s_[place.down.first : place.down.last, place.across.first : place.across.last]
        _copy_around(image, out, area)
        cv2.addWeighted(image[area], 1 - self._opacity, colors, self._opacity, 0, dst=out[area])

    def _blend_by_heat(self, image: np.ndarray, heat: np.ndarray, place: _Placement, out: np.ndarray) -> None:
        surface = place.surface(heat)
        is_hot = self._is_hot(surface)
        if not is_hot.any():
            _copy(image, out)
            return
        down = place.knots[0]
        hot_rows = down.around(is_hot.max(axis=1))
        _copy_around(image, out, (place.down.pixels(down.samples(hot_rows)), slice(0, image.shape[1])))
        for band in _bands(hot_rows, down.spacing * image.shape[1]):
            rows = place.down.pixels(down.samples(band))
            self._blend_band(image[rows], surface, place, band, out[rows])

    def _is_hot(self, surface: np.ndarray) -> np.ndarray:
        return np.greater(surface, self._coldest_visible_heat)

    def _blend_band(
        self, image: np.ndarray, surface: np.ndarray, place: _Placement, band: slice, out: np.ndarray
    ) -> None:
        """Draws the rows of pixels that these knots stand for."""
        # Between knots the spline is interpolated, so those before and behind the band count, too.
        is_hot = self._is_hot(surface[band.start - 1 : band.stop + 1]).max(axis=0)
        if not is_hot.any():
            _copy(image, out)
            return
        hot_columns = place.knots[1].around(is_hot)
        columns = place.across.pixels(place.knots[1].samples(hot_columns))
        _copy_around(image, out, (slice(0, len(image)), columns))
        # The map is quantized to 256 steps only after it was enlarged; before, they would show as contour lines.
        heat = self._enlarge_smoothly(surface, place, (band, hot_columns))
        index = cv2.convertScaleAbs(heat, dst=self._buffer("index", heat.shape), alpha=255)
        colors, keep = self._look_up(index, place.across.step, columns.stop - columns.start)
        for row in range(min(place.down.step, len(image))):
            rows = np.s_[row :: place.down.step, columns]
            painted, count = out[rows], len(image[rows])
            cv2.multiply(image[rows], keep[:count], dst=painted, scale=1 / 255)
            cv2.add(painted, colors[:count], dst=painted)

    def _look_up(self, index: np.ndarray, step: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weighted colors, and the weight of the image for each channel, both (rows, width, 3) uint8.

        Args:
            index: (rows, samples) uint8.
            step: Number of pixels that share a sample.
            width: Number of pixels.
        """
        colors, keep = self._tables[step]
        colors = cv2.LUT(index, colors, dst=self._buffer(f"packed colors {step}", index.shape, colors.dtype.type))
        keep = cv2.LUT(index, keep, dst=self._buffer(f"packed keep {step}", index.shape, keep.dtype.type))
        colors = colors.view(np.uint8).reshape(len(index), -1, 4)[:, :width]
        keep = keep.view(np.uint8)[:, :width]
        shape = (len(index), width, 3)
        colors = cv2.cvtColor(colors, cv2.COLOR_BGRA2BGR, dst=self._buffer("colors", shape))
        return colors, cv2.cvtColor(keep, cv2.COLOR_GRAY2BGR, dst=self._buffer("keep", shape))


def _bands(knots: slice, pixels_per_knot: int) -> list[slice]:
    """Cuts rows of knots into bands of about equal size."""
    knot_count = knots.stop - knots.start
    band_count = min(ceil(knot_count * pixels_per_knot / _BAND_PIXELS), knot_count)
    borders = [knots.start + number * knot_count // band_count for number in range(band_count + 1)]
    return [slice(begin, end) for begin, end in pairwise(borders)]


def _rows_per_sample(cell_height: float) -> int:
    """Returns how many rows of pixels may share a sample of the heatmap.

    From one cell's center to the next, the heat changes by at most 255 steps of the color table, and a B-spline is no
    steeper than that; the outermost of n rows is (n - 1) / 2 rows from their middle.

    Args:
        cell_height: In pixels.
    """
    return max(1, int(1 + 2 * _ROW_ERROR_STEPS * cell_height / 255))


def _columns_per_sample(cell_width: float) -> int:
    """Returns how many columns of pixels may share a sample: 1, or 2, which is what one look-up can copy."""
    return 2 if 255 / cell_width <= 2 * _COLUMN_ERROR_STEPS else 1


def _heat_tables(lut: np.ndarray, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns what each color index does to a pixel: pixel * keep / 255 + color.

    The weight of the color rises smoothly from 0 at a heat of 0.15 to the opacity at 0.85: weak heat, which is
    everywhere, does not veil the image, and there is no visible edge where the heat begins.

    Args:
        lut: (256, 3) float, BGR, in [0, 255].
        opacity: Weight of the hottest color, in [0, 1].

    Returns:
        The color times its weight, (256, 3) uint8, BGR; and 255 times the weight of the image, (256, 1) uint8.
    """
    coldest, hottest = VISIBLE_HEAT
    rise = np.clip((np.arange(256)[:, np.newaxis] / 255 - coldest) / (hottest - coldest), 0, 1)
    weight = opacity * rise**2 * (3 - 2 * rise)
    return np.rint(lut * weight).astype(np.uint8), np.rint(255 * (1 - weight)).astype(np.uint8)


def _pixel_table(pixels: np.ndarray, element_type: type) -> np.ndarray:
    """Returns a (256, bytes of a pixel) uint8 table as ``cv2.LUT`` takes it: (1, 256), as many pixels as fit."""
    count = np.dtype(element_type).itemsize // pixels.shape[1]
    return np.tile(pixels, count).view(element_type).reshape(1, 256)


def _copy_around(image: np.ndarray, out: np.ndarray, area: tuple[slice, slice]) -> None:
    """Copies all of the image outside of that area."""
    rows, columns = area
    for outside in (
        np.s_[: rows.start],
        np.s_[rows.stop :],
        np.s_[rows, : columns.start],
        np.s_[rows, columns.stop :],
    ):
        _copy(image[outside], out[outside])


def _copy(image: np.ndarray, out: np.ndarray) -> None:
    """Copies an image, unless it is drawn on itself."""
    if not np.may_share_memory(image, out):
        np.copyto(out, image)


def heat_of(heatmap: np.ndarray, scale: float | None) -> np.ndarray | None:
    """Returns the map divided by the scale, (h, w) float32 >= 0; None if there is nothing to draw.

    Args:
        heatmap: (h, w) float.
        scale: Heatmap value that is drawn hottest; None: the heatmap's maximum.
    """
    values = heatmap.astype(np.float64)
    peak = float(values.max())
    scale = peak if scale is None else float(scale)
    if not (np.isfinite(values).all() and peak > 0 and isfinite(scale) and scale > 0):
        return None
    return (np.clip(values, 0, _HIGHEST_HEAT * scale) / scale).astype(np.float32)
