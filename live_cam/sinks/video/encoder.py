"""Encodes BGR frames to a video file that can be played while it grows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from live_cam.sinks.video.aux_tracks import StartAuxTracks
from live_cam.sinks.video.codecs import CODECS, VideoFormat
from live_cam.sinks.video.timestamps import ClockState, PresentationClock

# Written in fragments that end at each keyframe, so that a killed run leaves a video. The header comes with the first
# fragment: only then are all kinds of audio known well enough, and a lead-in can be stored.
_FRAGMENTED_MP4 = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
_CONTAINER_OPTIONS = {
    "mp4": _FRAGMENTED_MP4,
    "mov": _FRAGMENTED_MP4,
    "matroska": {"cluster_time_limit": "1000"},
    "webm": {"cluster_time_limit": "1000"},
}
# Packets are flushed at once, and a track that pauses holds back the others for half a second at most.
_FLUSH_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "500000"}
# Some ten frames wait inside x264; below this rate, for too long to be lost when the process is killed.
_LOW_FRAMES_PER_SECOND = 16
# Code points of ISO/IEC 23091-2. OpenCV converts with the BT.601 matrix and limited range, ten times faster than
# swscale; primaries and transfer curve are those of screens, whatever the matrix.
_BT601_MATRIX, _BT709 = 6, 1
_LIMITED_RANGE, _FULL_RANGE = 1, 2
# The codec tag with which Apple's players accept H.265 in MP4 and MOV.
_CODEC_TAGS = {("libx265", "mp4"): "hvc1", ("libx265", "mov"): "hvc1"}


class VideoEncoder:
    """Encodes one growing video file.

    Args:
        path: Created, or emptied if it exists.
        file_format: Container, codec and options.
        size_wh: Width and height of the video.
        rate: Frames per second of the source; None for a live source.
        start_aux_tracks: Adds audio, subtitles and tags. Default: only video.

    Attributes:
        frame_count: Number of frames so far, including those that wait in the encoder.
        began_fragment: Whether the last frame begins a fragment, which can be decoded without the earlier ones.
        safe_count: Number of frames that stay if the process is killed now: those before the current fragment.
    """

    def __init__(
        self,
        path: Path,
        file_format: VideoFormat,
        size_wh: tuple[int, int],
        rate: Fraction | None,
        start_aux_tracks: StartAuxTracks | None = None,
    ) -> None:
        self._format, self._size_wh = file_format, size_wh
        self._clock = PresentationClock(rate, ticks_are_frames=file_format.container == "avi")
        self._last_pts, self._last_ticks = 0, self._clock.ticks_per_frame
        self._has_failed = self.began_fragment = False
        self.frame_count = self.safe_count = self._packet_count = 0
        self._reformatter = VideoReformatter()
        options = _CONTAINER_OPTIONS.get(file_format.container, {}) | _FLUSH_OPTIONS
        self._container = av.open(f"file:{path}", "w", format=file_format.container, options=options)
        self._stream = self._add_stream(is_low_delay=rate is None or rate < _LOW_FRAMES_PER_SECOND)
        self._aux_tracks = None if start_aux_tracks is None else start_aux_tracks(self._container)

    def _add_stream(self, is_low_delay: bool) -> Any:
        codec = self._format.codec
        options = dict(self._format.encoder_options) | (dict(codec.low_delay_options) if is_low_delay else {})
        stream: Any = self._container.add_stream(codec.encoder, rate=self._clock.rate, options=options)
        stream.width, stream.height = self._size_wh
        stream.pix_fmt = codec.pixel_format
        stream.disposition = Disposition.default
        context = stream.codec_context
        context.time_base = self._clock.time_base
        context.colorspace = _BT601_MATRIX
        context.color_range = _LIMITED_RANGE if codec.pixel_format == "yuv420p" else _FULL_RANGE
        context.color_primaries, context.color_trc = _BT709, _BT709
        tag = _CODEC_TAGS.get((codec.encoder, self._format.container))
        if tag is not None:
            context.codec_tag = tag
        with _without_real_time_priority():
            context.open()
        return stream

    def add(self, image: np.ndarray, time_seconds: float, duration_seconds: float | None = None) -> None:
        """Encodes one frame.

        Args:
            image: (height, width, 3) uint8, BGR. If it is a row or column short, the last one is repeated.
            time_seconds: Media time; only differences between frames count.
            duration_seconds: How long the frame is shown, if it is the last; others end with the next. Default: as
                the rate says.
        """
        frame = self._video_frame(self._padded(image))
        frame.pts, self.began_fragment = self._clock.next_pts(time_seconds)
        frame.time_base = self._clock.time_base
        frame.pict_type = PictureType.I if self.began_fragment else PictureType.NONE
        self._last_pts, self._last_ticks = frame.pts, self._clock.duration_ticks(duration_seconds)
        self._mux(self._stream.encode(frame))
        self.frame_count += 1

    @property
    def clock_state(self) -> ClockState:
        """The clock's state after the last frame."""
        return self._clock.state

    def resume_from(self, packets: Iterable[Packet], clock_state: ClockState) -> None:
        """Takes over the encoded frames of an earlier run; call it before ``add``.

        Args:
            packets: From an encoder with the same settings, up to a keyframe.
            clock_state: The clock's state after the last of them.
        """
        for packet in packets:
            self._put(packet)
            self.frame_count += 1
        self._clock.restore(clock_state)
        self._last_pts = clock_state.last_pts

    @property
    def end_seconds(self) -> float:
        """End of the last encoded frame, counted from the first frame."""
        return float((self._last_pts + self._last_ticks) * self._clock.time_base)

    def close(self, is_complete: bool = False) -> None:
        """Writes the frames that wait in the encoder, unless writing has failed before, and closes the file.

        Args:
            is_complete: Whether all frames came; if so, audio that is longer than the video is written to its end.
        """
        try:
            if not self._has_failed:
                self._mux(self._stream.encode(None))
                self._end_aux_tracks(is_complete)
        finally:
            self._container.close()

    def _end_aux_tracks(self, is_complete: bool) -> None:
        if self._aux_tracks is None:
            return
        with self._noting_failure():
            if is_complete:
                self._aux_tracks.finish(self.end_seconds)
            else:
                self._aux_tracks.write_until(self.end_seconds)

    def _padded(self, image: np.ndarray) -> np.ndarray:
        bottom, right = self._size_wh[1] - image.shape[0], self._size_wh[0] - image.shape[1]
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE) if bottom or right else image

    def _video_frame(self, image: np.ndarray) -> VideoFrame:
        """Returns the image in the encoder's pixel format."""
        if self._format.codec.pixel_format == "yuv420p":
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
            if self._aux_tracks is not None and packet.dts is not None:
                self._aux_tracks.write_until(float(packet.dts * packet.time_base))
            self._container.mux(packet)
        if is_keyframe:
            self.safe_count = self._packet_count
        self._packet_count += 1

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError):
            # Another packet for a file without a header would crash the process (PyAV 18).
            self._has_failed = True
            raise


@contextmanager
def _without_real_time_priority() -> Iterator[None]:
    """Takes away the real-time priority that SVT-AV1, run by root, gives to its threads and to the calling one.

    With it, the encoder would stop everything else on the machine, and so would all programs that are started later.
    """
    before = _scheduling_policies()
    yield
    for thread, policy in _scheduling_policies().items():
        if policy != before.get(thread, os.SCHED_OTHER):
            with suppress(OSError):  # The thread has ended.
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _scheduling_policies() -> dict[int, int]:
    """Returns how each thread of this process is scheduled; nothing where the system does not tell."""
    tasks = Path("/proc/self/task")
    policies = {}
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with suppress(OSError):
            policies[int(task.name)] = os.sched_getscheduler(int(task.name))
    return policies


def h264_encoder_name() -> str | None:
    """Returns ffmpeg's name of the default encoder; None if PyAV was built without it."""
    name = CODECS["h264"].encoder
    return name if name in av.codecs_available else None
