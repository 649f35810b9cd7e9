"""Sources that change another source's frames: repeated, paced, checked against expected ones, or resized."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from live_cam.errors import SourceError
from live_cam.sources.protocol import Outage, Source

if TYPE_CHECKING:
    from live_cam.frame import Frame
    from live_cam.sources.aux_tracks import AuxTracks

_FALLBACK_RATE = Fraction(25)
_TOLERANCE_SECONDS = 5e-4
_LATE_SECONDS = 0.1


class WrappedSource(Source):
    """Base of the wrappers: what a wrapper does not override comes from the source that it wraps.

    Args:
        source: Open; belongs to the wrapper from now on.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.size_wh, self.rate = source.name, source.size_wh, source.rate
        self.frame_count_estimate, self.duration_seconds = source.frame_count_estimate, source.duration_seconds
        self.is_live, self.is_still, self.notices = source.is_live, source.is_still, source.notices
        self.is_sole_owner = source.is_sole_owner

    # These two change while the source is read. A protocol cannot tell mypy that nobody assigns to an attribute.
    @property
    def reconnects(self) -> int:  # type: ignore[override]
        """Number of times the wrapped source gave frames again after an outage."""
        return self._source.reconnects

    @property
    def outage(self) -> Outage | None:  # type: ignore[override]
        """Why the wrapped source gives no frames now; None while it does."""
        return self._source.outage

    def read(self) -> Frame | None:
        """Returns the wrapped source's next frame; None at the end."""
        return self._source.read()

    def close(self) -> None:
        """Closes the wrapped source."""
        self._source.close()

    def aux_tracks(self, ends_with_frames: bool) -> AuxTracks | None:
        """Opens the wrapped source's other tracks; None if it can have none."""
        return self._source.aux_tracks(ends_with_frames)


class LoopedSource(WrappedSource):
    """Plays a recording endlessly; index and time continue to grow over the repetitions.

    Args:
        first: The recording, open.
        open_again: Opens it from its beginning.
    """

    def __init__(self, first: Source, open_again: Callable[[], Source]) -> None:
        super().__init__(first)
        self.frame_count_estimate, self.duration_seconds = None, None
        self._open_again = open_again
        self._frame_count = 0
        self._offset_seconds = 0.0
        self._next_seconds = 0.0
        self._is_closed = False

    def read(self) -> Frame | None:
        """Returns the next frame, after the last one the first one; None only after ``close``.

        Raises:
            SourceError: The recording is damaged, or cannot be opened again.
        """
        frame = self._source.read()
        if frame is None and not self._is_closed:
            frame = self._first_again()
        if frame is None:
            return None
        frame = replace(frame, index=self._frame_count, time_seconds=frame.time_seconds + self._offset_seconds)
        self._frame_count += 1
        self._next_seconds = frame.time_seconds + float(1 / (self.rate or _FALLBACK_RATE))
        return frame

    def close(self) -> None:
        """Ends the source."""
        self._is_closed = True
        super().close()

    def aux_tracks(self, ends_with_frames: bool) -> AuxTracks | None:
        """Returns None: sound is not repeated."""
        return None

    def _first_again(self) -> Frame | None:
        self._source.close()
        self._source = self._open_again()
        if self._is_closed:  # by another thread, while it was being opened
            self._source.close()
            return None
        frame = self._source.read()
        if frame is not None:
            self._offset_seconds = self._next_seconds - frame.time_seconds
        return frame


class PacedSource(WrappedSource):
    """A recording that is treated as live: its frames come at its own speed, with the times at which they come.

    Args:
        recording: Open.
    """

    def __init__(self, recording: Source) -> None:
        super().__init__(recording)
        self.is_live, self.rate, self.frame_count_estimate, self.duration_seconds = True, None, None, None
        # Media time minus the monotonic clock's.
        self._offset_seconds: float | None = None
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        """Returns the next frame when it is due; None at the end."""
        frame = self._source.read()
        if frame is None:
            return None
        early_seconds = 0.0
        if self._offset_seconds is not None:
            early_seconds = frame.time_seconds - self._offset_seconds - time.monotonic()
        if early_seconds > 0:
            self._closed.wait(early_seconds)
        elif early_seconds < -_LATE_SECONDS or self._offset_seconds is None:
            # From here on at normal speed: catching up would look like fast forward.
            self._offset_seconds = frame.time_seconds - time.monotonic()
        return replace(frame, time_seconds=time.monotonic(), duration_seconds=None)

    def close(self) -> None:
        """Ends the source."""
        self._closed.set()
        super().close()


@dataclass(frozen=True, eq=False)
class ExpectedFrames:
    """The frames that a file was made from.

    Attributes:
        made: The file, for messages.
        size_wh: Width and height of the frames in pixels.
        times_seconds: (n,) float64: media time of each frame.
        are_first: Whether further frames may follow; they are left out.
    """

    made: Path
    size_wh: tuple[int, int]
    times_seconds: np.ndarray
    are_first: bool = False


class VerifiedVideoSource(WrappedSource):
    """A video that breaks at the first frame that is not the expected one.

    Args:
        source: The video, open; closed if its frames have another size.
        expected: Its frames.

    Raises:
        SourceError: Its frames have another size.
    """

    def __init__(self, source: Source, expected: ExpectedFrames) -> None:
        super().__init__(source)
        self.frame_count_estimate = len(expected.times_seconds)
        self._expected = expected
        self._read_count = 0
        self._is_closed = False
        if self.size_wh != expected.size_wh:
            self.close()
            width, height = expected.size_wh
            raise self._other_video(f"its frames are {self.size_wh[0]}x{self.size_wh[1]}, not {width}x{height}")

    def read(self) -> Frame | None:
        """Returns the next frame; None at the end.

        Raises:
            SourceError: The frame's time is not the expected one, there are more or fewer frames than expected, or the
                video is damaged.
        """
        times, count = self._expected.times_seconds, self._read_count
        if self._expected.are_first and count == len(times):
            return None
        frame = self._source.read()
        if frame is None:
            if count < len(times) and not self._is_closed:
                raise self._other_video(f"it ends after {count} frames, not {len(times)}")
            return None
        if count == len(times):
            raise self._other_video(f"it has more than {count} frames")
        if abs(frame.time_seconds - times[count]) > _TOLERANCE_SECONDS:
            raise self._other_video(f"its frame {count} is at {frame.time_seconds:.3f} s, not {times[count]:.3f} s")
        self._read_count += 1
        return frame

    def close(self) -> None:
        """Ends the source; a ``read`` in another thread does not take that for too few frames."""
        self._is_closed = True
        super().close()

    def _other_video(self, difference: str) -> SourceError:
        return SourceError(f"{self._expected.made} was not made from {self.name}: {difference}; give the right video")


class ResizedSource(WrappedSource):
    """A source whose images are all scaled to one size, without keeping their aspect ratio.

    Args:
        source: Any source, open.
        size_wh: Width and height in pixels.
    """

    def __init__(self, source: Source, size_wh: tuple[int, int]) -> None:
        super().__init__(source)
        self.size_wh = size_wh

    def read(self) -> Frame | None:
        """Returns the next frame, resized; None at the end."""
        frame = self._source.read()
        if frame is None or (frame.image.shape[1], frame.image.shape[0]) == self.size_wh:
            return frame
        return replace(frame, image=cv2.resize(frame.image, self.size_wh, interpolation=cv2.INTER_LINEAR))
