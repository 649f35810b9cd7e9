"""A source that starts again at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.sources import Source

_NOMINAL_RATE = Fraction(25)


class LoopedSource(ClosedByWith):
    """Plays a recording for ever; indexes and times go on growing, as if it were one long one.

    Args:
        open_again: Opens the recording from its beginning.

    Raises:
        SourceError: From ``open_again``.
    """

    frame_count_estimate: int | None = None
    duration_seconds: float | None = None

    def __init__(self, open_again: Callable[[], Source]) -> None:
        self._open_again = open_again
        self._source = open_again()
        self.name, self.size_wh, self.rate = self._source.name, self._source.size_wh, self._source.rate
        self.is_live, self.is_still = self._source.is_live, self._source.is_still
        self._frame_count = 0
        self._shift_seconds = 0.0
        self._next_seconds = 0.0
        self._is_closed = False

    def read(self) -> Frame | None:
        """The next frame, after the last one the first again; None only after ``close``.

        Raises:
            SourceError: It broke, or could not be opened again.
        """
        frame = self._source.read()
        if frame is None and not self._is_closed:
            frame = self._first_again()
        if frame is None:
            return None
        shifted = dataclasses.replace(
            frame, index=self._frame_count, time_seconds=frame.time_seconds + self._shift_seconds
        )
        self._frame_count += 1
        self._next_seconds = shifted.time_seconds + float(1 / (self.rate or _NOMINAL_RATE))
        return shifted

    def close(self) -> None:
        """Ends it; the current round is closed with it."""
        self._is_closed = True
        self._source.close()

    def _first_again(self) -> Frame | None:
        self._source.close()
        self._source = self._open_again()
        if self._is_closed:  # closed by another thread while it was being opened
            self._source.close()
            return None
        frame = self._source.read()
        if frame is not None:
            self._shift_seconds = self._next_seconds - frame.time_seconds
        return frame
