"""A camera or stream that comes back: watched from outside the thread that reads it, opened again when it is lost.

    reader thread: open, read, read, ... ─newest frame─► read(), which is also the watchdog

``read()`` of a driver can hang for minutes after a loss, so nobody waits for it: a reader that is late is left behind
and another one is started. It ends when its driver lets go of it.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from live_cam.errors import LiveCamError, SettingError, SourceError
from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith

if TYPE_CHECKING:
    from live_cam.sources import Source

_FIRST_PAUSES_SECONDS = (0.5, 1.0, 1.5)
_LONG_AWAY_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 10.0
# A source is away after so long without a frame; one that is slow by nature, after three of its intervals.
_PATIENCE_SECONDS = 1.5
_PATIENCE_INTERVALS = 3
_LONGEST_PATIENCE_SECONDS = 10.0
_SHARE_OF_NEW_INTERVAL = 0.2
# A little more than a stream's own limits for reaching it and for its first frame together.
OPENING_SECONDS = 21.0
# A driver that never lets go of its readers must not collect them for hours.
_MOST_LEFT_BEHIND = 8


@dataclass(frozen=True)
class Retry:
    """How often a source that is lost, or not there, is tried again.

    Attributes:
        limit: Tries in a row; None = for ever.
        at_start: Whether also if it was never there: without a word of the user's, a wrong address is an error.
    """

    limit: int | None = None
    at_start: bool = False

    @staticmethod
    def parsed(text: str | None) -> Retry:
        """From "forever", a number, or None for the default: no end of tries, but for the very first.

        Raises:
            SettingError: It is none of these.
        """
        if text is None:
            return Retry()
        if text == "forever":
            return Retry(at_start=True)
        if not (text.isascii() and text.isdecimal()):
            raise SettingError(f"--retry takes a number, 0 or more, or the word forever, not {text!r}")
        return Retry(int(text), at_start=True)

    def allows(self, tries: int) -> bool:
        """Whether one more may follow so many."""
        return self.limit is None or tries < self.limit


@dataclass(frozen=True)
class Outage:
    """That a source gives nothing now.

    Attributes:
        since_seconds: The monotonic clock's reading at its last frame.
        problem: Why, in one line, as far as it is known.
    """

    since_seconds: float
    problem: str


def pause_seconds(tries: int, away_seconds: float) -> float:
    """How long to wait before the next try: 0.5, 1, then 1.5 s; of a source that is away for long, up to 10 s.

    Args:
        tries: How many there were since it was lost.
        away_seconds: How long it has been away; the pauses grow with it from ten minutes on.
    """
    if away_seconds < _LONG_AWAY_SECONDS:
        return _FIRST_PAUSES_SECONDS[min(tries, len(_FIRST_PAUSES_SECONDS) - 1)]
    return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSES_SECONDS[-1] * away_seconds / _LONG_AWAY_SECONDS)


def open_patiently(open_once: Callable[[], Source], retry: Retry, is_unwanted: threading.Event) -> Source:
    """Opens a source for the first time, trying again if the user asked for it.

    Args:
        open_once: Raises ``SourceError`` where there is nothing yet.
        retry: How often.
        is_unwanted: Set to end the tries.

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
            if is_unwanted.wait(pause_seconds(tries, time.monotonic() - started_seconds)):
                raise
            tries += 1


class LiveSource(ClosedByWith):
    """A live source that is opened again whenever it is lost.

    Args:
        first: It, open.
        open_again: Opens it anew; may hang or raise ``SourceError``.
        retry: How often in a row that is tried.
        remark: What the user should know about it.

    Attributes:
        outage: What is known while no frames come; None while they do. To be read from any thread.
        reconnects: Times frames came again after an outage.
    """

    rate: Fraction | None = None
    frame_count_estimate: int | None = None
    duration_seconds: float | None = None
    is_live = True
    is_still = False

    def __init__(
        self, first: Source, open_again: Callable[[], Source], retry: Retry | None = None, remark: str | None = None
    ) -> None:
        self.name, self.size_wh, self.remark = first.name, first.size_wh, remark
        self.outage: Outage | None = None
        self.reconnects = 0
        self._open_again, self._retry = open_again, retry or Retry()
        self._is_closed = False
        self._changed = threading.Condition()
        self._arrived_count = 0
        self._tries = 0
        self._last_seconds = time.monotonic()
        self._last_image: np.ndarray | None = None
        self._left_behind: list[_Reader] = []
        self._patience_seconds = _PATIENCE_SECONDS
        self._reader = _Reader(lambda: first, self._changed, self._patience_seconds)

    def read(self) -> Frame | None:
        """The newest frame, each one once; waits for it as long as it takes. None only after ``close``.

        Raises:
            SourceError: It was lost, and no more tries are allowed.
        """
        while not self._is_closed:
            frame = self._next_in_time()
            if frame is None:
                self._start_again()
            elif not self._was_seen(frame):
                return self._taken(frame)
        return None

    def close(self) -> None:
        """Ends it; whoever waits in ``read`` gets None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._reader.leave_behind()

    def _next_in_time(self) -> Frame | None:
        """The reader's next frame; None if the reader ended or is late, or this source was closed."""
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
        """Whether a server that came back began with the picture it had sent last."""
        is_first = frame.index == 0 and self.outage is not None
        return is_first and self._last_image is not None and np.array_equal(frame.image, self._last_image)

    def _taken(self, frame: Frame) -> Frame:
        if self.outage is not None:
            self.outage = None
            self.reconnects += 1
        self._tries = 0
        self._last_seconds, self._last_image = frame.time_seconds, frame.image
        return dataclasses.replace(frame, index=self._arrived_count + frame.index)

    def _start_again(self) -> None:
        """Leaves the reader behind and, after a pause, starts another; returns early when closed."""
        if self._is_closed:
            return
        lost = self._reader
        problem = lost.problem()  # before it is left, which ends it
        self._patience_seconds = self._patience_after(lost)
        lost.leave_behind()
        self.outage = self.outage or Outage(self._last_seconds, problem)
        if not self._retry.allows(self._tries):
            tried = f"; gave up after {self._tries} tries" if self._tries else ""
            raise SourceError(f"{problem}{tried}")
        self._pause(pause_seconds(self._tries, time.monotonic() - self._last_seconds))
        self._tries += 1
        self._left_behind.append(lost)
        self._wait_for_room()
        with self._changed:
            if not self._is_closed:
                self._arrived_count += lost.frame_count
                self._reader = _Reader(self._open_again, self._changed, self._patience_seconds)

    def _patience_after(self, lost: _Reader) -> float:
        # Late from the start: a camera of a frame every few seconds must get its chance.
        if lost.frame_count > 1 or lost.has_ended:
            return _PATIENCE_SECONDS
        return min(2 * self._patience_seconds, _LONGEST_PATIENCE_SECONDS)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._hanging_count() < _MOST_LEFT_BEHIND)

    def _hanging_count(self) -> int:
        self._left_behind = [reader for reader in self._left_behind if not reader.has_ended]
        return len(self._left_behind)


class _Reader:
    """One opening of the source, read in a thread of its own.

    Attributes:
        newest: The last frame that came, if nobody took it; its index counts from this opening.
        frame_count: How many came.
        has_ended: Whether no more will come.
        deadline_seconds: When the next one is late.
    """

    def __init__(
        self, open_source: Callable[[], Source], changed: threading.Condition, patience_seconds: float
    ) -> None:
        self.newest: Frame | None = None
        self.frame_count = 0
        self.has_ended = False
        self.deadline_seconds = time.monotonic() + OPENING_SECONDS
        self._open_source, self._changed = open_source, changed
        self._is_left_behind = False
        self._source: Source | None = None
        self._name = "the source"
        self._error: BaseException | None = None
        self._last_seconds = 0.0
        self._mean_interval_seconds = 0.0
        self._patience_seconds = patience_seconds
        threading.Thread(target=self._run, name="livecam-reader", daemon=True).start()

    def leave_behind(self) -> None:
        """Takes nothing more from it; it closes its source as soon as that lets go of it."""
        self._is_left_behind = True
        source = self._source
        if source is not None:
            source.close()

    def problem(self) -> str:
        """Why it gives nothing more, in one line.

        Raises:
            BaseException: What ended it, if that was no ``LiveCamError`` but a bug.
        """
        if self._error is not None and not isinstance(self._error, LiveCamError):
            raise self._error
        if self._error is not None:
            return str(self._error)
        if self.has_ended:
            return f"{self._name}: the stream ended"
        return f"{self._name}: no frame came any more" if self.frame_count else f"{self._name}: no answer"

    def _run(self) -> None:
        try:
            with self._open_source() as source:
                self._source, self._name = source, source.name
                if not source.is_live:
                    raise SourceError(f"{source.name} is a recording now, no live stream")
                self._expect_a_frame()
                while not self._is_left_behind and (frame := source.read()) is not None:
                    self._hand_over(frame)
        except BaseException as error:  # noqa: BLE001 — told or raised by ``problem``, in the thread that asks
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
            self._expect_a_frame()

    def _expect_a_frame(self) -> None:
        own_seconds = min(_PATIENCE_INTERVALS * self._mean_interval_seconds, _LONGEST_PATIENCE_SECONDS)
        with self._changed:
            self.deadline_seconds = time.monotonic() + max(self._patience_seconds, own_seconds)
            self._changed.notify_all()

    def _note_interval(self, now_seconds: float) -> None:
        interval_seconds, self._last_seconds = now_seconds - self._last_seconds, now_seconds
        if self.frame_count == 2:
            self._mean_interval_seconds = interval_seconds
            self._patience_seconds = _PATIENCE_SECONDS
        elif self.frame_count > 2:
            self._mean_interval_seconds += _SHARE_OF_NEW_INTERVAL * (interval_seconds - self._mean_interval_seconds)
