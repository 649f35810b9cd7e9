"""Decoded video frames to upright BGR pixels, with the stream's own colour matrix and range."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from live_cam.sources.hdr import ToneMapper, needs_mapping

_LINES_OF_HD = 720
_SWSCALE_BT2020 = 9  # PyAV names it from version 18 on
# Numbers of ISO/IEC 23091-2 (MatrixCoefficients), which ffmpeg's AVColorSpace follows.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: _SWSCALE_BT2020,
    10: _SWSCALE_BT2020,
}
_FULL_RANGE = 2
# What a file says beyond that is a mistake.
_WIDEST_PIXEL = 4
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def matrix_of(frame: VideoFrame) -> int:
    """The frame's colour matrix; where it is not written, BT.709 from 720 lines up and BT.601 below, as players do."""
    guess = Colorspace.ITU709 if frame.height >= _LINES_OF_HD else Colorspace.ITU601
    return _MATRICES.get(frame.colorspace, guess)


def is_full_range(frame: VideoFrame) -> bool:
    """Whether luma uses 0..255; where it is not written, only the ``yuvj`` formats do."""
    return frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")


def square_size_wh(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """The size with square pixels: one side longer, to an even number, and none shorter."""
    if pixel_aspect is None or pixel_aspect == 1 or not 1 / _WIDEST_PIXEL <= pixel_aspect <= _WIDEST_PIXEL:
        return width, height
    if pixel_aspect > 1:
        return 2 * round(width * pixel_aspect / 2), height
    return width, 2 * round(height / pixel_aspect / 2)


class FrameConverter:
    """Turns the frames of one stream into BGR images of one size.

    Pixels that are not square are made so, by enlarging the shorter side: the network, the heatmap and every player
    then see the same shapes.

    Args:
        first: The stream's first frame: its size, its rotation and its kind of colour hold for all, so that a sink can
            rely on them.
        pixel_aspect: Width of a pixel over its height.
    """

    def __init__(self, first: VideoFrame, pixel_aspect: Fraction | None = None) -> None:
        self._width, self._height = square_size_wh(first.width, first.height, pixel_aspect)
        self._mapper: ToneMapper | None = None
        if needs_mapping(first.color_trc, first.color_primaries):
            self._mapper = ToneMapper(first.color_trc, first.color_primaries)
        self._turn_degrees = round(first.rotation / 90) % 4 * 90
        self._reformatter = VideoReformatter()

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the upright images."""
        lies_on_its_side = self._turn_degrees in (90, 270)
        return (self._height, self._width) if lies_on_its_side else (self._width, self._height)

    def fits(self, frame: VideoFrame) -> bool:
        """Whether the frame has the first one's size; another would be stretched to it."""
        return (frame.width, frame.height) == (self._width, self._height)

    def pixels_bgr(self, frame: VideoFrame) -> np.ndarray:
        """The frame as (height, width, 3) uint8, BGR, upright."""
        image = self._exact_bgr(frame) if self._has_exact_path(frame) else self._scaled_bgr(frame)
        return cv2.rotate(image, _TURNS[self._turn_degrees]) if self._turn_degrees else image

    def _has_exact_path(self, frame: VideoFrame) -> bool:
        return (
            frame.format.name == "yuv420p"
            and self.fits(frame)
            and frame.width % 2 == frame.height % 2 == 0
            and matrix_of(frame) == Colorspace.ITU601
            and not is_full_range(frame)
            and self._mapper is None
        )

    @staticmethod
    def _exact_bgr(frame: VideoFrame) -> np.ndarray:
        # OpenCV knows this one matrix and rounds; swscale's fast path takes as long and is 1 grey level too dark.
        return cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2BGR_I420)

    def _scaled_bgr(self, frame: VideoFrame) -> np.ndarray:
        converted = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="bgr24" if self._mapper is None else "rgb48le",
            src_colorspace=matrix_of(frame),
            src_color_range=ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        if self._mapper is not None:
            return self._mapper.pixels_bgr(converted.to_ndarray())
        return np.ascontiguousarray(converted.to_ndarray())
