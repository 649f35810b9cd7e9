"""Where frames pass from capture to explanation and on to drawing: one way for recordings, one for live sources."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from live_cam.channel import Channel
from live_cam.frame import Frame
from live_cam.steady.steady_pass import Steadied

# Deep enough that a slow frame of one stage does not stop the next, shallow enough that 4K frames stay few.
_CAPTURED_CAPACITY = 3
_EXPLAINED_CAPACITY = 2

# As long as explanations take no longer than this, a live frame waits for its own: the heat is right where it is drawn,
# and twenty pictures a second still move.
_LONGEST_WAIT_SECONDS = 0.05
_RECENT_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Captured:
    """A frame and the monotonic clock's reading when it was captured."""

    frame: Frame
    captured_seconds: float


@dataclass(frozen=True, eq=False)
class Explained:
    """A frame and what the pass gave for it."""

    captured: Captured
    steadied: Steadied


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is to be drawn next.

    Attributes:
        captured: The frame.
        explained: The newest explanation: the frame's own, or an earlier frame's.
    """

    captured: Captured
    explained: Explained


class EveryFrame:
    """Hands on every frame in order, each with its own explanation; who is ahead waits.

    Attributes:
        dropped_count: Frames that were captured and never drawn: none.
    """

    dropped_count = 0

    def __init__(self) -> None:
        self._captured: Channel[Captured] = Channel(_CAPTURED_CAPACITY)
        self._explained: Channel[Explained] = Channel(_EXPLAINED_CAPACITY)

    def put_frame(self, captured: Captured) -> bool:
        """From the capturing thread; False when no more are wanted."""
        return self._captured.put(captured)

    def frame_to_explain(self) -> Captured | None:
        """For the explaining thread; None at the end."""
        return self._captured.get()

    def put_explained(self, explained: Explained) -> bool:
        """From the explaining thread; False when no more are wanted."""
        return self._explained.put(explained)

    def next_to_draw(self) -> Drawing | None:
        """For the drawing thread; None at the end."""
        explained = self._explained.get()
        return None if explained is None else Drawing(explained.captured, explained)

    def end_frames(self, drop_waiting: bool = False) -> None:
        """No more frames come; those that wait are still explained, unless they are to be dropped."""
        if drop_waiting:
            self._captured.cancel()
        self._captured.close()

    def end_explained(self) -> None:
        """No more explanations come."""
        self._explained.close()

    def cancel(self) -> None:
        """Drops whatever is on its way."""
        self._captured.cancel()
        self._explained.cancel()


class NewestFrame:
    """Hands on the newest frame of a live source, and no frame twice.

    Where explanations are quick, each drawn frame is drawn with its own. Where they are slow, or fewer are wanted than
    there are frames, every captured frame is drawn at once with the newest explanation there is.

    Args:
        draws_every_frame: Whether fewer explanations are wanted than frames.

    Attributes:
        dropped_count: Frames that were captured and never drawn, because newer ones had come.
    """

    def __init__(self, draws_every_frame: bool = False) -> None:
        self._draws_every_frame = draws_every_frame
        self._newest: Captured | None = None
        self._explained: Explained | None = None
        self._explained_is_used = True
        # Frames in the order they came here, from 1.
        self._newest_number = self._taken_number = self._explained_number = self._drawn_number = 0
        self._drawn_index = -1
        self._taken_seconds = 0.0
        self._explaining_seconds: float | None = None
        self._frames_ended = self._explained_ended = False
        self._changed = threading.Condition()
        self.dropped_count = 0

    def put_frame(self, captured: Captured) -> bool:
        """From the capturing thread; False when no more are wanted."""
        with self._changed:
            if self._frames_ended:
                return False
            self._newest = captured
            self._newest_number += 1
            self._changed.notify_all()
            return True

    def frame_to_explain(self) -> Captured | None:
        """For the explaining thread; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames_ended or self._newest_number > self._taken_number)
            if self._newest_number == self._taken_number:
                return None
            self._taken_number, self._taken_seconds = self._newest_number, time.monotonic()
            return self._newest

    def put_explained(self, explained: Explained) -> bool:
        """From the explaining thread, which waits until the one before is drawn; False when no more are wanted."""
        with self._changed:
            self._note_duration(time.monotonic() - self._taken_seconds)
            self._changed.wait_for(lambda: self._explained_ended or self._may_replace())
            if self._explained_ended:
                return False
            self._explained, self._explained_number = explained, self._taken_number
            self._explained_is_used = False
            self._changed.notify_all()
            return True

    def next_to_draw(self) -> Drawing | None:
        """For the drawing thread; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._number_to_draw() or self._explained_ended)
            number = self._number_to_draw()
            if number is None or self._explained is None or self._newest is None:
                return None
            self._drawn_number = number
            self._explained_is_used = True
            self._changed.notify_all()
            captured = self._explained.captured if number == self._explained_number else self._newest
            # By the source's own count: it may have replaced frames before they got here.
            self.dropped_count += captured.frame.index - self._drawn_index - 1
            self._drawn_index = captured.frame.index
            return Drawing(captured, self._explained)

    def _number_to_draw(self) -> int | None:
        """The newest explained frame or, where that was drawn or would come late, the newest of all."""
        if self._explained is None:
            return None
        if self._draws_at_once and not self._explained_ended and self._newest_number > self._drawn_number:
            return self._newest_number
        return self._explained_number if self._explained_number > self._drawn_number else None

    @property
    def _draws_at_once(self) -> bool:
        """Whether frames are drawn without waiting for their own explanations."""
        return self._draws_every_frame or (self._explaining_seconds or 0.0) > _LONGEST_WAIT_SECONDS

    def _may_replace(self) -> bool:
        """Whether the explanation that waits has been drawn with, or never will be."""
        if self._explained_is_used or self._explained_number > self._drawn_number:
            return self._explained_is_used
        # Its own frame was drawn before: only a later one could be drawn with it, and only without waiting.
        return self._frames_ended or not self._draws_at_once

    def _note_duration(self, seconds: float) -> None:
        before = self._explaining_seconds
        # The very first pass is slower than all others.
        self._explaining_seconds = (
            min(seconds, _LONGEST_WAIT_SECONDS) if before is None else before + _RECENT_SHARE * (seconds - before)
        )

    def end_frames(self, drop_waiting: bool = False) -> None:
        """No more frames come; the newest is still explained, unless it is to be dropped."""
        with self._changed:
            self._frames_ended = True
            if drop_waiting:
                self._taken_number = self._newest_number
            self._changed.notify_all()

    def end_explained(self) -> None:
        """No more explanations come."""
        with self._changed:
            self._explained_ended = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drops whatever is on its way."""
        with self._changed:
            self._frames_ended = self._explained_ended = True
            self._taken_number = self._newest_number
            self._explained = None
            self._changed.notify_all()
