"""Converts decoded video frames to upright BGR images, with the stream's own color matrix and range."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from live_cam.sources.hdr import ToneMapper, needs_mapping

_HD_HEIGHT = 720
_SWSCALE_BT2020 = 9  # PyAV has a name for it from version 18 on
# ISO/IEC 23091-2 MatrixCoefficients, which ffmpeg's AVColorSpace follows.
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
# A pixel aspect ratio beyond this, or below its inverse, is a mistake in the file.
_WIDEST_PIXEL = 4
_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def matrix_of(frame: VideoFrame) -> int:
    """Returns the frame's color matrix; if none is stored, BT.709 from 720 lines up and BT.601 below, as players do."""
    guess = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    return _MATRICES.get(frame.colorspace, guess)


def is_full_range(frame: VideoFrame) -> bool:
    """Returns whether luma uses 0..255; if no range is stored, only the ``yuvj`` formats do."""
    return frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")


def square_size_wh(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Returns the size with square pixels: one side is enlarged, to an even number; the other stays.

    Args:
        width: In pixels as stored.
        height: In pixels as stored.
        pixel_aspect: Width of a pixel over its height; None if unknown.
    """
    if pixel_aspect is None or pixel_aspect == 1 or not 1 / _WIDEST_PIXEL <= pixel_aspect <= _WIDEST_PIXEL:
        return width, height
    if pixel_aspect > 1:
        return 2 * round(width * pixel_aspect / 2), height
    return width, 2 * round(height / pixel_aspect / 2)


class FrameConverter:
    """Converts the frames of one stream to BGR images of one size.

    Pixels that are not square are made square by enlarging one side, so that the network, the heatmap and every player
    see the same shapes.

    Args:
        first: The stream's first frame. Its size, rotation and kind of color are used for all frames, so that a sink
            can rely on them.
        pixel_aspect: Width of a pixel over its height. Default: square pixels.
    """

    def __init__(self, first: VideoFrame, pixel_aspect: Fraction | None = None) -> None:
        self._first_size_wh = first.width, first.height
        self._width, self._height = square_size_wh(first.width, first.height, pixel_aspect)
        self._mapper: ToneMapper | None = None
        if needs_mapping(first.color_trc, first.color_primaries):
            self._mapper = ToneMapper(first.color_trc, first.color_primaries)
        self._rotation_degrees = round(first.rotation / 90) % 4 * 90
        self._reformatter = VideoReformatter()
        self._planes = np.empty((0, 0), np.uint8)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the upright images, in pixels."""
        is_turned_sideways = self._rotation_degrees in (90, 270)
        return (self._height, self._width) if is_turned_sideways else (self._width, self._height)

    def is_made_for(self, frame: VideoFrame) -> bool:
        """Returns whether the frame has the first one's size; another size is scaled to it."""
        return (frame.width, frame.height) == self._first_size_wh

    def image_bgr(self, frame: VideoFrame) -> np.ndarray:
        """Returns the frame as (height, width, 3) uint8, BGR, upright."""
        image = self._exact_bgr(frame) if self._has_exact_path(frame) else self._scaled_bgr(frame)
        return cv2.rotate(image, _ROTATIONS[self._rotation_degrees]) if self._rotation_degrees else image

    def _has_exact_path(self, frame: VideoFrame) -> bool:
        return (
            frame.format.name == "yuv420p"
            and (frame.width, frame.height) == (self._width, self._height)
            and frame.width % 2 == frame.height % 2 == 0
            and matrix_of(frame) == Colorspace.ITU601
            and not is_full_range(frame)
            and self._mapper is None
        )

    def _exact_bgr(self, frame: VideoFrame) -> np.ndarray:
        # OpenCV supports only this matrix, and rounds. swscale's fast path takes as long and is 1 gray level too dark.
        return cv2.cvtColor(self._packed_planes(frame), cv2.COLOR_YUV2BGR_I420)

    def _packed_planes(self, frame: VideoFrame) -> np.ndarray:
        """Returns (3 / 2 * height, width) uint8: the planes of a yuv420p frame one after another, until the next call.

        ``frame.to_ndarray`` returns the same, in new memory, and takes several times as long.
        """
        if self._planes.shape != (frame.height * 3 // 2, frame.width):
            self._planes = np.empty((frame.height * 3 // 2, frame.width), np.uint8)
        begin, flat = 0, self._planes.reshape(-1)
        planes: Any = frame.planes
        for plane in planes:
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            np.copyto(flat[begin : begin + rows.size].reshape(rows.shape), rows)
            begin += rows.size
        return self._planes

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
        image = converted.to_ndarray()
        # Of a codec in this format, it is the decoder's own picture, which later ones may be made from.
        return image.copy() if converted is frame else np.ascontiguousarray(image)
