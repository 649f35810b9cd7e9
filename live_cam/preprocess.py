"""From a frame to what the network gets: which part of the frame, resized how, and then normalized how.

The resizing is done here, on the CPU. Normalizing is only described here; the compiled pass does it
(`live_cam.one_pass.gradmodel`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from live_cam.errors import unknown_name

Triple = tuple[float, float, float]
RegionXYWH = tuple[float, float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its pixels: ``(x - mean) / std`` for x in 0..255, channel by channel.

    Attributes:
        colour_order: The order of the network's channels, and of ``mean`` and ``std``.
    """

    name: str
    colour_order: Literal["rgb", "bgr"]
    mean: Triple
    std: Triple


# raw: the network normalizes inside itself. tf, torch and caffe: the modes of keras.applications' preprocess_input.
# lite: of EfficientNet-Lite.
PREPROCESSINGS: dict[str, Preprocessing] = {
    "raw": Preprocessing("raw", "rgb", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "unit": Preprocessing("unit", "rgb", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
    "tf": Preprocessing("tf", "rgb", mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    "torch": Preprocessing("torch", "rgb", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "caffe": Preprocessing("caffe", "bgr", mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)),
    "lite": Preprocessing("lite", "rgb", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
}

# The mean colour of ImageNet: near zero once normalized, which is what the network's own padding is made of.
PAD_COLOUR_BGR = (104, 117, 124)
# The usual share of the short side in evaluations of ImageNet networks.
CROP_FRACTION = 0.875

# Second moments, in target pixels squared, of the kernels that image libraries shrink with: a triangle of the width of
# two target pixels, and the cubic of Keys (1981, a = -1/2), which has none.
_TRIANGLE_VARIANCE = 1 / 6
_CUBIC_VARIANCE = 0.0


@dataclass(frozen=True)
class _Placement:
    """Which pixels of the frame go to which pixels of the input; left, top, width, height."""

    source_xywh: tuple[int, int, int, int]
    target_xywh: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Fit:
    place: Callable[[tuple[int, int], tuple[int, int]], _Placement]
    kernel_variance: float


def _place_stretched(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """The whole frame over the whole input, its aspect ratio changed."""
    return _Placement((0, 0, *frame_wh), (0, 0, *input_wh))


def _place_cropped(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """The middle of the frame, of the input's shape: a square of 0.875 of the short side for a square input."""
    scale = CROP_FRACTION * min(frame / size for frame, size in zip(frame_wh, input_wh, strict=True))
    width, height = (max(1, round(size * scale)) for size in input_wh)
    left, top = (frame_wh[0] - width) // 2, (frame_wh[1] - height) // 2
    return _Placement((left, top, width, height), (0, 0, *input_wh))


def _place_padded(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """The whole frame in its own shape, in the middle of the input."""
    scale = min(size / frame for frame, size in zip(frame_wh, input_wh, strict=True))
    width, height = (max(1, round(frame * scale)) for frame in frame_wh)
    left, top = (input_wh[0] - width) // 2, (input_wh[1] - height) // 2
    return _Placement((0, 0, *frame_wh), (left, top, width, height))


FITS: dict[str, _Fit] = {
    "stretch": _Fit(_place_stretched, _TRIANGLE_VARIANCE),
    "crop": _Fit(_place_cropped, _CUBIC_VARIANCE),
    "pad": _Fit(_place_padded, _TRIANGLE_VARIANCE),
}


class FrameFitter:
    """Fits frames of any size to the network's input, into memory that it keeps.

    Args:
        input_size_wh: The network's input, width and height in pixels.
        fit: "stretch", "crop" or "pad".

    Raises:
        SettingError: There is no such fit.
    """

    def __init__(self, input_size_wh: tuple[int, int], fit: str = "stretch") -> None:
        if fit not in FITS:
            raise unknown_name("fit", fit, FITS)
        self._fit = FITS[fit]
        self._input_wh = input_size_wh
        width, height = input_size_wh
        self._pixels = np.full((1, height, width, 3), PAD_COLOUR_BGR, np.uint8)
        self._frame_wh = (0, 0)
        self._placement = _Placement((0, 0, 0, 0), (0, 0, 0, 0))
        self._resizer = _Resizer((1, 1), (1, 1), _TRIANGLE_VARIANCE)

    def fit(self, image_bgr: np.ndarray) -> tuple[np.ndarray, RegionXYWH]:
        """Cuts, resizes and pads one frame.

        Args:
            image_bgr: (H, W, 3) uint8, BGR.

        Returns:
            pixels: (1, h, w, 3) uint8, BGR, contiguous. The next call writes into the same memory.
            region_xywh: What the network sees, as fractions of the frame; padding reaches outside 0..1.
        """
        frame_wh = (image_bgr.shape[1], image_bgr.shape[0])
        if frame_wh != self._frame_wh:
            self._prepare(frame_wh)
        left, top, width, height = self._placement.source_xywh
        x, y, inner_width, inner_height = self._placement.target_xywh
        self._resizer.resize(
            image_bgr[top : top + height, left : left + width],
            self._pixels[0, y : y + inner_height, x : x + inner_width],
        )
        return self._pixels, _region(self._placement, frame_wh, self._input_wh)

    def _prepare(self, frame_wh: tuple[int, int]) -> None:
        self._frame_wh = frame_wh
        self._placement = self._fit.place(frame_wh, self._input_wh)
        self._resizer = _Resizer(
            self._placement.source_xywh[2:], self._placement.target_xywh[2:], self._fit.kernel_variance
        )
        self._pixels[:] = PAD_COLOUR_BGR


def _region(placement: _Placement, frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> RegionXYWH:
    """The whole input, padding included, laid back on the frame."""
    starts, sizes = [], []
    for axis in (0, 1):
        source_start, source_size = placement.source_xywh[axis], placement.source_xywh[axis + 2]
        target_start, target_size = placement.target_xywh[axis], placement.target_xywh[axis + 2]
        source_per_target = source_size / target_size
        starts.append((source_start - target_start * source_per_target) / frame_wh[axis])
        sizes.append(input_wh[axis] * source_per_target / frame_wh[axis])
    return starts[0], starts[1], sizes[0], sizes[1]


class _Resizer:
    """Shrinks like the antialiased filters of image libraries, in a fraction of their time.

    Networks are evaluated with a triangle or cubic kernel stretched to the shrinking factor; OpenCV has neither, and
    its area filter costs twice this or more. Here: sample bilinearly on a grid 2 or 4 times as fine, average 2x2 (both
    run on vector instructions), and correct by 3 taps so that the second moment of the whole is the wanted kernel's.
    """

    def __init__(self, source_wh: tuple[int, int], target_wh: tuple[int, int], kernel_variance: float) -> None:
        factors = [source / target for source, target in zip(source_wh, target_wh, strict=True)]
        halvings = _halvings(math.sqrt(factors[0] * factors[1]))
        width, height = target_wh
        # From the finest grid to the target.
        self._grids = [np.empty((height << n, width << n, 3), np.uint8) for n in range(halvings, -1, -1)]
        self._taps = [_correcting_taps(factor, halvings, kernel_variance) for factor in factors]

    def resize(self, source: np.ndarray, target: np.ndarray) -> None:
        """Resizes the pixels of one array of (height, width, 3) uint8 into another."""
        _resize_into(source, self._grids[0], cv2.INTER_LINEAR)
        for finer, coarser in zip(self._grids[:-1], self._grids[1:], strict=True):
            _resize_into(finer, coarser, cv2.INTER_AREA)
        # Not into the target: OpenCV cannot write into every view.
        taps_x, taps_y = self._taps
        target[:] = cv2.sepFilter2D(self._grids[-1], -1, taps_x, taps_y, borderType=cv2.BORDER_REPLICATE)


def _resize_into(source: np.ndarray, target: np.ndarray, interpolation: int) -> None:
    cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=interpolation)


def _halvings(factor: float) -> int:
    """How often the finest grid is halved: with more, it would cost more than anyone could see."""
    if factor <= 1:
        return 0
    return 1 if factor < 3 else 2


def _correcting_taps(factor: float, halvings: int, kernel_variance: float) -> np.ndarray:
    """(3,) float32: the taps whose second moment makes up the difference to the wanted kernel's.

    Sampling bilinearly at arbitrary positions has 1/6 source pixel squared on average, the mean of m samples that lie
    1/m apart has (1 - 1/m^2) / 12 target pixels squared, and moments of filters in a row add up.
    """
    wanted = kernel_variance * max(1.0, 1 / factor) ** 2
    reached = (1 - 0.25**halvings) / 12 + 1 / (6 * factor**2)
    side = min(0.12, max(-0.12, (wanted - reached) / 2))
    return np.array([side, 1 - 2 * side, side], np.float32)
