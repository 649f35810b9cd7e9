"""BGR frames to H.264 in a file that can be played while it grows."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.logging
import cv2
import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.video.frame import PictureType

from live_cam.sinks.clock import PresentationClock

# x264 would print its settings and statistics for every file.
av.logging.set_level(None)

# Written in pieces that end at each keyframe, so that a killed run leaves a film; flushed past ffmpeg's own buffer.
_PIECEWISE_MP4 = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_PIECEWISE_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}
# Measured on two films with overlays, 640x360 and 768x432: size (1 %) and PSNR (0.1 dB) of "superfast" at crf 23 with
# mbtree for 0.63-0.71 of its CPU time; "veryfast" at crf 23 takes twice ours for 11 % smaller files, 0.2-0.3 dB worse.
_ENCODER = {"preset": "ultrafast", "crf": "22", "coder": "cabac", "aq-mode": "1", "mbtree": "1", "deblock": "0:0"}
# Without B-frames a frame's place in the file is its time: no edit list, no start offset, and pieces end sooner.
# The look-ahead is short for the same reason. Keyframes come by time, see the clock.
_ENCODER |= {"bf": "0", "rc-lookahead": "10", "forced-idr": "1", "g": "600"}
# A live recording must lose little when it is killed, at any frame rate: nothing waits inside the encoder.
_LIVE_ENCODER = _ENCODER | {"tune": "zerolatency", "rc-lookahead": "0", "mbtree": "0"}
# Numbers of ISO/IEC 23091-2. BT.601 limited is the matrix OpenCV converts with, ten times faster than swscale does;
# primaries and transfer curve are those of screens, whatever the matrix.
_BT601_MATRIX, _BT709, _LIMITED_RANGE = 6, 1, 1


ENCODER_NAME: Final = "libx264"


class H264File:
    """One growing video file.

    Args:
        path: Made, or emptied if it exists.
        container_format: ffmpeg's name of it: "mp4", "mov" or "matroska".
        size_wh: Even width and height.
        rate: Of the source; None for a live source.
    """

    def __init__(self, path: Path, container_format: str, size_wh: tuple[int, int], rate: Fraction | None) -> None:
        self._clock = PresentationClock(rate)
        self._size_wh = size_wh
        self._has_failed = False
        options = _PIECEWISE_MATROSKA if container_format == "matroska" else _PIECEWISE_MP4
        self._container = av.open(f"file:{path}", "w", format=container_format, options=options)
        self._stream = self._container.add_stream(
            ENCODER_NAME, rate=self._clock.rate, options=_LIVE_ENCODER if rate is None else _ENCODER
        )
        self._stream.width, self._stream.height = size_wh
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._clock.time_base
        context.colorspace, context.color_range = _BT601_MATRIX, _LIMITED_RANGE
        context.color_primaries, context.color_trc = _BT709, _BT709

    def add(self, image: np.ndarray, time_seconds: float) -> None:
        """Encodes one frame.

        Args:
            image: (height, width, 3) uint8, BGR; where it is a row or column short, its last one is repeated.
            time_seconds: Only differences between frames count.
        """
        planes: Any = cv2.cvtColor(self._padded(image), cv2.COLOR_BGR2YUV_I420)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, is_key = self._clock.next_pts(time_seconds)
        frame.time_base = self._clock.time_base
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds, if the file could be written so far, and ends it."""
        try:
            if not self._has_failed:
                self._mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _padded(self, image: np.ndarray) -> np.ndarray:
        bottom, right = self._size_wh[1] - image.shape[0], self._size_wh[0] - image.shape[1]
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE) if bottom or right else image

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            packet.duration = self._clock.ticks_per_frame  # counts for the last frame; the others end with the next
            try:
                self._container.mux(packet)
            except (av.FFmpegError, OSError):
                # One more packet into a file without a header would crash the process (PyAV 18).
                self._has_failed = True
                raise


def copy_for_fast_start(piecewise: Path, whole: Path, container_format: str) -> None:
    """Copies the coded frames into a file with one index at its beginning, which players can seek in at once."""
    with (
        av.open(f"file:{piecewise}") as source,
        av.open(f"file:{whole}", "w", format=container_format, options={"movflags": "faststart"}) as target,
    ):
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        copy.time_base = stream.time_base  # PyAV before 18 would take 1/90000, in which 24000/1001 is not exact
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
