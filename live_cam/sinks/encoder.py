"""BGR frames into a video file that can be played while it grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from live_cam.native_output import silenced_native_stderr
from live_cam.sinks.clock import ClockState, PresentationClock
from live_cam.sinks.codecs import VideoCodec, VideoFormat
from live_cam.sinks.companions import MakeCompanions, no_companions

# x264 would print its settings and statistics for every file.
av.logging.set_level(None)

# Written in pieces that end at each keyframe, so that a killed run leaves a film; flushed past ffmpeg's own buffer.
# The header comes with the first piece: only then are all kinds of sound known well enough, and a lead-in can be noted.
_PIECEWISE_MP4 = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
_PIECEWISE = {
    "mp4": _PIECEWISE_MP4,
    "mov": _PIECEWISE_MP4,
    "matroska": {"cluster_time_limit": "1000"},
    "webm": {"cluster_time_limit": "1000"},
}
# A track that is silent for long must not hold back the pictures; in microseconds.
_FLUSHED = {"flush_packets": "1", "max_interleave_delta": "500000"}
# Some ten frames wait inside x264; below this rate, for too long to be lost when the run is killed.
_SLOW_FRAMES_PER_SECOND = 16
# Numbers of ISO/IEC 23091-2. BT.601 limited is the matrix OpenCV converts with, ten times faster than swscale does;
# primaries and transfer curve are those of screens, whatever the matrix.
_BT601_MATRIX, _BT709 = 6, 1
_LIMITED_RANGE, _FULL_RANGE = 1, 2
# The name under which Apple's players take H.265 from MP4 and MOV.
_TAGS = {("libx265", "mp4"): "hvc1", ("libx265", "mov"): "hvc1"}


class VideoFile:
    """One growing video file.

    Args:
        path: Made, or emptied if it exists.
        form: Container and codec.
        size_wh: Even width and height.
        rate: Of the source; None for a live source.
        make_companions: Adds what goes into the file beside the pictures.

    Attributes:
        began_piece: Whether the last frame that was added begins a piece that can be played for itself.
        safe_count: As many frames stay if the process is killed now: those before the piece that is being written.
    """

    def __init__(
        self,
        path: Path,
        form: VideoFormat,
        size_wh: tuple[int, int],
        rate: Fraction | None,
        make_companions: MakeCompanions = no_companions,
    ) -> None:
        if form.codec is None:
            raise ValueError("a GIF is written by GifFile")
        self._form, self._size_wh = form, size_wh
        self._clock = PresentationClock(rate, keeps_grid=form.container == "avi")
        self._has_failed = self.began_piece = False
        self.safe_count = self._packet_count = 0
        options = _PIECEWISE.get(form.container, {}) | _FLUSHED
        self._container = av.open(f"file:{path}", "w", format=form.container, options=options)
        is_slow = rate is None or rate < _SLOW_FRAMES_PER_SECOND
        prompt_options = form.codec.prompt_options if is_slow else {}
        self._stream = self._add_stream(form.codec, dict(form.encoder_options) | dict(prompt_options))
        self._companions = make_companions(self._container)
        self._is_planar = form.codec.pixel_format == "yuv420p"
        self._reformatter = VideoReformatter()
        self._last_pts, self._last_ticks = 0, self._clock.ticks_per_frame

    def _add_stream(self, codec: VideoCodec, options: dict[str, str]) -> Any:
        stream: Any = self._container.add_stream(codec.encoder, rate=self._clock.rate, options=options)
        stream.width, stream.height = self._size_wh
        stream.pix_fmt = codec.pixel_format
        context = stream.codec_context
        stream.disposition = Disposition.default
        context.time_base = self._clock.time_base
        context.colorspace = _BT601_MATRIX
        context.color_range = _LIMITED_RANGE if codec.pixel_format == "yuv420p" else _FULL_RANGE
        context.color_primaries, context.color_trc = _BT709, _BT709
        tag = _TAGS.get((codec.encoder, self._form.container))
        if tag is not None:
            context.codec_tag = tag
        # SVT-AV1 greets on stderr and has no switch against it.
        with silenced_native_stderr() if codec.encoder == "libsvtav1" else nullcontext():
            context.open()
        return stream

    def add(self, image: np.ndarray, time_seconds: float, duration_seconds: float | None = None) -> None:
        """Encodes one frame.

        Args:
            image: (height, width, 3) uint8, BGR; where it is a row or column short, its last one is repeated.
            time_seconds: Only differences between frames count.
            duration_seconds: Counts for the last frame; the others end with the next. None: that of the rate.
        """
        frame = self._coded_colours(self._padded(image))
        frame.pts, self.began_piece = self._clock.next_pts(time_seconds)
        frame.time_base = self._clock.time_base
        frame.pict_type = PictureType.I if self.began_piece else PictureType.NONE
        self._last_pts, self._last_ticks = frame.pts, self._clock.duration_ticks(duration_seconds)
        self._mux(self._stream.encode(frame))

    @property
    def clock_state(self) -> ClockState:
        """Where the next frame comes."""
        return self._clock.state

    def go_on_from(self, packets: Iterable[Packet], clock_state: ClockState) -> None:
        """Takes the coded pictures of an earlier run; call it before the first frame.

        Args:
            packets: From an encoder with the same settings; what follows them begins with a keyframe.
            clock_state: Behind the last of them.
        """
        for packet in packets:
            self._put(packet)
        self._clock.restore(clock_state)
        self._last_pts = clock_state.last_pts

    @property
    def end_seconds(self) -> float:
        """Where the last picture so far ends; 0 is the first one's time."""
        return float((self._last_pts + self._last_ticks) * self._clock.time_base)

    def close(self, is_whole: bool = False) -> None:
        """Writes what the encoder still holds, if the file could be written so far, and ends it.

        Args:
            is_whole: Whether all frames came: then sound goes on to its end.
        """
        try:
            if not self._has_failed:
                self._mux(self._stream.encode(None))
                self._end_companions(is_whole)
        finally:
            self._container.close()

    def _end_companions(self, is_whole: bool) -> None:
        if self._companions is None:
            return
        with self._noting_failure():
            if is_whole:
                self._companions.finish(self.end_seconds)
                if not self._form.has_index_at_end:  # it takes chapters into that index only
                    self._companions.set_chapters(self.end_seconds)
            else:
                self._companions.write_until(self.end_seconds)

    def _padded(self, image: np.ndarray) -> np.ndarray:
        bottom, right = self._size_wh[1] - image.shape[0], self._size_wh[0] - image.shape[1]
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE) if bottom or right else image

    def _coded_colours(self, image: np.ndarray) -> VideoFrame:
        if self._is_planar:
            planes: Any = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
            return VideoFrame.from_ndarray(planes, format="yuv420p")
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24"),
            format=self._stream.pix_fmt,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG,
        )

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            is_last = packet.pts == self._last_pts
            packet.duration = self._last_ticks if is_last else self._clock.ticks_per_frame
            self._put(packet)

    def _put(self, packet: Packet) -> None:
        is_keyframe = packet.is_keyframe
        packet.stream = self._stream
        with self._noting_failure():
            if self._companions is not None and packet.dts is not None:
                self._companions.write_until(float(packet.dts * packet.time_base))
            self._container.mux(packet)
        if is_keyframe:
            self.safe_count = self._packet_count
        self._packet_count += 1

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError):
            # One more packet into a file without a header would crash the process (PyAV 18).
            self._has_failed = True
            raise
