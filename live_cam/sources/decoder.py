"""Decodes a video stream: each frame once, whole, in order of presentation, with its time, up to where it is broken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from live_cam.closing import Closing
from live_cam.errors import SourceError
from live_cam.sources.address import display_name, fingerprint, path_of
from live_cam.sources.container import (
    READ_TIMEOUT_SECONDS,
    has_presentation_times,
    open_container,
    packets_of,
    seeks_to_keyframes,
    video_stream,
)
from live_cam.sources.damage import BrokenStreamError, DamageDetector
from live_cam.sources.deinterlace import TimedFrame, deinterlaced

# Some formats seek to a keyframe behind the target; a second seek goes to this much earlier.
_SECOND_SEEK_SECONDS = 10.0
_FALLBACK_RATE = Fraction(25)
# Frames of so few pixels are decoded faster than they are explained; more threads only get in each other's way.
_QUICK_PIXELS = 1280 * 720
# Rates that are in use differ by at least 1/1001.
_RATE_ROUNDING = Fraction(1, 50_000)


class VideoDecoder(Closing):
    """Decodes the video stream of a file or URL; deinterlaces it, and notices damage.

    Args:
        path_or_url: A path, or an ``http(s)://`` or ``rtsp://`` URL.
        threads: Default: one for small frames, as many as the decoder likes for others.

    Attributes:
        is_live: Whether it is a URL without a known duration.
        duration_seconds: Of the whole stream; None if unknown.
        frame_count: Of the whole stream as its header says; 0 if unknown.
        rate: Nominal frames per second, exact.
        time_base: Seconds per unit of presentation time.
        pixel_aspect: Width of a pixel over its height; None if unknown.
        first: The stream's first frame.

    Raises:
        SourceError: It cannot be opened, has no video, or has no frame that can be decoded.
    """

    def __init__(self, path_or_url: str | Path, threads: int | None = None) -> None:
        name, self._path = display_name(path_or_url), path_of(path_or_url)
        with ExitStack() as on_failure:
            self._container = on_failure.enter_context(open_container(path_or_url))
            self._stream = video_stream(self._container, name)
            self._fingerprint = _fingerprint_of(self._path)
            self.time_base = self._stream.time_base or 1 / _FALLBACK_RATE
            self.rate = exact_rate(self._stream.guessed_rate or self._stream.average_rate or _FALLBACK_RATE)
            self.duration_seconds = _duration_seconds(self._container, self._stream)
            self.frame_count = self._stream.frames
            self.pixel_aspect = self._stream.sample_aspect_ratio
            self.is_live = self._path is None and self.duration_seconds is None
            _configure_decoder(self._stream, self.is_live, threads)
            self._damage = DamageDetector(self._container, self._stream, self._path)
            self._has_times = has_presentation_times(self._container)
            self._guesses_times = False
            self._awaits_keyframe = False
            self._next_pts = Fraction(0)
            self._frames = deinterlaced(self._decoded())
            self.first = _first_of(self._frames, name)
            on_failure.pop_all()

    @property
    def zero_seconds(self) -> float:
        """The container's time of the first frame; media times count from it."""
        return float(self.first.pts * self.time_base)

    def media_seconds(self, pts: int) -> float:
        """Returns the media time of a presentation time."""
        return float((pts - self.first.pts) * self.time_base)

    def frames_from(self, seconds: float) -> Iterator[TimedFrame]:
        """Returns the frames from a media time on, preceded by those since a keyframe; call it once.

        Raises:
            BrokenStreamError: Also while iterating: at the first frame behind a break, after all frames before it.
        """
        from_beginning = itertools.chain([self.first], self._frames)
        if seconds == 0 or self._guesses_times:
            return from_beginning
        target_pts = self.first.pts + int(seconds / self.time_base)
        earlier_pts = target_pts - int(_SECOND_SEEK_SECONDS / self.time_base)
        awaits_keyframe = not seeks_to_keyframes(self._container)
        positions: list[int | None] = [target_pts, max(self.first.pts, earlier_pts), self.first.pts]
        # Without an index, not even a seek to the first frame reaches its packet; the first byte does.
        for pts in [*positions, None] if awaits_keyframe else positions:
            try:
                self._container.seek(pts or 0, stream=self._stream, unsupported_byte_offset=pts is None)
            except (av.FFmpegError, OSError):
                return from_beginning
            self._damage = DamageDetector(self._container, self._stream, self._path)
            self._awaits_keyframe = awaits_keyframe
            frames = deinterlaced(self._decoded())
            first = next(frames, None)
            if first is not None and first.pts <= target_pts:
                return itertools.chain([first], frames)
        return iter(())

    def file_has_changed(self) -> bool:
        """Returns whether the file was replaced or its content changed. A deleted file stays readable: no change."""
        return self._fingerprint is not None and _fingerprint_of(self._path) not in (None, self._fingerprint)

    def close(self) -> None:
        """Closes the file or connection; no other thread may be decoding."""
        self._container.close()

    def _decoded(self) -> Iterator[TimedFrame]:
        for packet in self._packets():
            for frame in self._decode(packet):
                if self._damage.note_frame(frame.pts if self._has_times else None):
                    raise BrokenStreamError("what follows is unreadable")
                yield TimedFrame(frame, self._pts_of(frame), frame.duration if self._has_times else 0)
        reason = None if self.is_live else self._damage.reason_to_doubt_the_end()
        if reason is not None or self.file_has_changed():
            raise BrokenStreamError(reason or "the file has changed")

    def _packets(self) -> Iterator[Packet | None]:
        """Yields the stream's packets, then None, at which a decoder returns the frames that it still holds.

        Raises:
            BrokenStreamError: The stream was lost or is cut off; after None.
        """
        problem: str | None = None
        doubtful: Packet | None = None
        try:
            for packet in packets_of(self._container):
                if self._awaits_keyframe and not (packet.stream_index == self._stream.index and packet.is_keyframe):
                    continue
                self._awaits_keyframe = False
                self._damage.note_packet(packet)
                if packet.stream_index != self._stream.index or packet.size == 0:
                    continue
                if doubtful is not None:
                    yield doubtful
                doubtful = packet if packet.is_corrupt else None
                if doubtful is None:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            problem = _reason(error)
        if doubtful is not None and problem is None:
            # The last packet is shorter than it should be. Its frame would be half gray, so it is left out.
            problem = "the file is cut off"
        yield None
        if problem is not None:
            raise BrokenStreamError(problem)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self._damage.note_failure()
            return []

    def _pts_of(self, frame: VideoFrame) -> int:
        """Returns the frame's presentation time; if the file has none, the one that follows from the decoding order."""
        pts: Fraction | int | None = frame.pts if self._has_times else frame.dts
        if pts is None:  # a raw stream, or the last frames of an AVI
            self._guesses_times = self._guesses_times or self._next_pts == 0
            pts = self._next_pts
        self._next_pts = pts + 1 / (self.rate * self.time_base)
        return round(pts)


def exact_rate(rate: Fraction) -> Fraction:
    """Returns the rate that was meant: containers with rounded times turn 60000/1001 into 19001/317."""
    for meant in (Fraction(round(rate)), Fraction(1000 * round(rate * Fraction(1001, 1000)), 1001)):
        if meant > 0 and abs(rate / meant - 1) < _RATE_ROUNDING:
            return meant
    return rate


def _duration_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base or None


def _configure_decoder(stream: VideoStream, is_live: bool, threads: int | None) -> None:
    if threads is None and stream.width * stream.height <= _QUICK_PIXELS:
        threads = 1
    if threads is not None:
        stream.codec_context.thread_count = threads
    # Threads that decode ahead would delay a live stream by as many frames.
    stream.thread_type = "SLICE" if is_live else "AUTO"
    if is_live and stream.codec_context.name == "mjpeg":
        # A damaged frame would be explained with a gray half; the next whole frame comes soon.
        stream.codec_context.options = {"err_detect": "explode"}


def _first_of(frames: Iterator[TimedFrame], name: str) -> TimedFrame:
    try:
        first = next(frames, None)
    except BrokenStreamError:
        first = None
    if first is None:
        raise SourceError(f"{name} has no frame that can be decoded")
    return first


def _fingerprint_of(path: Path | None) -> str | None:
    try:
        return fingerprint(path) if path is not None and path.is_file() else None
    except OSError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, av.ExitError):
        return f"no data for {READ_TIMEOUT_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error)
