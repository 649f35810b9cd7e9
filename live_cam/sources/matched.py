"""A recording whose frames must be those that something was made of before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.sources.video import VideoSource

_TOLERANCE_SECONDS = 5e-4


@dataclass(frozen=True, eq=False)
class ExpectedFrames:
    """What is known of them.

    Attributes:
        made: The file that was made of them, for messages.
        size_wh: Their size.
        times_seconds: (n,) float64: the time of each.
        are_first: Whether others may follow, which are left out.
    """

    made: Path
    size_wh: tuple[int, int]
    times_seconds: np.ndarray
    are_first: bool = False


class MatchedVideoSource(VideoSource):
    """A ``VideoSource`` that breaks where its frames are not the expected ones.

    Args:
        path: Of the video.
        expected: Its frames.
        start_seconds: As for ``VideoSource``.
        end_seconds: As for ``VideoSource``.

    Raises:
        SourceError: Its frames have another size, or as ``VideoSource``.
    """

    def __init__(
        self,
        path: str | Path,
        expected: ExpectedFrames,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> None:
        super().__init__(path, start_seconds, end_seconds)
        self._expected = expected
        self._read_count = 0
        self._is_finished = False
        if self.size_wh != expected.size_wh:
            self.close()
            raise self._another(f"its frames are {_text(self.size_wh)}, not {_text(expected.size_wh)}")
        self.frame_count_estimate = len(expected.times_seconds)

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            SourceError: It comes at another time than expected, or there are more or fewer; or the file is damaged.
        """
        times, count = self._expected.times_seconds, self._read_count
        if self._expected.are_first and count == len(times):
            return None
        frame = super().read()
        if frame is None:
            if count < len(times) and not self._is_finished:
                raise self._another(f"it ends after {count} frames, not {len(times)}")
            return None
        if count == len(times):
            raise self._another(f"it has more than {count} frames")
        if abs(frame.time_seconds - times[count]) > _TOLERANCE_SECONDS:
            raise self._another(f"its frame {count} is at {frame.time_seconds:.3f} s, not {times[count]:.3f} s")
        self._read_count += 1
        return frame

    def close(self) -> None:
        """Ends the source; a ``read`` that goes on meanwhile finds no fault in that."""
        self._is_finished = True
        super().close()

    def _another(self, difference: str) -> SourceError:
        return SourceError(f"{self._expected.made} was not made of {self.name}: {difference}; give the right video")


def _text(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"
