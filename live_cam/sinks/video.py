"""Video files in many formats, all of which can be played from the first seconds of the run on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from live_cam.errors import SinkError
from live_cam.frame import Result
from live_cam.sinks.clock import ClockState
from live_cam.sinks.codecs import CODECS, video_format
from live_cam.sinks.companions import Companions, TrackPlan, plan_tracks
from live_cam.sinks.continuing import first_packets, packet_count
from live_cam.sinks.encoder import VideoFile
from live_cam.sinks.fast_start import copy_for_fast_start
from live_cam.sinks.gif import MOST_FRAMES_PER_SECOND, GifFile
from live_cam.sinks.partial import PartialFile, cannot_write, earlier_path, is_empty, partial_path, put_in_place

if TYPE_CHECKING:
    from av.container import OutputContainer

    from live_cam.sources.tracks import SideTracks


class VideoSink(PartialFile):
    """Writes the drawn frames, each at its own time, and what the source has beside its pictures.

    Args:
        path: Ends in one of ``CONTAINERS``.
        size_wh: Width and height of the frames that will come; a live source's may change, and are then fitted in.
        rate: Frames per second of the source, kept exactly; None for a live source, where the times alone count.
        overwrite: Whether an existing file may be replaced.
        codec: One of ``CODECS``; None for the container's usual one.
        quality: 0 to 100; None for the usual one.
        tracks: Sound, subtitles, chapters and tags of the source; closed with this sink.
        with_sound: Whether its sound is wanted.

    Attributes:
        written_size_wh: Of the video: 4:2:0 colour holds even sides only, so an odd one grows by a copy of its last
            line.
        padded: Whether one does.
        frame_count: Frames written so far.
        lines: What the user should know of the output before it is made.

    Raises:
        SinkError: The ending is unknown or the file cannot be made; nothing is left behind.
        SettingError: The container cannot hold the codec.
    """

    def __init__(
        self,
        path: str | Path,
        size_wh: tuple[int, int],
        rate: Fraction | None,
        overwrite: bool = False,
        codec: str | None = None,
        quality: int | None = None,
        tracks: SideTracks | None = None,
        with_sound: bool = True,
    ) -> None:
        self._form = video_format(Path(path), codec, quality)
        super().__init__(path, overwrite)
        self._size_wh, self._rate = size_wh, rate
        is_even_only = self._form.codec is not None
        self.written_size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2) if is_even_only else size_wh
        self.padded = self.written_size_wh != size_wh
        self.frame_count = 0
        self._file: VideoFile | GifFile | None = None
        self._has_opened = False
        self._earlier_count = 0
        self._canvas: np.ndarray | None = None
        self._first_seconds = 0.0
        self._tracks = tracks
        self._plan = TrackPlan((), ())
        if tracks is not None:
            self._plan = plan_tracks(tracks.streams, self._form.container, with_sound)
        self.lines = tuple(self._lines())

    def write(self, result: Result) -> None:
        """Encodes the drawn frame.

        Raises:
            SinkError: It has another size than was promised, or the disk takes no more.
        """
        image = result.drawn.image
        size_wh = (image.shape[1], image.shape[0])
        if size_wh != self._size_wh and self._rate is None:
            image = self._fitted(image)
        elif size_wh != self._size_wh:
            raise SinkError(f"expected {_text(self._size_wh)} frames, got {_text(size_wh)}: {self.path}")
        with self._telling_what_stays():
            if self._file is None:
                self._has_opened = True
                self._file = self._open_file(result.frame.time_seconds)
            self._file.add(image, result.frame.time_seconds, result.frame.duration_seconds)
        self.frame_count += 1
        self._forget_earlier()

    def go_on_from(self, frame_count: int, clock_state: ClockState) -> None:
        """Takes over the first frames of what an earlier run left under the partial name; call it before ``write``.

        Args:
            frame_count: From ``safe_count``; ``saved_frame_count`` says whether there are so many.
            clock_state: As it was behind them.

        Raises:
            SinkError: They cannot be copied; what there was stays.
        """
        earlier = earlier_path(self.path)
        with self._telling_what_stays():
            if packet_count(self.partial_path) >= frame_count:
                self.partial_path.replace(earlier)
            self._has_opened = True
            self._file = file = self._open_file(clock_state.first_seconds or 0.0)
            if isinstance(file, VideoFile):
                file.go_on_from(first_packets(earlier, frame_count), clock_state)
        self.frame_count = self._earlier_count = frame_count

    def _forget_earlier(self, is_whole: bool = False) -> None:
        """Once the new file holds what the earlier one did, also if the process is killed."""
        if self._earlier_count and (is_whole or self.safe_count > self._earlier_count):
            earlier_path(self.path).unlink(missing_ok=True)
            self._earlier_count = 0

    @property
    def began_piece(self) -> bool:
        """Whether the last frame begins a piece that can be played for itself."""
        return isinstance(self._file, VideoFile) and self._file.began_piece

    @property
    def safe_count(self) -> int:
        """As many frames stay if the process is killed now."""
        return self._file.safe_count if isinstance(self._file, VideoFile) else 0

    @property
    def clock_state(self) -> ClockState:
        """Where the next frame comes."""
        return self._file.clock_state if isinstance(self._file, VideoFile) else ClockState()

    def _open_file(self, first_seconds: float) -> VideoFile | GifFile:
        self._first_seconds = first_seconds
        if self._form.codec is None:
            return GifFile(self.partial_path, self.written_size_wh)
        return VideoFile(self.partial_path, self._form, self.written_size_wh, self._rate, self._growing_companions)

    def _growing_companions(self, container: OutputContainer) -> Companions | None:
        return self._companions(container, is_growing=True)

    def _late_companions(self, container: OutputContainer) -> Companions | None:
        return self._companions(container, is_growing=False)

    def _companions(self, container: OutputContainer, is_growing: bool) -> Companions | None:
        if self._tracks is None:
            return None
        plan = self._plan.part_for(self._form.container, is_growing)
        return Companions(container, self._form.container, self._tracks, plan, self._first_seconds)

    def finish(self) -> None:
        """Completes the file and gives it its name; without a frame there is no file.

        Raises:
            SinkError: That failed; the video stays under its partial name.
        """
        if self._file is None:
            return
        with self._telling_what_stays():
            end_seconds = self._file.end_seconds
            self._end_file(is_whole=True)
            if self._form.has_index_at_end:
                self._make_fast_start(end_seconds)
        put_in_place(self.partial_path, self.path, self._overwrite)
        self._forget_earlier(is_whole=True)

    def close(self) -> None:
        """Ends the file; unless it was finished, it stays under its partial name."""
        # Only after an error that was raised before: then the last second is missing, and there is nothing to add.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._end_file()
        if self._tracks is not None:
            self._tracks.close()
        if self._has_opened and is_empty(self.partial_path):
            self.partial_path.unlink()

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        """A picture of another size, as a camera may send from some moment on, whole and between black bars."""
        if self._canvas is None:
            self._canvas = np.zeros((self._size_wh[1], self._size_wh[0], 3), np.uint8)
        share = min(self._size_wh[0] / image.shape[1], self._size_wh[1] / image.shape[0])
        width, height = (max(1, round(side * share)) for side in (image.shape[1], image.shape[0]))
        left, top = (self._size_wh[0] - width) // 2, (self._size_wh[1] - height) // 2
        self._canvas[:] = 0
        interpolation = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
        self._canvas[top : top + height, left : left + width] = cv2.resize(
            image, (width, height), interpolation=interpolation
        )
        return self._canvas

    def _end_file(self, is_whole: bool = False) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close(is_whole)

    def _make_fast_start(self, end_seconds: float) -> None:
        whole = self.path.with_name(f"{self.path.stem}.finishing{self.path.suffix}")
        try:
            copy_for_fast_start(self.partial_path, whole, self._form.container, end_seconds, self._late_companions)
            whole.replace(self.partial_path)
        finally:
            whole.unlink(missing_ok=True)

    def _lines(self) -> Iterator[str]:
        if self.padded and self._form.codec is not None:
            size, title = _text(self.written_size_wh), self._form.codec.title
            yield f"{title} needs even sides: {self.path.name} is {size}, the last row or column repeated"
        if self._form.container == "gif" and (self._rate is None or self._rate > MOST_FRAMES_PER_SECOND):
            yield f"{self.path.name} gets {MOST_FRAMES_PER_SECOND} frames a second at most, as a GIF should"
        yield from self._plan.lines

    @contextlib.contextmanager
    def _telling_what_stays(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise cannot_write(self, error) from None


def saved_frame_count(path: Path) -> int:
    """How many frames of a video of that name an earlier run left."""
    return max(packet_count(one) for one in (partial_path(path), earlier_path(path)))


def h264_encoder_name() -> str | None:
    """The encoder that videos are written with; None where PyAV was built without it."""
    name = CODECS["h264"].encoder
    return name if name in av.codecs_available else None


def _text(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"
