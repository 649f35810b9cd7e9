"""Saves what a viewer shows to new files, while the job goes on: recordings and snapshots."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import LiveCamError
from live_cam.sinks.atomic_file import name_by_time
from live_cam.sinks.image import write_snapshot

if TYPE_CHECKING:
    from live_cam.frame import Result
    from live_cam.pipeline.feed import Feed
    from live_cam.pipeline.writer import SinkWriter

_ENDING_SECONDS = 30.0


class Recorder:
    """Starts and stops recordings of a feed, each into a new video, and saves snapshots. An error does not end the job.

    Used from the viewer's thread, which never waits for an encoder.

    Args:
        feed: Recorded.
        folder: Where the files go.

    Attributes:
        made: The completed recordings.
    """

    def __init__(self, feed: Feed, folder: Path) -> None:
        self._feed, self._folder = feed, folder
        self._writer: SinkWriter | None = None
        self._writers: list[SinkWriter] = []
        self._first_seconds: float | None = None
        self._last_seconds = 0.0
        self._messages: list[str] = []
        # One thread, so that snapshots of the same second get different names.
        self._snapshot_thread = ThreadPoolExecutor(1, thread_name_prefix="livecam-snapshot")
        self._snapshots: list[Future[None]] = []
        # Guards the fields below; never held while a frame is encoded.
        self._lock = threading.Lock()
        self.made: list[Path] = []

    @property
    def seconds(self) -> float | None:
        """Length of the current recording; a frozen picture does not extend it. None if nothing is being recorded."""
        if self._writer is None or not self._writer.is_running:
            return None
        with self._lock:
            return self._last_seconds - (self._first_seconds or 0.0)

    def start(self, size_wh: tuple[int, int]) -> Path:
        """Starts a recording.

        Args:
            size_wh: Width and height of the video; frames of another size are fitted in.

        Raises:
            SinkError: The file cannot be created.
        """
        # PyAV takes 0.3 s from a cold disk, and only recordings need it.
        from live_cam.sinks.video.sink import VideoSink

        base = name_by_time(self._folder, datetime.now(), ".mp4")
        path = base.with_name(base.name + ".mp4")
        sink = VideoSink(path, size_wh, rate=None)
        self._first_seconds, self._last_seconds = None, 0.0
        self._writer = self._feed.start_recording(
            sink, self._note_time, lambda error: self._note_end(path, sink.frame_count, error)
        )
        self._writers.append(self._writer)
        return path

    def stop(self) -> None:
        """Ends the recording; its thread completes the file, see ``message``."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._feed.stop_recording(writer)

    def save_snapshot(self, result: Result, facts: Mapping[str, Any]) -> None:
        """Saves the annotated image with a JSON file of facts, in a thread; see ``message``."""
        self._snapshots.append(self._snapshot_thread.submit(self._save, result, facts, datetime.now()))

    def message(self) -> str:
        """Returns which files were saved since the last call, and errors, in one line; empty if there were none."""
        with self._lock:
            message, self._messages = " · ".join(self._messages), []
        return message

    def close(self) -> None:
        """Ends the recording and waits until all files are complete."""
        self.stop()
        wait(self._snapshots, _ENDING_SECONDS)
        self._snapshot_thread.shutdown(wait=False)
        for writer in self._writers:
            writer.join(_ENDING_SECONDS)

    def _save(self, result: Result, facts: Mapping[str, Any], taken: datetime) -> None:
        try:
            message = f"saved {write_snapshot(self._folder, taken, result.image, facts).name}"
        except LiveCamError as error:
            message = str(error)
        with self._lock:
            self._messages.append(message)

    def _note_time(self, result: Result) -> None:
        with self._lock:
            self._last_seconds = result.frame.time_seconds
            if self._first_seconds is None:
                self._first_seconds = self._last_seconds

    def _note_end(self, path: Path, frame_count: int, error: BaseException | None) -> None:
        message = f"saved {path.name}" if frame_count else "nothing was recorded"
        if error is not None:
            message = str(error)
        with self._lock:
            self._messages.append(message)
            if path.exists():
                self.made.append(path)
