"""The two ways in which frames pass from capture to explanation and on to drawing: lossless, or the latest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from live_cam.frame import Frame
from live_cam.pipeline.queues import LosslessQueue
from live_cam.temporal.explainer import SmoothedExplanation

# Deep enough that a slow frame in one stage does not stop the next, shallow enough that few 4K frames are held.
_FRAME_CAPACITY = 3
_EXPLAINED_CAPACITY = 2

# While explanations take no longer than this, a live frame waits for its own explanation: the heat is where it belongs,
# and 20 images per second still look like motion.
_LONGEST_WAIT_SECONDS = 0.05
_NEW_DURATION_WEIGHT = 0.2


class FrameQueue(Protocol):
    """Connects the capture thread, the explaining thread and the output thread of one source.

    Attributes:
        dropped_count: Number of frames that were captured but never drawn.
    """

    dropped_count: int

    def put_frame(self, frame: Frame, lost_count: int) -> bool:
        """Takes a captured frame; returns False if no more are wanted.

        Args:
            frame: The frame.
            lost_count: Number of frames that the source replaced before this one was read.
        """
        ...

    def can_explain(self) -> bool:
        """Returns whether ``take_frame`` has a frame."""
        ...

    def take_frame(self) -> Frame | None:
        """Returns the next frame to explain; None if there is none."""
        ...

    def put_explained(self, explained: SmoothedExplanation) -> bool:
        """Takes the explanation of the frame that was taken last; returns False if no more are wanted."""
        ...

    def next_to_draw(self) -> tuple[Frame, SmoothedExplanation] | None:
        """Returns the next frame to draw and the explanation to draw it with, waiting for them; None at the end."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """Whether no more frames come, and all have been taken."""
        ...

    def end_frames(self, drop_waiting: bool = False) -> None:
        """Accepts no more frames; those that wait are still explained unless they are to be dropped."""

    def end_explained(self) -> None:
        """Accepts no more explanations."""

    def cancel(self) -> None:
        """Ends both and drops everything that waits."""


class LosslessFrameQueue:
    """Passes on every frame in order, each with its own explanation; a thread that is ahead waits."""

    dropped_count = 0

    def __init__(self) -> None:
        self._frames: LosslessQueue[Frame] = LosslessQueue(_FRAME_CAPACITY)
        self._explained: LosslessQueue[SmoothedExplanation] = LosslessQueue(_EXPLAINED_CAPACITY)

    def put_frame(self, frame: Frame, lost_count: int = 0) -> bool:
        """See ``FrameQueue``; waits while the queue is full."""
        return self._frames.put(frame)

    def can_explain(self) -> bool:
        """See ``FrameQueue``; always true, because ``take_frame`` waits."""
        return True

    def take_frame(self) -> Frame | None:
        """See ``FrameQueue``; waits for a frame, None at the end."""
        return self._frames.get()

    def put_explained(self, explained: SmoothedExplanation) -> bool:
        """See ``FrameQueue``; waits while the queue is full."""
        return self._explained.put(explained)

    def next_to_draw(self) -> tuple[Frame, SmoothedExplanation] | None:
        """See ``FrameQueue``."""
        explained = self._explained.get()
        return None if explained is None else (explained.frame, explained)

    @property
    def is_exhausted(self) -> bool:
        """See ``FrameQueue``."""
        return self._frames.has_ended

    def end_frames(self, drop_waiting: bool = False) -> None:
        """See ``FrameQueue``."""
        if drop_waiting:
            self._frames.cancel()
        self._frames.close()

    def end_explained(self) -> None:
        """See ``FrameQueue``."""
        self._explained.close()

    def cancel(self) -> None:
        """See ``FrameQueue``."""
        self._frames.cancel()
        self._explained.cancel()


class LatestFrameQueue:
    """Passes on the newest frame of a live source, and no frame twice. Only ``next_to_draw`` waits.

    While explanations are quick, each drawn frame has its own. While they are slow, or fewer are wanted than there are
    frames, every captured frame is drawn at once with the newest explanation.

    Frames are numbered from 1 as they arrive, lost ones included; numbers tell how many were never drawn.

    Args:
        draws_every_frame: Whether fewer explanations are wanted than there are frames.
        on_change: Called when ``can_explain`` or ``is_exhausted`` may have changed.
        waits_for_explanations: Whether no frame is drawn with the explanation of another, however slow they are.
    """

    def __init__(
        self,
        draws_every_frame: bool = False,
        on_change: Callable[[], None] = lambda: None,
        waits_for_explanations: bool = False,
    ) -> None:
        self.dropped_count = 0
        self._draws_every_frame, self._on_change = draws_every_frame, on_change
        self._waits_for_explanations = waits_for_explanations
        self._newest: Frame | None = None
        self._newest_number = self._taken_number = self._drawn_number = 0
        self._taken_seconds = 0.0
        # The last explanation, the number of its frame, and whether a frame was drawn with it.
        self._explained: SmoothedExplanation | None = None
        self._explained_number = 0
        self._is_explained_used = True
        self._mean_seconds: float | None = None
        self._have_frames_ended = self._have_explained_ended = False
        self._changed = threading.Condition()

    def put_frame(self, frame: Frame, lost_count: int = 0) -> bool:
        """See ``FrameQueue``; replaces a frame that waits."""
        with self._changed:
            if self._have_frames_ended:
                return False
            self._newest = frame
            self._newest_number += 1 + lost_count
            self._changed.notify_all()
        self._on_change()
        return True

    def can_explain(self) -> bool:
        """See ``FrameQueue``; false also while the explanation before has not been drawn yet."""
        with self._changed:
            return self._newest_number > self._taken_number and self._may_replace_explained()

    def take_frame(self) -> Frame | None:
        """See ``FrameQueue``; returns the newest frame unless it was taken before."""
        with self._changed:
            if self._newest_number == self._taken_number:
                return None
            self._taken_number, self._taken_seconds = self._newest_number, time.monotonic()
            return self._newest

    def put_explained(self, explained: SmoothedExplanation) -> bool:
        """See ``FrameQueue``."""
        with self._changed:
            self._note_duration(time.monotonic() - self._taken_seconds)
            if self._have_explained_ended:
                return False
            self._explained, self._explained_number = explained, self._taken_number
            self._is_explained_used = False
            self._changed.notify_all()
            return True

    def next_to_draw(self) -> tuple[Frame, SmoothedExplanation] | None:
        """See ``FrameQueue``."""
        with self._changed:
            self._changed.wait_for(lambda: self._number_to_draw() is not None or self._have_explained_ended)
            number = self._number_to_draw()
            if number is None or self._explained is None or self._newest is None:
                return None
            self.dropped_count += number - self._drawn_number - 1
            self._drawn_number = number
            self._is_explained_used = True
            frame = self._explained.frame if number == self._explained_number else self._newest
            drawing = frame, self._explained
        self._on_change()
        return drawing

    def _number_to_draw(self) -> int | None:
        """Returns the newest explained frame or, if that was drawn or would come late, the newest frame."""
        if self._explained is None:
            return None
        if self._draws_at_once and not self._have_explained_ended and self._newest_number > self._drawn_number:
            return self._newest_number
        return self._explained_number if self._explained_number > self._drawn_number else None

    @property
    def _draws_at_once(self) -> bool:
        """Whether frames are drawn without waiting for their own explanations."""
        is_slow = self._draws_every_frame or (self._mean_seconds or 0.0) > _LONGEST_WAIT_SECONDS
        return is_slow and not self._waits_for_explanations

    def _may_replace_explained(self) -> bool:
        """Returns whether the last explanation has been drawn, or never will be."""
        if self._is_explained_used or self._explained_number > self._drawn_number:
            return self._is_explained_used
        # A later frame was drawn already: the explanation is useful only for a still later one that is drawn at once.
        return self._have_frames_ended or not self._draws_at_once

    def _note_duration(self, seconds: float) -> None:
        before = self._mean_seconds
        # The very first explanation is slower than all others.
        self._mean_seconds = (
            min(seconds, _LONGEST_WAIT_SECONDS)
            if before is None
            else before + _NEW_DURATION_WEIGHT * (seconds - before)
        )

    @property
    def is_exhausted(self) -> bool:
        """See ``FrameQueue``."""
        with self._changed:
            return self._have_frames_ended and self._newest_number == self._taken_number

    def end_frames(self, drop_waiting: bool = False) -> None:
        """See ``FrameQueue``."""
        with self._changed:
            self._have_frames_ended = True
            if drop_waiting:
                self._taken_number = self._newest_number
            self._changed.notify_all()
        self._on_change()

    def end_explained(self) -> None:
        """See ``FrameQueue``."""
        with self._changed:
            self._have_explained_ended = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """See ``FrameQueue``."""
        with self._changed:
            self._have_frames_ended = self._have_explained_ended = True
            self._taken_number = self._newest_number
            self._explained = None
            self._changed.notify_all()
        self._on_change()
