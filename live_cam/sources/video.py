"""Video files and streams: every frame in order, at its own time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.sources.address import display_name
from live_cam.sources.aux_tracks import AuxTracks
from live_cam.sources.closable import ClosableSource
from live_cam.sources.color import FrameConverter, square_size_wh
from live_cam.sources.damage import BrokenStreamError
from live_cam.sources.decoder import VideoDecoder
from live_cam.sources.hdr import HLG, PQ, needs_mapping

# A deinterlacer, and frames that depend on earlier ones, are in step after a second.
_LEAD_IN_SECONDS = 1.0


class NoFrameLeftError(SourceError):
    """A video has no frame in the requested range.

    Attributes:
        has_more: Whether frames follow after the range.
    """

    def __init__(self, message: str, has_more: bool) -> None:
        super().__init__(message)
        self.has_more = has_more


@dataclass(frozen=True)
class ResumePoint:
    """The frame at which an interrupted job is resumed.

    Attributes:
        index: Number of the frame since the job's first one.
        time_seconds: Its media time.
    """

    index: int
    time_seconds: float


class VideoSource(ClosableSource):
    """A video file, a recording at a URL, or a live stream (a URL without a known duration).

    Args:
        path_or_url: A path, or an ``http(s)://`` or ``rtsp://`` URL.
        start_seconds: First media time that is read. Default: the beginning. Ignored for a live stream.
        end_seconds: Media time at which reading ends. Default: the end. Ignored for a live stream.
        resume_at: First frame that is read, if an earlier run read those before it.
        wants: Called with the media time of each frame; those for which it returns False are counted and left out.
        decoder_threads: See ``VideoDecoder``.
        on_decoded: Called with the media time of each frame of a file, also of those before the first one that is read.

    Attributes:
        has_more: Whether frames follow after ``end_seconds``; known at the end.
        goes_back: Whether frames were left out because times went back to before the first one, as where recordings
            were joined; known at the end.

    Raises:
        SourceError: It cannot be opened, has no video, or has no frame in this range that can be decoded.
        SettingError: ``start_seconds`` is below 0, or ``end_seconds`` is not above it.
    """

    is_sole_owner = True

    def __init__(
        self,
        path_or_url: str | Path,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        resume_at: ResumePoint | None = None,
        wants: Callable[[float], bool] | None = None,
        decoder_threads: int | None = None,
        on_decoded: Callable[[float], None] = lambda time_seconds: None,
    ) -> None:
        super().__init__()
        _check_range(start_seconds, end_seconds)
        self.has_more = self.goes_back = False
        self._wants, self._on_decoded = wants, on_decoded
        self.name = display_name(path_or_url)
        self._path_or_url = path_or_url
        self._start_seconds, self._end_seconds = start_seconds or 0.0, end_seconds
        self._seek_seconds = self._start_seconds
        if resume_at is not None:
            self._seek_seconds = max(0.0, resume_at.time_seconds - _LEAD_IN_SECONDS)
        first = resume_at or ResumePoint(0, self._start_seconds)
        self._index, self._begin_seconds = first.index, first.time_seconds
        self._last_seconds = self._begin_seconds
        with ExitStack() as on_failure:
            self._decoder = on_failure.enter_context(VideoDecoder(path_or_url, decoder_threads))
            self.is_live = self._decoder.is_live
            self.rate = None if self.is_live else self._decoder.rate
            self.duration_seconds, self.frame_count_estimate = _extent(self._decoder, self._start_seconds, end_seconds)
            self._converter = FrameConverter(self._decoder.first.frame, self._decoder.pixel_aspect)
            self.size_wh = self._converter.size_wh
            self.notices = tuple(_conversions(self.name, self._decoder, self.size_wh))
            # The first frame is decoded now, so that a source that cannot give one fails when it is opened.
            frames = self._read_frames()
            self._frames = itertools.chain([self._first_of(frames)], frames)
            on_failure.pop_all()

    def aux_tracks(self, ends_with_frames: bool) -> AuxTracks | None:
        """Opens the video's sound, subtitles, chapters and tags for copying; None for a live stream.

        Args:
            ends_with_frames: Whether sound behind the last frame is cut off; with ``end_seconds`` it always is.

        Raises:
            SourceError: The file cannot be opened again.
        """
        if self.is_live:
            return None
        return AuxTracks(
            self._path_or_url,
            self._decoder.zero_seconds,
            self._start_seconds,
            self._end_seconds,
            ends_with_frames or self._end_seconds is not None,
        )

    def _next(self) -> Frame | None:
        return next(self._frames, None)

    def _free(self) -> None:
        self._decoder.close()

    def _first_of(self, frames: Iterator[Frame]) -> Frame:
        first = next(frames, None)
        if first is None:
            end = f"to {self._end_seconds:g} s" if self.has_more else "on"
            raise NoFrameLeftError(
                f"{self.name} has no frame from {self._begin_seconds:g} s {end}; choose an earlier start", self.has_more
            )
        return first

    def _read_frames(self) -> Iterator[Frame]:
        try:
            yield from self._live_frames() if self.is_live else self._recorded_frames()
        except BrokenStreamError as error:
            raise self._broken(str(error)) from None

    def _live_frames(self) -> Iterator[Frame]:
        for frame, _, _ in self._decoder.frames_from(0.0):
            time_seconds = time.monotonic()
            if not self._converter.is_made_for(frame):
                self._converter = FrameConverter(frame, self._decoder.pixel_aspect)
            yield Frame(self._converter.image_bgr(frame), self._index, time_seconds)
            self._index += 1

    def _recorded_frames(self) -> Iterator[Frame]:
        has_begun = False
        for frame, pts, duration in self._decoder.frames_from(self._seek_seconds):
            time_seconds = self._decoder.media_seconds(pts)
            self._on_decoded(time_seconds)
            if self._end_seconds is not None and time_seconds >= self._end_seconds:
                self.has_more = True
                return
            if time_seconds < self._begin_seconds:
                self.goes_back = has_begun
                continue
            has_begun = True
            self._last_seconds = time_seconds
            if self._wants is None or self._wants(time_seconds):
                duration_seconds = float(duration * self._decoder.time_base) if duration else None
                yield Frame(self._converter.image_bgr(frame), self._index, time_seconds, duration_seconds)
            self._index += 1

    def _broken(self, reason: str) -> SourceError:
        if self.is_live:
            return SourceError(f"{self.name}: lost after frame {self._index}: {reason}")
        problem = "damaged"
        if self._decoder.file_has_changed():
            problem, reason = "replaced or changed", "the file now has other content"
        return SourceError(f"{self.name}: {problem} after frame {self._index} ({self._last_seconds:.2f} s): {reason}")


def _check_range(start_seconds: float | None, end_seconds: float | None) -> None:
    if start_seconds is not None and not 0 <= start_seconds < float("inf"):
        raise SettingError(f"the start must be 0 s or later, not {start_seconds:g}")
    if end_seconds is not None and not end_seconds > (start_seconds or 0):
        raise SettingError(f"the end, {end_seconds:g} s, must be later than the start, {start_seconds or 0:g} s")


def _extent(decoder: VideoDecoder, start_seconds: float, end_seconds: float | None) -> tuple[float | None, int | None]:
    """Returns duration in seconds and frame count of a part of a video; (None, None) if its duration is unknown."""
    whole_seconds = decoder.duration_seconds
    if whole_seconds is None:
        return None, None
    end_seconds = whole_seconds if end_seconds is None else min(end_seconds, whole_seconds)
    seconds = max(0.0, end_seconds - start_seconds)
    is_whole = start_seconds == 0 and end_seconds == whole_seconds
    counted = decoder.frame_count if is_whole else 0
    return seconds, counted or max(1, round(seconds * decoder.rate))


def _conversions(name: str, decoder: VideoDecoder, size_wh: tuple[int, int]) -> Iterator[str]:
    """Yields a line for each conversion of all frames."""
    first, aspect = decoder.first.frame, decoder.pixel_aspect
    if aspect is not None and square_size_wh(first.width, first.height, aspect) != (first.width, first.height):
        ratio = f"{aspect.numerator}:{aspect.denominator}"
        yield f"{name} has {ratio} pixels: scaled to square pixels, {size_wh[0]}x{size_wh[1]}"
    if needs_mapping(first.color_trc, first.color_primaries):
        kind = {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(first.color_trc, "wide-gamut (BT.2020)")
        yield f"{name} is {kind}: converted to BT.709"
