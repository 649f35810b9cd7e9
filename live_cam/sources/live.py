"""A camera or stream that is watched from outside the thread that reads it, and opened again when it is lost.

    reader thread: open, read, read, ... ─newest frame─► read(), which is also the watchdog

A driver's ``read()`` can hang for minutes after a loss. ``LiveSource`` does not wait for it: it abandons a reader that
is late and starts another one. The abandoned reader ends when its driver returns.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from live_cam.errors import LiveCamError, SourceError
from live_cam.settings import RetrySettings
from live_cam.sources.protocol import Outage, Source

if TYPE_CHECKING:
    from live_cam.frame import Frame

_FIRST_PAUSES_SECONDS = (0.5, 1.0, 1.5)
_LONG_OUTAGE_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 10.0
# A source is lost after this long without a frame; a slow one, after three of its mean intervals.
_PATIENCE_SECONDS = 1.5
_PATIENCE_INTERVALS = 3
_LONGEST_PATIENCE_SECONDS = 10.0
_BURST_FRAMES = 10
_WEIGHT_OF_NEW_INTERVAL = 0.2
# A little more than a stream's own limits for connecting and for its first frame together.
OPENING_SECONDS = 21.0
# Drivers that never return must not collect threads for hours.
MAX_HANGING_READERS = 8


def pause_seconds(tries: int, away_seconds: float) -> float:
    """Returns how long to wait before the next try: 0.5, 1, then 1.5 s; after ten minutes up to 10 s.

    Args:
        tries: Tries since the source was lost.
        away_seconds: Time since it was lost; from ten minutes on, the pauses grow in proportion to it.
    """
    if away_seconds < _LONG_OUTAGE_SECONDS:
        return _FIRST_PAUSES_SECONDS[min(tries, len(_FIRST_PAUSES_SECONDS) - 1)]
    return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSES_SECONDS[-1] * away_seconds / _LONG_OUTAGE_SECONDS)


def open_patiently(open_once: Callable[[], Source], retry: RetrySettings, is_canceled: threading.Event) -> Source:
    """Opens a source for the first time; tries again if the settings say so.

    Args:
        open_once: Raises ``SourceError`` while there is no such source.
        retry: How often.
        is_canceled: Set it to end the tries.

    Raises:
        SourceError: From the last try.
    """
    started_seconds, tries = time.monotonic(), 0
    while True:
        try:
            return open_once()
        except SourceError:
            if not (retry.at_start and retry.allows(tries)):
                raise
            if is_canceled.wait(pause_seconds(tries, time.monotonic() - started_seconds)):
                raise
            tries += 1


class LiveSource(Source):
    """A live source that is opened again whenever it is lost.

    Args:
        first: The source, open; belongs to this object from now on. None: it is opened in the background, like a source
            that is lost, and its ``size_wh`` is (0, 0) until it gives a frame.
        open_again: Opens it anew; may hang or raise ``SourceError``.
        retry: How often in a row that is tried. Default: no limit.
        name: The name of a source that is not open yet.
        patience_seconds: How long a frame may be missing before the source counts as lost, if it is not a slow one.
    """

    is_live = True

    def __init__(
        self,
        first: Source | None,
        open_again: Callable[[], Source],
        retry: RetrySettings | None = None,
        name: str = "",
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self.name, self.size_wh, self.notices = name, (0, 0), ()
        if first is not None:
            self.name, self.size_wh, self.notices = first.name, first.size_wh, first.notices
        self._open_again, self._retry = open_again, retry or RetrySettings()
        self._is_closed = False
        self._changed = threading.Condition()
        self._past_frame_count = 0
        self._tries = 0
        self._last_seconds = time.monotonic()
        self._last_image: np.ndarray | None = None
        self._abandoned: list[_Reader] = []
        self._least_patience_seconds = self._patience_seconds = patience_seconds
        open_first = open_again if first is None else lambda: first
        self._reader = _Reader(open_first, self._changed, patience_seconds, patience_seconds)

    def read(self) -> Frame | None:
        """Returns the newest frame, each one once, waiting for it as long as it takes; None only after ``close``.

        Raises:
            SourceError: The source was lost, and no more tries are allowed.
        """
        while not self._is_closed:
            frame = self._next_in_time()
            if frame is None:
                self._start_again()
            elif not self._was_seen(frame):
                return self._accepted(frame)
        return None

    def close(self) -> None:
        """Ends the source; a ``read`` that waits returns None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._reader.abandon()

    def _next_in_time(self) -> Frame | None:
        """Returns the reader's next frame; None if the reader ended or is late, or this source was closed."""
        with self._changed:
            reader = self._reader
            while not (self._is_closed or reader.newest is not None or reader.has_ended):
                left_seconds = reader.deadline_seconds - time.monotonic()
                if left_seconds <= 0:
                    return None
                self._changed.wait(left_seconds)
            frame, reader.newest = reader.newest, None
            return None if self._is_closed else frame

    def _was_seen(self, frame: Frame) -> bool:
        """Returns whether a server that is back began with the image that it had sent last."""
        is_first = frame.index == 0 and self.outage is not None
        return is_first and self._last_image is not None and np.array_equal(frame.image, self._last_image)

    def _accepted(self, frame: Frame) -> Frame:
        if self.outage is not None:
            self.outage = None
            self.reconnects += 1
        self._tries = 0
        self.size_wh = (frame.image.shape[1], frame.image.shape[0])
        self._last_seconds, self._last_image = frame.time_seconds, frame.image
        return dataclasses.replace(frame, index=self._past_frame_count + frame.index)

    def _start_again(self) -> None:
        """Abandons the reader and, after a pause, starts another one; returns early when closed."""
        if self._is_closed:
            return
        lost = self._reader
        problem = lost.problem()  # before it is abandoned, which ends it
        self._patience_seconds = self._patience_after(lost)
        lost.abandon()
        self.outage = self.outage or Outage(self._last_seconds, problem)
        if not self._retry.allows(self._tries):
            raise SourceError(problem + (f"; gave up after {self._tries} tries" if self._tries else ""))
        self._pause(pause_seconds(self._tries, time.monotonic() - self._last_seconds))
        self._tries += 1
        if lost not in self._abandoned:
            self._abandoned.append(lost)
        if not self._has_room():
            return  # This try has failed.
        with self._changed:
            if not self._is_closed:
                self._past_frame_count += lost.frame_count
                self._reader = _Reader(
                    self._open_again, self._changed, self._patience_seconds, self._least_patience_seconds
                )

    def _patience_after(self, lost: _Reader) -> float:
        # A reader that was late soon may have a camera with a frame every few seconds.
        if lost.is_steady or lost.has_ended:
            return self._least_patience_seconds
        return max(self._patience_seconds, min(2 * self._patience_seconds, _LONGEST_PATIENCE_SECONDS))

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _has_room(self) -> bool:
        """Returns whether another reader may be started; waits for hanging ones to end as long as an opening takes."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._is_closed or self._hanging_count() < MAX_HANGING_READERS, OPENING_SECONDS
            )

    def _hanging_count(self) -> int:
        self._abandoned = [reader for reader in self._abandoned if not reader.has_ended]
        return len(self._abandoned)


class _Reader:
    """A thread that opens the source once and reads it.

    Attributes:
        newest: The last frame, unless it was taken; its index counts from this opening.
        frame_count: Number of frames so far.
        has_ended: Whether no more frames will come.
        deadline_seconds: The monotonic clock's reading from which the next frame is late.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        changed: threading.Condition,
        patience_seconds: float,
        least_patience_seconds: float,
    ) -> None:
        self.newest: Frame | None = None
        self.frame_count = 0
        self.has_ended = False
        self.deadline_seconds = time.monotonic() + OPENING_SECONDS
        self._open_source, self._changed = open_source, changed
        self._is_abandoned = False
        self._source: Source | None = None
        self._name = "the source"
        self._error: BaseException | None = None
        self._last_seconds = 0.0
        self._mean_interval_seconds = 0.0
        self._patience_seconds, self._least_patience_seconds = patience_seconds, least_patience_seconds
        threading.Thread(target=self._run, name="livecam-reader", daemon=True).start()

    @property
    def is_steady(self) -> bool:
        """Whether there were enough frames to know their interval; servers send the first ones in a burst."""
        return self.frame_count > _BURST_FRAMES

    def abandon(self) -> None:
        """Closes its source, as soon as the driver allows it; no more frames are taken from it."""
        self._is_abandoned = True
        source = self._source
        if source is not None:
            source.close()

    def problem(self) -> str:
        """Returns why it gives no more frames, in one line.

        Raises:
            BaseException: What ended it, if that was a bug and no ``LiveCamError``.
        """
        if self._error is not None and not isinstance(self._error, LiveCamError):
            raise self._error
        if self._error is not None:
            return str(self._error)
        if self.has_ended:
            return f"{self._name}: the stream ended"
        return f"{self._name}: no more frames" if self.frame_count else f"{self._name}: no answer"

    def _run(self) -> None:
        try:
            with self._open_source() as source:
                self._source, self._name = source, source.name
                if not source.is_live:
                    raise SourceError(f"{source.name} is now a recording, no live stream")
                self._set_deadline()
                while not self._is_abandoned and (frame := source.read()) is not None:
                    self._hand_over(frame)
        except BaseException as error:  # noqa: BLE001 — reported or raised by ``problem``, in the thread that reads
            self._error = error
        finally:
            with self._changed:
                self.has_ended = True
                self._changed.notify_all()

    def _hand_over(self, frame: Frame) -> None:
        with self._changed:
            self.newest = dataclasses.replace(frame, index=self.frame_count)
            self.frame_count += 1
            self._note_interval(frame.time_seconds)
            self._set_deadline()

    def _set_deadline(self) -> None:
        usual_seconds = min(_PATIENCE_INTERVALS * self._mean_interval_seconds, _LONGEST_PATIENCE_SECONDS)
        with self._changed:
            self.deadline_seconds = time.monotonic() + max(self._patience_seconds, usual_seconds)
            self._changed.notify_all()

    def _note_interval(self, now_seconds: float) -> None:
        interval_seconds, self._last_seconds = now_seconds - self._last_seconds, now_seconds
        if self.is_steady:
            self._patience_seconds = self._least_patience_seconds
        if self.frame_count == 2:
            self._mean_interval_seconds = interval_seconds
        elif self.frame_count > 2:
            self._mean_interval_seconds += _WEIGHT_OF_NEW_INTERVAL * (interval_seconds - self._mean_interval_seconds)
