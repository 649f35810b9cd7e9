"""Seconds to whole ticks: the presentation times in a written video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_TICKS_PER_SECOND = 10_000
_KEYFRAME_EVERY_SECONDS = 1
_NOMINAL_LIVE_RATE = Fraction(30)
# Containers round times to 1 ms (MKV, FLV): within that, a frame belongs where the constant rate has it.
_ROUNDED_BY_SECONDS = 0.0006
# The difference of two such times, and what programs make of it.
_DURATION_ROUNDED_BY_SECONDS = 0.002


@dataclass(frozen=True)
class ClockState:
    """Where a clock stands between two frames.

    Attributes:
        first_seconds: The first frame's time; None before it.
        last_pts: The last frame's tick; -1 before the first.
        next_key_pts: From this tick on, the next frame should be a keyframe.
    """

    first_seconds: float | None = None
    last_pts: int = -1
    next_key_pts: int = 0


class PresentationClock:
    """Gives each frame its tick: exactly regular for a constant rate, true to 0.1 ms for any other times.

    Args:
        rate: Frames per second of the source; None for a live source.
        keeps_grid: Whether the container knows whole frames only, as AVI does: then a tick is a frame, and a frame
            whose place is taken gets the next one.

    Attributes:
        rate: The nominal one, also where the source has none.
        ticks_per_frame: At the nominal rate.
        time_base: Seconds in a tick; a frame of ``rate`` is a whole number of them.
    """

    def __init__(self, rate: Fraction | None, keeps_grid: bool = False) -> None:
        self.rate = rate or _NOMINAL_LIVE_RATE
        self._is_regular = rate is not None
        if keeps_grid:
            self.ticks_per_frame, self.time_base = 1, 1 / self.rate
        else:
            self._divide_seconds()
        self.restore(ClockState())

    @property
    def state(self) -> ClockState:
        """Where it stands."""
        return ClockState(self._first_seconds, self._last_pts, self._next_key_pts)

    def restore(self, state: ClockState) -> None:
        """Goes on from there."""
        self._first_seconds = state.first_seconds
        self._last_pts, self._next_key_pts = state.last_pts, state.next_key_pts

    def _divide_seconds(self) -> None:
        factor = -(-_TICKS_PER_SECOND // self.rate.numerator)
        self.ticks_per_frame = self.rate.denominator * factor
        self.time_base = Fraction(1, self.rate.numerator * factor)

    def next_pts(self, time_seconds: float) -> tuple[int, bool]:
        """The tick of the next frame, counted from the first frame, and whether it should be a keyframe.

        Times that stand still or run back, as damaged files have them, become the next tick.
        """
        if self._first_seconds is None:
            self._first_seconds = time_seconds
        pts = max(self._last_pts + 1, self._ticks(time_seconds - self._first_seconds))
        is_key = pts >= self._next_key_pts
        if is_key:
            self._next_key_pts = pts + round(_KEYFRAME_EVERY_SECONDS / self.time_base)
        self._last_pts = pts
        return pts, is_key

    def duration_ticks(self, seconds: float | None) -> int:
        """How many ticks a frame is shown; at the nominal rate where nothing tells."""
        if seconds is None or abs(seconds - float(1 / self.rate)) < _DURATION_ROUNDED_BY_SECONDS:
            return self.ticks_per_frame
        return max(1, round(seconds / self.time_base))

    def _ticks(self, seconds: float) -> int:
        if self._is_regular:
            frame_count = round(seconds * self.rate)
            if abs(float(frame_count / self.rate) - seconds) <= _ROUNDED_BY_SECONDS:
                return frame_count * self.ticks_per_frame
        return round(seconds / self.time_base)
