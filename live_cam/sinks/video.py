"""H.264 video that browsers play, and that can be played from the first seconds of the run on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from live_cam.errors import SinkError
from live_cam.frame import Result
from live_cam.sinks.encoder import ENCODER_NAME, H264File, copy_for_fast_start
from live_cam.sinks.partial import PartialFile, cannot_write, is_empty, put_in_place

VIDEO_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


class VideoSink(PartialFile):
    """Writes the drawn frames, each at its own time, as H.264 (yuv420p).

    Args:
        path: Ends in one of ``VIDEO_FORMATS``.
        size_wh: Width and height of the frames that will come; a live source's may change, and are then fitted in.
        rate: Frames per second of the source, kept exactly; None for a live source, where the times alone count.
        overwrite: Whether an existing file may be replaced.

    Attributes:
        written_size_wh: Of the video: H.264 holds even sides only, so an odd one grows by a copy of its last line.
        padded: Whether one does.
        frame_count: Frames written so far.

    Raises:
        SinkError: The ending is unknown or the file cannot be made; nothing is left behind.
    """

    def __init__(
        self, path: str | Path, size_wh: tuple[int, int], rate: Fraction | None, overwrite: bool = False
    ) -> None:
        self._format = _format_of(Path(path))
        super().__init__(path, overwrite)
        self._size_wh, self._rate = size_wh, rate
        self.written_size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        self.padded = self.written_size_wh != size_wh
        self.frame_count = 0
        self._file: H264File | None = None
        self._has_opened = False
        self._canvas: np.ndarray | None = None

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
                self._file = H264File(self.partial_path, self._format, self.written_size_wh, self._rate)
            self._file.add(image, result.frame.time_seconds)
        self.frame_count += 1

    def finish(self) -> None:
        """Completes the file and gives it its name; without a frame there is no file.

        Raises:
            SinkError: That failed; the video stays under its partial name.
        """
        if self._file is None:
            return
        with self._telling_what_stays():
            self._end_file()
            if self._format != "matroska":
                self._make_fast_start()
        put_in_place(self.partial_path, self.path, self._overwrite)

    def close(self) -> None:
        """Ends the file; unless it was finished, it stays under its partial name."""
        # Only after an error that was raised before: then the last second is missing, and there is nothing to add.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._end_file()
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

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _make_fast_start(self) -> None:
        whole = self.path.with_name(f"{self.path.stem}.finishing{self.path.suffix}")
        try:
            copy_for_fast_start(self.partial_path, whole, self._format)
            whole.replace(self.partial_path)
        finally:
            whole.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling_what_stays(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise cannot_write(self, error) from None


def h264_encoder_name() -> str | None:
    """The encoder that videos are written with; None where PyAV was built without it."""
    return ENCODER_NAME if ENCODER_NAME in av.codecs_available else None


def _format_of(path: Path) -> str:
    container_format = VIDEO_FORMATS.get(path.suffix.lower())
    if container_format is None:
        raise SinkError(f"cannot write a video into {path}; its name must end in {', '.join(VIDEO_FORMATS)}")
    return container_format


def _text(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"
