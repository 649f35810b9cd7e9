"""From a frame to the network's input: which part of the frame, how it is resized, and how it is normalized.

Resizing is done here. Normalization is only described here; it is part of the compiled function
(``live_cam.gradmodel.grad_model``).
"""

from __future__ import annotations

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
    """The normalization that a network expects: ``(x - mean) / std`` for x in 0..255, per channel.

    Attributes:
        name: Its key in ``PREPROCESSINGS``, or where it comes from.
        color_order: The order of the network's channels, and of ``mean`` and ``std``.
        mean: In 0..255.
        std: In 0..255.
        resampling: How the network's images are resized, a key of ``RESAMPLINGS``. Default: as the fit does.
    """

    name: str
    color_order: Literal["rgb", "bgr"]
    mean: Triple
    std: Triple
    resampling: str | None = None


# raw: the network normalizes its input itself. tf, torch and caffe: the modes of keras.applications' preprocess_input.
# lite: EfficientNet-Lite.
PREPROCESSINGS: dict[str, Preprocessing] = {
    "raw": Preprocessing("raw", "rgb", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "unit": Preprocessing("unit", "rgb", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
    "tf": Preprocessing("tf", "rgb", mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    "torch": Preprocessing("torch", "rgb", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "caffe": Preprocessing("caffe", "bgr", mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)),
    "lite": Preprocessing("lite", "rgb", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
}

# What gray images are computed with: ITU-R BT.601.
_LUMA_RGB = (0.299, 0.587, 0.114)

# The mean color of ImageNet, which becomes nearly zero when normalized: the value of the network's own padding.
PAD_COLOR_BGR = (104, 117, 124)
# The usual share of the shorter side in evaluations of ImageNet networks.
CROP_FRACTION = 0.875

# Resampling without antialiasing, as KerasHub's presets do it: OpenCV's samplers by their names there.
_SAMPLERS = {"nearest": cv2.INTER_NEAREST_EXACT, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
_ANTIALIASED = ("antialiased bilinear", "antialiased bicubic")
RESAMPLINGS = (*_SAMPLERS, *_ANTIALIASED)

# From this shrinking factor on, the grid is 4 times as fine as the input, else 2 times. Finer grids cost more and make
# no difference: on moving 1080p pictures, heatmaps change as much from frame to frame as with OpenCV's area filter,
# which takes five times as long, and half as much as with bilinear samples alone.
_FINE_GRID_FACTOR = 6.0


def normalization_kernel(preprocessing: Preprocessing, channel_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a normalization as one matrix product: ``bgr @ kernel + bias`` for BGR values in 0..255.

    Args:
        preprocessing: The normalization, which may also reorder the channels.
        channel_count: 3, or 1 for the luma of ITU-R BT.601.

    Returns:
        kernel: (3, channels) float32.
        bias: (channels,) float32.
    """
    std = np.array(preprocessing.std)
    kernel, bias = np.diag(1 / std), -np.array(preprocessing.mean) / std
    if channel_count == 1:
        luma = _LUMA_RGB if preprocessing.color_order == "rgb" else _LUMA_RGB[::-1]
        kernel, bias = kernel @ np.reshape(luma, (3, 1)), bias @ np.reshape(luma, (3, 1))
    if preprocessing.color_order == "rgb":
        kernel = kernel[::-1]
    return kernel.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class _Placement:
    """Which pixels of the frame become which pixels of the input: left, top, width, height."""

    source_xywh: tuple[int, int, int, int]
    target_xywh: tuple[int, int, int, int]


def _place_stretched(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """Places the whole frame on the whole input; changes its aspect ratio."""
    return _Placement((0, 0, *frame_wh), (0, 0, *input_wh))


def _place_cropped(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """Places the middle of the frame: for a square input, a square of 0.875 of the frame's shorter side."""
    scale = CROP_FRACTION * min(frame / size for frame, size in zip(frame_wh, input_wh, strict=True))
    width, height = (max(1, round(size * scale)) for size in input_wh)
    left, top = (frame_wh[0] - width) // 2, (frame_wh[1] - height) // 2
    return _Placement((left, top, width, height), (0, 0, *input_wh))


def _place_padded(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> _Placement:
    """Places the whole frame in the middle of the input; keeps its aspect ratio."""
    scale = min(size / frame for frame, size in zip(frame_wh, input_wh, strict=True))
    width, height = (max(1, round(frame * scale)) for frame in frame_wh)
    left, top = (input_wh[0] - width) // 2, (input_wh[1] - height) // 2
    return _Placement((0, 0, *frame_wh), (left, top, width, height))


FITS: dict[str, Callable[[tuple[int, int], tuple[int, int]], _Placement]] = {
    "stretch": _place_stretched,
    "crop": _place_cropped,
    "pad": _place_padded,
}


class FrameFitter:
    """Converts frames of any size to the network's input; reuses its memory.

    Args:
        input_size_wh: Width and height of the network's input in pixels.
        fit: "stretch", "crop" or "pad".
        resampling: One of ``RESAMPLINGS``. Default: with antialiasing.

    Raises:
        SettingError: There is no such fit.
    """

    def __init__(self, input_size_wh: tuple[int, int], fit: str = "stretch", resampling: str | None = None) -> None:
        if fit not in FITS:
            raise unknown_name("fit", fit, FITS)
        self._place = FITS[fit]
        self._resampling = resampling
        self._input_wh = input_size_wh
        width, height = input_size_wh
        self._pixels = np.full((1, height, width, 3), PAD_COLOR_BGR, np.uint8)
        self._frame_wh = (0, 0)
        self._placement = _Placement((0, 0, 0, 0), (0, 0, 0, 0))
        self._resizer: _Resizer | _Sampler = _Sampler(cv2.INTER_LINEAR)

    def fit(self, image_bgr: np.ndarray) -> tuple[np.ndarray, RegionXYWH]:
        """Crops, resizes and pads a frame.

        Args:
            image_bgr: (height, width, 3) uint8, BGR.

        Returns:
            pixels: (1, h, w, 3) uint8, BGR, contiguous. The next call overwrites them.
            region_xywh: The part of the frame that the network sees, as fractions; padding extends outside 0..1.
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
        self._placement = self._place(frame_wh, self._input_wh)
        self._resizer = self._new_resizer(self._placement.source_xywh[2:], self._placement.target_xywh[2:])
        self._pixels[:] = PAD_COLOR_BGR

    def _new_resizer(self, source_wh: tuple[int, int], target_wh: tuple[int, int]) -> _Resizer | _Sampler:
        if self._resampling in _SAMPLERS:
            return _Sampler(_SAMPLERS[self._resampling])
        return _Resizer(source_wh, target_wh)


def _region(placement: _Placement, frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> RegionXYWH:
    """Returns where the whole input, including its padding, lies on the frame, as fractions of the frame."""
    starts, sizes = [], []
    for axis in (0, 1):
        source_start, source_size = placement.source_xywh[axis], placement.source_xywh[axis + 2]
        target_start, target_size = placement.target_xywh[axis], placement.target_xywh[axis + 2]
        source_per_target = source_size / target_size
        starts.append((source_start - target_start * source_per_target) / frame_wh[axis])
        sizes.append(input_wh[axis] * source_per_target / frame_wh[axis])
    return starts[0], starts[1], sizes[0], sizes[1]


@dataclass(frozen=True)
class _Sampler:
    """Resizes without antialiasing, by one of OpenCV's interpolations."""

    interpolation: int

    def resize(self, source: np.ndarray, target: np.ndarray) -> None:
        """Resizes one array of (height, width, 3) uint8 into another."""
        # Copied, because OpenCV cannot write into every view.
        target[:] = cv2.resize(source, (target.shape[1], target.shape[0]), interpolation=self.interpolation)


class _Resizer:
    """Shrinks images without aliasing: bilinear samples on a grid 2 or 4 times as fine, and the mean of each cell."""

    def __init__(self, source_wh: tuple[int, int], target_wh: tuple[int, int]) -> None:
        width, height = (
            target * _grid_factor(source / target) for source, target in zip(source_wh, target_wh, strict=True)
        )
        self._grid = np.empty((height, width, 3), np.uint8)

    def resize(self, source: np.ndarray, target: np.ndarray) -> None:
        """Resizes one array of (height, width, 3) uint8 into another."""
        height, width = self._grid.shape[:2]
        cv2.resize(source, (width, height), dst=self._grid, interpolation=cv2.INTER_LINEAR)
        # Copied, because OpenCV cannot write into every view.
        target[:] = cv2.resize(self._grid, (target.shape[1], target.shape[0]), interpolation=cv2.INTER_AREA)


def _grid_factor(factor: float) -> int:
    """Returns how much finer than the input the grid is along a side that is shrunk by a factor."""
    if factor <= 1:
        return 1
    return 2 if factor < _FINE_GRID_FACTOR else 4
