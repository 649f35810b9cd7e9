"""Plays a recording in a viewer: jumps, single frames, the end, and playing it again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from live_cam.render.seek_bar import Position

if TYPE_CHECKING:
    from live_cam.frame import Result
    from live_cam.sources.protocol import Source

JUMP_SECONDS = 5.0
_FALLBACK_RATE = 25.0
_REMEMBERED_FRAMES = 256
# Sums of times are off by less than this; a frame of exactly the wanted time must not be missed.
_ROUNDING_SECONDS = 1e-3


class Playback:
    """Where a recording is played. For one thread; it does nothing if the source cannot seek.

    Args:
        source: The recording.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        # Number of the first frame that is wanted after a jump, and where it leads; None once that frame was shown.
        self._wanted_index: int | None = None
        self._target_seconds = 0.0
        # Times of the frames that were shown since the last jump, without those after it if it went one frame back.
        self._shown_seconds: deque[float] = deque(maxlen=_REMEMBERED_FRAMES)

    @property
    def is_jumping(self) -> bool:
        """Whether the frame that was asked for has not come yet."""
        return self._wanted_index is not None

    def accepts(self, result: Result) -> bool:
        """Returns whether a result is to be shown: not if it was read before the last jump."""
        if self._wanted_index is not None and result.frame.index < self._wanted_index:
            return False
        self._wanted_index = None
        self._shown_seconds.append(result.frame.time_seconds)
        return True

    def is_at_end(self, shown: Result) -> bool:
        """Returns whether this is the recording's last frame, and no jump is under way."""
        return not self.is_jumping and shown.frame.index == self._source.last_index

    def position(self, shown: Result) -> Position | None:
        """Returns the position for the seek bar; None if the source cannot seek."""
        if not self._source.can_seek or not self._source.duration_seconds:
            return None
        seconds = self._target_seconds if self.is_jumping else shown.frame.time_seconds
        return Position(seconds - self._source.begin_seconds, self._source.duration_seconds, self.is_at_end(shown))

    def jump_to(self, share: float) -> None:
        """Jumps to a place, as a share of the duration, in [0, 1]."""
        self._jump(self._source.begin_seconds + share * (self._source.duration_seconds or 0.0))

    def jump_by(self, shown: Result, seconds: float) -> None:
        """Jumps that far forward, or backward if it is below 0, from what is shown or was asked for last."""
        self._jump((self._target_seconds if self.is_jumping else shown.frame.time_seconds) + seconds)

    def step(self, shown: Result, step: int) -> None:
        """Goes to the next frame (1) or the one before (-1)."""
        if not self._source.can_seek:
            return
        if step > 0:
            if not self.is_at_end(shown) and not self.is_jumping:
                self._wanted_index, self._target_seconds = shown.frame.index + 1, shown.frame.time_seconds
        else:
            now_seconds = shown.frame.time_seconds
            *earlier, before_seconds = (
                # The first frame from the middle before the one before: right for any constant rate.
                now_seconds - 1.5 / float(self._source.rate or _FALLBACK_RATE),
                *(time for time in self._shown_seconds if time < now_seconds),
            )
            self._jump(before_seconds)
            self._shown_seconds.extend(earlier[1:])

    def _jump(self, seconds: float) -> None:
        if not self._source.can_seek:
            return
        self._shown_seconds.clear()
        begin_seconds, duration_seconds = self._source.begin_seconds, self._source.duration_seconds
        if duration_seconds is not None:
            seconds = min(seconds, begin_seconds + duration_seconds)
        self._target_seconds = max(seconds, begin_seconds)
        self._wanted_index = self._source.seek(self._target_seconds - _ROUNDING_SECONDS)
