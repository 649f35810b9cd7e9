"""Writes annotated images as a video that can be played from the first seconds of the job on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from live_cam.frame import Result
from live_cam.render.letterbox import letterbox
from live_cam.sinks.atomic_file import AtomicFile, earlier_path, partial_path
from live_cam.sinks.video.aux_tracks import StartAuxTracks, plan_tracks
from live_cam.sinks.video.codecs import MP4_FORMATS, video_format
from live_cam.sinks.video.encoder import VideoEncoder
from live_cam.sinks.video.gif import MAX_GIF_FRAMES_PER_SECOND, GifEncoder
from live_cam.sinks.video.remux import copy_for_fast_start, first_packets, packet_count
from live_cam.sinks.video.timestamps import ClockState

if TYPE_CHECKING:
    from live_cam.sources.aux_tracks import AuxTracks


class VideoSink(AtomicFile):
    """Writes annotated images as a video, each at its media time, with the source's audio, subtitles and chapters.

    Args:
        path: The final name; its suffix is one of ``CONTAINERS``.
        size_wh: Width and height of the images in pixels; images of another size are letterboxed.
        rate: Frames per second of the source, kept exactly; None for a live source, where only the times count.
        overwrite: Whether an existing file may be replaced.
        codec: One of ``CODECS``. Default: the container's first.
        quality: 0 to 100. Default: 60.
        tracks: The source's audio, subtitles, chapters and tags; closed with this sink.
        audio: Whether the audio is written.

    Attributes:
        written_size_wh: Width and height of the video. Most codecs need even sides: an odd one grows by a copy of its
            last row or column.
        notices: What the user should know about the video, a line each.

    Raises:
        SinkError: The suffix is unknown or the file cannot be created; nothing is left behind.
        SettingError: The codec or quality is unknown, or the container cannot hold the codec.
    """

    needs_image = True

    def __init__(
        self,
        path: str | Path,
        size_wh: tuple[int, int],
        rate: Fraction | None,
        *,
        overwrite: bool = False,
        codec: str | None = None,
        quality: int | None = None,
        tracks: AuxTracks | None = None,
        audio: bool = True,
    ) -> None:
        self._format = video_format(Path(path), codec, quality)
        super().__init__(path, overwrite)
        self._size_wh, self._rate, self._tracks = size_wh, rate, tracks
        self.written_size_wh = size_wh
        if self._format.codec.needs_even_sides:
            self.written_size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        self._plan = None if tracks is None else plan_tracks(tracks, self._format.container, audio)
        self.notices = tuple(self._notices())
        self._canvas: np.ndarray | None = None
        self._encoder: VideoEncoder | GifEncoder | None = None
        self._first_seconds = 0.0
        self._has_opened = False
        self._earlier_count = 0

    def _notices(self) -> Iterator[str]:
        if self.written_size_wh != self._size_wh:
            size, codec = f"{self.written_size_wh[0]}x{self.written_size_wh[1]}", self._format.codec.title
            yield f"{codec} needs even sides: {self.path.name} is {size}, the last row or column is repeated"
        if self._format.container == "gif" and (self._rate is None or self._rate > MAX_GIF_FRAMES_PER_SECOND):
            yield f"{self.path.name} gets at most {MAX_GIF_FRAMES_PER_SECOND} frames per second, because it is a GIF"
        if self._plan is not None:
            yield from self._plan.notices

    def write(self, result: Result) -> None:
        """Encodes the annotated image.

        Raises:
            SinkError: The disk is full; the message names what is kept.
        """
        image = result.image
        if (image.shape[1], image.shape[0]) != self._size_wh:
            self._canvas, _ = letterbox(image, self._size_wh, self._canvas)
            image = self._canvas
        with self._raising_sink_error(av.FFmpegError):
            if self._encoder is None:
                self._encoder = self._open_encoder(result.frame.time_seconds)
            self._encoder.add(image, result.frame.time_seconds, result.frame.duration_seconds)
        self.frame_count = self._encoder.frame_count
        self._remove_earlier()

    def resume_from(self, frame_count: int, clock_state: ClockState) -> None:
        """Takes over the first frames of an earlier run's partial file; call it before ``write``.

        Args:
            frame_count: A ``safe_count`` of that run; ``saved_frame_count`` says whether the file has as many.
            clock_state: The ``clock_state`` after these frames.

        Raises:
            SinkError: They cannot be copied; the earlier file stays.
        """
        earlier = earlier_path(self.path)
        with self._raising_sink_error(av.FFmpegError):
            if packet_count(self.partial_path) >= frame_count:
                self.partial_path.replace(earlier)
            self._encoder = encoder = self._open_video_encoder(clock_state.first_seconds or 0.0)
            encoder.resume_from(first_packets(earlier, frame_count), clock_state)
        self.frame_count = self._earlier_count = encoder.frame_count

    def _remove_earlier(self, is_complete: bool = False) -> None:
        """Removes the earlier file once the new one holds its frames, also if the process is killed."""
        if self._earlier_count and (is_complete or self.safe_count > self._earlier_count):
            earlier_path(self.path).unlink(missing_ok=True)
            self._earlier_count = 0

    @property
    def began_fragment(self) -> bool:
        """Whether the last frame begins a fragment, from which a later run can resume."""
        return self._encoder is not None and self._encoder.began_fragment

    @property
    def safe_count(self) -> int:
        """Number of frames that stay if the process is killed now."""
        return 0 if self._encoder is None else self._encoder.safe_count

    @property
    def clock_state(self) -> ClockState:
        """The state of the presentation clock after the last frame."""
        return ClockState() if self._encoder is None else self._encoder.clock_state

    def _open_encoder(self, first_seconds: float) -> VideoEncoder | GifEncoder:
        if self._format.container == "gif":
            self._has_opened = True
            return GifEncoder(self.partial_path, self.written_size_wh)
        return self._open_video_encoder(first_seconds)

    def _open_video_encoder(self, first_seconds: float) -> VideoEncoder:
        self._has_opened, self._first_seconds = True, first_seconds
        start_aux_tracks = self._aux_tracks_starter(is_growing=True)
        return VideoEncoder(self.partial_path, self._format, self.written_size_wh, self._rate, start_aux_tracks)

    def _aux_tracks_starter(self, is_growing: bool) -> StartAuxTracks | None:
        if self._plan is None:
            return None
        return partial(self._plan.start, first_seconds=self._first_seconds, is_growing=is_growing)

    def finish(self) -> None:
        """Completes the video and renames it to its final name; without a frame there is no file.

        Raises:
            SinkError: That failed; the video stays under its partial name.
        """
        if self._encoder is None:
            return
        with self._raising_sink_error(av.FFmpegError):
            end_seconds = self._encoder.end_seconds
            self._end_encoder(is_complete=True)
            if self._format.container in MP4_FORMATS:
                starter = self._aux_tracks_starter(is_growing=False)
                with self._replacing_partial() as path:
                    copy_for_fast_start(self.partial_path, path, self._format.container, end_seconds, starter)
        self._remove_earlier(is_complete=True)
        self._put_in_place()

    def close(self) -> None:
        """Closes the video; without ``finish`` it stays under its partial name."""
        # This fails only after an error that was raised before; then the last second is missing.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._end_encoder()
        if self._tracks is not None:
            self._tracks.close()
        if self._has_opened:
            self._remove_if_empty()
        super().close()

    def _end_encoder(self, is_complete: bool = False) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.close(is_complete)


def saved_frame_count(path: Path) -> int:
    """Returns how many frames of a video an earlier run left under its partial names."""
    return max(packet_count(unfinished) for unfinished in (partial_path(path), earlier_path(path)))
