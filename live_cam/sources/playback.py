"""A recording that is watched: it can be played from any place, and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.sources.protocol import Source
from live_cam.sources.wrappers import WrappedSource

# If there is no frame from a time on, earlier ones are tried: this much, twice as much, and so on.
_EARLIER_SECONDS = 1.0


class PlayedSource(WrappedSource):
    """Plays a recording from any place. At its end it waits for a jump instead of ending.

    Frames are numbered on over jumps; their times are the recording's own. ``seek`` may be called from any thread.

    Args:
        first: The recording, open.
        open_at: Opens it so that its first frame is the first one from that media time on.
        begin_seconds: Media time of its beginning.
        loops: Whether it starts again at its end.
    """

    can_seek = True

    def __init__(
        self, first: Source, open_at: Callable[[float], Source], begin_seconds: float = 0.0, loops: bool = False
    ) -> None:
        super().__init__(first)
        # How many frames will be read is up to the viewer.
        self.frame_count_estimate = None
        self.begin_seconds, self.last_index = begin_seconds, None
        self._open_at, self._loops = open_at, loops
        self._next_index = 0
        self._target_seconds: float | None = None
        self._is_closed = False
        self._changed = threading.Condition()

    def seek(self, seconds: float) -> int:
        """Continues at that media time; returns the number of the first frame from there."""
        with self._changed:
            self._target_seconds, self.last_index = max(seconds, self.begin_seconds), None
            self._changed.notify_all()
            return self._next_index

    def read(self) -> Frame | None:
        """Returns the next frame; None only after ``close``.

        Raises:
            SourceError: The recording is damaged, or cannot be opened again.
        """
        while self._jump():
            frame = self._source.read()
            with self._changed:
                if self._target_seconds is not None or self._is_closed:
                    continue
                if frame is not None:
                    self._next_index += 1
                    return replace(frame, index=self._next_index - 1)
                if self._loops:
                    self._target_seconds = self.begin_seconds
                    continue
                self.last_index = self._next_index - 1
                self._changed.wait_for(lambda: self._target_seconds is not None or self._is_closed)
        return None

    def close(self) -> None:
        """Ends the source."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()

    def _jump(self) -> bool:
        """Opens the recording at the place that was asked for last; returns False once the source is closed."""
        with self._changed:
            target_seconds, self._target_seconds = self._target_seconds, None
            if self._is_closed:
                return False
        if target_seconds is None:
            return True
        self._source.close()
        self._source = self._opened_at(target_seconds)
        if self._is_closed:  # by another thread, while it was being opened
            self._source.close()
        return not self._is_closed

    def _opened_at(self, seconds: float) -> Source:
        """Opens the recording at that time, or earlier if no frame is left there or it is damaged."""
        earlier_seconds = 0.0
        while True:
            try:
                return self._open_at(max(self.begin_seconds, seconds - earlier_seconds))
            except (SettingError, SourceError):
                if seconds - earlier_seconds <= self.begin_seconds:
                    raise
                earlier_seconds = max(_EARLIER_SECONDS, 2 * earlier_seconds)
