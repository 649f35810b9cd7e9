"""A video that is begun and ended while the run goes on, and whose failure does not end the run."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SinkError
from live_cam.render.fitting import letterboxed
from live_cam.sinks.names import name_by_time

if TYPE_CHECKING:
    from live_cam.frame import Result
    from live_cam.sinks.video import VideoSink

_ENDING_SECONDS = 30.0


class Recorder:
    """Records from ``start`` to ``stop``, as often as wanted, each time into a new file.

    Started and stopped by the window's thread, written by the drawing one.

    Args:
        folder: Where the files go.

    Attributes:
        made: The files that are whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sink: VideoSink | None = None
        self._size_wh = (0, 0)
        self._first_seconds: float | None = None
        self._last_seconds = 0.0
        self._news: list[str] = []
        self._endings: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.made: list[Path] = []

    @property
    def seconds(self) -> float | None:
        """How long the film is by now: a frozen picture does not make it longer. None while nothing is recorded."""
        with self._lock:
            return None if self._sink is None else self._last_seconds - (self._first_seconds or 0.0)

    def start(self, size_wh: tuple[int, int]) -> Path:
        """Begins a file.

        Args:
            size_wh: Of the pictures that will come; others are fitted in.

        Raises:
            SinkError: It cannot be made.
        """
        # PyAV takes 0.3 s from a cold disk, and only who records needs it.
        from live_cam.sinks.video import VideoSink

        base = name_by_time(self._folder, datetime.now(), ".mp4")
        path = base.with_name(base.name + ".mp4")
        sink = VideoSink(path, size_wh, rate=None)
        with self._lock:
            self._sink, self._size_wh = sink, size_wh
            self._first_seconds, self._last_seconds = None, 0.0
        return path

    def stop(self) -> None:
        """Ends the file. A long one takes seconds to complete, which nobody waits for; see ``news``."""
        with self._lock:
            sink, self._sink = self._sink, None
        if sink is not None:
            ending = threading.Thread(target=self._complete, args=(sink,), name="livecam-recording", daemon=True)
            self._endings.append(ending)
            ending.start()

    def write(self, result: Result) -> None:
        """Takes one result, captioned; while nothing is recorded it goes nowhere."""
        with self._lock:
            if self._sink is None:
                return
            self._last_seconds = result.frame.time_seconds
            if self._first_seconds is None:
                self._first_seconds = self._last_seconds
            try:
                self._sink.write(replace(result, drawn=letterboxed(result.drawn, self._size_wh)))
            except SinkError as error:
                self._news.append(str(error))
                self._sink.close()
                self._sink = None

    def news(self) -> str:
        """What came of a recording since the last call, in one line; empty if nothing did."""
        with self._lock:
            news, self._news = " · ".join(self._news), []
        return news

    def close(self) -> None:
        """Ends what is being recorded, and waits for it."""
        self.stop()
        deadline_seconds = time.monotonic() + _ENDING_SECONDS
        for ending in self._endings:
            ending.join(max(0.0, deadline_seconds - time.monotonic()))

    def _complete(self, sink: VideoSink) -> None:
        try:
            with sink:
                sink.finish()
        except SinkError as error:
            news = str(error)
        else:
            news = f"saved {sink.path.name}" if sink.frame_count else "nothing was recorded"
        with self._lock:
            self._news.append(news)
            if sink.path.exists():
                self.made.append(sink.path)
