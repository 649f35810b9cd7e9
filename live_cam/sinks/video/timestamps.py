"""Converts media times in seconds to the presentation timestamps of a written video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_MIN_TICKS_PER_SECOND = 10_000
_KEYFRAME_INTERVAL_SECONDS = 1
_NOMINAL_LIVE_RATE = Fraction(30)
# Containers such as MKV and FLV round times to 1 ms: a frame that is this close to its place at a constant rate is
# meant to be there.
_TIME_TOLERANCE_SECONDS = 0.0006
# A duration is the difference of two rounded times.
_DURATION_TOLERANCE_SECONDS = 0.002


@dataclass(frozen=True)
class ClockState:
    """The state of a clock between two frames.

    Attributes:
        first_seconds: Media time of the first frame; None before it.
        last_pts: Timestamp of the last frame; -1 before the first.
        next_key_pts: The first frame at or after this timestamp should be a keyframe.
    """

    first_seconds: float | None = None
    last_pts: int = -1
    next_key_pts: int = 0


class PresentationClock:
    """Gives each frame its timestamp: exactly regular at a constant rate, true to 0.1 ms for all other times.

    Args:
        rate: Frames per second of the source; None for a live source.
        ticks_are_frames: Whether a container such as AVI counts whole frames. A frame whose place is taken then gets
            the next one.

    Attributes:
        rate: The nominal frames per second, also for a live source.
        ticks_per_frame: Ticks between two frames at the nominal rate, a whole number.
        time_base: Duration of a tick in seconds.
    """

    def __init__(self, rate: Fraction | None, ticks_are_frames: bool = False) -> None:
        self.rate = rate or _NOMINAL_LIVE_RATE
        self._is_regular = rate is not None
        if ticks_are_frames:
            self.ticks_per_frame, self.time_base = 1, 1 / self.rate
        else:
            factor = -(-_MIN_TICKS_PER_SECOND // self.rate.numerator)
            self.ticks_per_frame = self.rate.denominator * factor
            self.time_base = Fraction(1, self.rate.numerator * factor)
        self.restore(ClockState())

    @property
    def state(self) -> ClockState:
        """The state after the last frame."""
        return ClockState(self._first_seconds, self._last_pts, self._next_key_pts)

    def restore(self, state: ClockState) -> None:
        """Continues from a state."""
        self._first_seconds = state.first_seconds
        self._last_pts, self._next_key_pts = state.last_pts, state.next_key_pts

    def next_pts(self, time_seconds: float) -> tuple[int, bool]:
        """Returns the timestamp of the next frame, in ticks since the first, and whether to make it a keyframe.

        A time that does not increase, as in a damaged file, becomes the next tick.
        """
        if self._first_seconds is None:
            self._first_seconds = time_seconds
        pts = max(self._last_pts + 1, self._ticks(time_seconds - self._first_seconds))
        is_key = pts >= self._next_key_pts
        if is_key:
            self._next_key_pts = pts + round(_KEYFRAME_INTERVAL_SECONDS / self.time_base)
        self._last_pts = pts
        return pts, is_key

    def duration_ticks(self, seconds: float | None) -> int:
        """Returns for how many ticks a frame is shown; None means the nominal duration."""
        if seconds is None or abs(seconds - float(1 / self.rate)) < _DURATION_TOLERANCE_SECONDS:
            return self.ticks_per_frame
        return max(1, round(seconds / self.time_base))

    def _ticks(self, seconds: float) -> int:
        if self._is_regular:
            frame_count = round(seconds * self.rate)
            if abs(float(frame_count / self.rate) - seconds) <= _TIME_TOLERANCE_SECONDS:
                return frame_count * self.ticks_per_frame
        return round(seconds / self.time_base)
