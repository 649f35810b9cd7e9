"""Videos and streams: every frame in order, at its own time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.packet import Packet

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.sources.address import display_name, path_of
from live_cam.sources.color import FrameConverter, square_size_wh
from live_cam.sources.container import (
    READ_TIMEOUT_SECONDS,
    has_presentation_times,
    open_container,
    packets_of,
    video_stream,
)
from live_cam.sources.damage import DamageWatch
from live_cam.sources.deinterlace import TimedFrame, deinterlaced
from live_cam.sources.fingerprint import fingerprint
from live_cam.sources.hdr import HLG, PQ, needs_mapping

# Where a seek lands behind its target, as some formats do, a second try begins this much earlier.
_SECOND_TRY_SECONDS = 10.0
_LEAD_IN_SECONDS = 1.0
_FALLBACK_RATE = Fraction(25)
# Of one another, the rates in use are 1/1001 away.
_RATE_ROUNDING = Fraction(1, 50_000)


@dataclass(frozen=True)
class ResumePoint:
    """The frame with which a run goes on.

    Attributes:
        index: Its count from the first frame that was wanted.
        time_seconds: Its media time.
    """

    index: int
    time_seconds: float


class VideoSource(ClosedByWith):
    """A video file, a recording at an address, or a live stream (an address without a known duration).

    Args:
        path_or_url: A path, or an ``http(s)://`` or ``rtsp://`` address.
        start_seconds: Frames before this media time are left out.
        end_seconds: Frames from this media time on are left out.
        resume_at: The first frame that is wanted, where those before were read by an earlier run.

    Attributes:
        first_pts: Presentation time of the stream's first frame in units of ``time_base``; times count from it.
        time_base: Seconds in one unit of presentation time.
        lines: What the user should know of how the frames were made.

    Raises:
        SourceError: Nothing there, no video, or not one frame that can be decoded.
        SettingError: ``start_seconds`` and ``end_seconds`` leave nothing between them.
    """

    is_still = False

    def __init__(
        self,
        path_or_url: str | Path,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        resume_at: ResumePoint | None = None,
    ) -> None:
        _check_window(start_seconds, end_seconds)
        self.name = display_name(path_or_url)
        self._start_seconds, self._end_seconds = start_seconds or 0.0, end_seconds
        self._in_use, self._is_closed = threading.Lock(), False
        self._index = 0 if resume_at is None else resume_at.index
        self._seek_seconds = self._begin_seconds = self._start_seconds
        if resume_at is not None:
            self._begin_seconds = resume_at.time_seconds
            # What deinterlaces, and pictures that lean on those before, are in step after a second.
            self._seek_seconds = max(0.0, resume_at.time_seconds - _LEAD_IN_SECONDS)
        self._last_seconds = 0.0
        with ExitStack() as on_failure:
            self._container = on_failure.enter_context(open_container(path_or_url))
            self._stream = video_stream(self._container, self.name)
            self._path = path_of(path_or_url)
            self._fingerprint = _fingerprint_of(self._path)
            self._describe()
            self._open_decoder()
            on_failure.pop_all()

    def _describe(self) -> None:
        self.time_base: Fraction = self._stream.time_base or 1 / _FALLBACK_RATE
        seconds = self._stream.duration and float(self._stream.duration * self.time_base)
        seconds = seconds or (self._container.duration or 0) / av.time_base
        self.is_live = self._path is None and not seconds
        self._nominal_rate = exact_rate(self._stream.guessed_rate or self._stream.average_rate or _FALLBACK_RATE)
        self.rate: Fraction | None = None if self.is_live else self._nominal_rate
        self.duration_seconds: float | None = None
        self.frame_count_estimate: int | None = None
        if seconds:
            end_seconds = seconds if self._end_seconds is None else min(self._end_seconds, seconds)
            self.duration_seconds = max(0.0, end_seconds - self._start_seconds)
            is_whole = self._start_seconds == 0 and end_seconds == seconds
            counted = self._stream.frames if is_whole else 0
            self.frame_count_estimate = counted or max(1, round(self.duration_seconds * self._nominal_rate))

    def _open_decoder(self) -> None:
        # Threads that decode ahead would show a live picture late by as many frames.
        self._stream.thread_type = "SLICE" if self.is_live else "AUTO"
        if self.is_live and self._stream.codec_context.name == "mjpeg":
            # Half a picture would be explained with a grey half; the next whole one comes soon.
            self._stream.codec_context.options = {"err_detect": "explode"}
        self._has_times, self._guesses_times = has_presentation_times(self._container), False
        self._next_pts = Fraction(0)
        self._watch = DamageWatch(self._container, self._stream, self._path)
        decoded = deinterlaced(self._decoded())
        first = self._first_of(decoded)
        self.first_pts = first.pts
        self._converter = FrameConverter(first.frame, self._stream.sample_aspect_ratio)
        self.size_wh = self._converter.size_wh
        self.lines = tuple(self._lines_about(first.frame))
        wanted = self._wanted(self._from_start(first, decoded))
        # The first wanted frame is decoded now, so that a source that cannot give one fails when it is opened.
        self._frames = itertools.chain([self._first_wanted(wanted)], wanted)

    @property
    def zero_seconds(self) -> float:
        """The container's time of the first frame, from which the times of frames count."""
        return float(self.first_pts * self.time_base)

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            SourceError: The file is damaged or the stream was lost here; all frames before it have been returned.
        """
        with self._in_use:
            frame = None if self._is_closed else next(self._frames, None)
        if self._is_closed:
            self._release()
        return frame

    def close(self) -> None:
        """Ends the source; a read that waits for the network in another thread ends it when it returns."""
        self._is_closed = True
        self._release()

    def _release(self) -> None:
        # To free a decoder that works in another thread would crash the process.
        if self._in_use.acquire(blocking=False):
            try:
                self._container.close()
            finally:
                self._in_use.release()

    def _lines_about(self, first: VideoFrame) -> Iterator[str]:
        aspect = self._stream.sample_aspect_ratio
        if aspect is not None and square_size_wh(first.width, first.height, aspect) != (first.width, first.height):
            size = f"{self.size_wh[0]}x{self.size_wh[1]}"
            yield f"{self.name} has pixels of {aspect.numerator}:{aspect.denominator}: brought to square ones, {size}"
        if needs_mapping(first.color_trc, first.color_primaries):
            kind = {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(first.color_trc, "wide-gamut (BT.2020)")
            yield f"{self.name} is {kind}: brought to BT.709"

    def _first_of(self, decoded: Iterator[TimedFrame]) -> TimedFrame:
        try:
            first = next(decoded, None)
        except SourceError:
            first = None
        if first is None:
            raise SourceError(f"{self.name} holds no frame that can be decoded")
        return first

    def _first_wanted(self, wanted: Iterator[Frame]) -> Frame:
        first = next(wanted, None)
        if first is None:
            raise SourceError(f"{self.name} has no frame from {self._begin_seconds:g} s on; choose an earlier --start")
        return first

    def _from_start(self, first: TimedFrame, decoded: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
        """Frames from a keyframe at or before the start on, found by seeking where the container can."""
        from_beginning = itertools.chain([first], decoded)
        if self._seek_seconds == 0 or self._guesses_times or self.is_live:
            return from_beginning
        target_pts = self.first_pts + int(self._seek_seconds / self.time_base)
        earlier_pts = target_pts - int(_SECOND_TRY_SECONDS / self.time_base)
        for pts in (target_pts, max(self.first_pts, earlier_pts), self.first_pts):
            try:
                self._container.seek(pts, stream=self._stream)
            except (av.FFmpegError, OSError):
                return from_beginning
            self._watch.restart()
            decoded = deinterlaced(self._decoded())
            landed = next(decoded, None)
            if landed is not None and landed.pts <= target_pts:
                return itertools.chain([landed], decoded)
        return iter(())

    def _wanted(self, decoded: Iterator[TimedFrame]) -> Iterator[Frame]:
        for frame, pts, duration in decoded:
            time_seconds = self._time_seconds(pts)
            if self._end_seconds is not None and time_seconds >= self._end_seconds and not self.is_live:
                return
            if time_seconds < self._begin_seconds and not self.is_live:
                continue
            self._last_seconds = time_seconds
            if self.is_live and not self._converter.fits(frame):
                self._converter = FrameConverter(frame)
            shown_seconds = float(duration * self.time_base) if duration and not self.is_live else None
            yield Frame(self._converter.pixels_bgr(frame), self._index, time_seconds, shown_seconds)
            self._index += 1

    def _time_seconds(self, pts: int) -> float:
        return time.monotonic() if self.is_live else float((pts - self.first_pts) * self.time_base)

    def _decoded(self) -> Iterator[TimedFrame]:
        """All frames from here on, each with its presentation time.

        Raises:
            SourceError: At the first frame behind a break.
        """
        for packet in self._packets():
            for frame in self._decode(packet):
                if self._watch.note_frame(frame.pts if self._has_times else None):
                    raise self._broken("what follows is unreadable")
                yield TimedFrame(frame, self._pts_of(frame), frame.duration if self._has_times else 0)
        if self._lost_because is not None:
            raise self._broken(self._lost_because)
        reason = None if self.is_live else self._watch.reason_to_doubt_the_end()
        if reason is not None or self._has_changed():
            raise self._broken(reason or "")

    def _has_changed(self) -> bool:
        """Whether another file has the name now, or another content; not whether it was deleted: it stays open."""
        return self._fingerprint is not None and _fingerprint_of(self._path) not in (None, self._fingerprint)

    def _pts_of(self, frame: VideoFrame) -> int:
        """The frame's presentation time; if the file has none for it, that of its place in the order of decoding."""
        pts: Fraction | int | None = frame.pts if self._has_times else frame.dts
        if pts is None:  # a raw stream, or the last frames of an AVI
            self._guesses_times = self._guesses_times or self._next_pts == 0
            pts = self._next_pts
        self._next_pts = pts + 1 / (self._nominal_rate * self.time_base)
        return round(pts)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self._watch.note_failure()
            return []

    def _packets(self) -> Iterator[Packet | None]:
        """The stream's packets, and None at the end: the decoder then gives out what it still holds."""
        self._lost_because: str | None = None
        doubtful: Packet | None = None
        try:
            for packet in packets_of(self._container):
                self._watch.note_packet(packet)
                if packet.stream_index != self._stream.index or packet.size == 0:
                    continue
                if doubtful is not None:
                    yield doubtful
                doubtful = packet if packet.is_corrupt else None
                if doubtful is None:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self._lost_because = _reason(error)
        if doubtful is not None and self._lost_because is None:
            # The last packet is shorter than it should be. Its frame would be half grey, so it is left out.
            self._lost_because = "the file is cut off"
        yield None

    def _broken(self, reason: str) -> SourceError:
        if self.is_live:
            return SourceError(f"{self.name}: lost after frame {self._index}: {reason}")
        what = "damaged"
        if self._has_changed():
            what, reason = "replaced or changed", "another file has its name, or another content"
        return SourceError(f"{self.name}: {what} after frame {self._index} ({self._last_seconds:.2f} s): {reason}")


def _fingerprint_of(path: Path | None) -> str | None:
    try:
        return fingerprint(path) if path is not None and path.is_file() else None
    except OSError:
        return None


def exact_rate(rate: Fraction) -> Fraction:
    """The rate that was meant: containers that round times make 19001/317 of 60000/1001."""
    for meant in (Fraction(round(rate)), Fraction(1000 * round(rate * Fraction(1001, 1000)), 1001)):
        if meant > 0 and abs(rate / meant - 1) < _RATE_ROUNDING:
            return meant
    return rate


def _reason(error: Exception) -> str:
    if isinstance(error, av.ExitError):
        return f"nothing came for {READ_TIMEOUT_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error)


def _check_window(start_seconds: float | None, end_seconds: float | None) -> None:
    if start_seconds is not None and not 0 <= start_seconds < float("inf"):
        raise SettingError(f"the start must be 0 s or later, not {start_seconds:g}")
    if end_seconds is not None and not end_seconds > (start_seconds or 0):
        raise SettingError(f"the end, {end_seconds:g} s, must be later than the start, {start_seconds or 0:g} s")
