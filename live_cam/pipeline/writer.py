"""Writes results to file sinks in a thread, which also finishes and closes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from live_cam.frame import Result
from live_cam.pipeline.queues import ClosableQueue, LosslessQueue, TimedQueue
from live_cam.pipeline.stats import FeedStats
from live_cam.sinks.protocol import FileSink

# A file job waits for a slow disk; a live one lets results wait this long, in this much memory, and drops the oldest.
_FILE_CAPACITY = 1
_LIVE_SECONDS = 2.0
_LIVE_BYTES = 1 << 29


class SinkWriter:
    """Writes results in order to all its sinks.

    Only its thread touches the sinks: it writes, finishes and closes them, so no sink is closed while a stalled disk
    keeps a write from returning.

    Args:
        sinks: Open; written in this order.
        is_live: Whether results are dropped rather than delaying the source, when the disk is slow.
        stats: Counts what is written; None: nothing is counted.
        on_written: Called after each result with the result.
        on_end: Called at the end, after the sinks are closed, with the error that ended it, or None.

    Attributes:
        sinks: The sinks.
        is_finished: Whether the files have their final names.
        is_finishing: Whether the last result is written and the files are being completed.
    """

    def __init__(
        self,
        sinks: Sequence[FileSink],
        is_live: bool,
        stats: FeedStats | None,
        on_written: Callable[[Result], None] = lambda result: None,
        on_end: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self.sinks = tuple(sinks)
        self.is_finished = self.is_finishing = False
        self.needs_image = any(sink.needs_image for sink in self.sinks)
        self._stats, self._on_written, self._on_end = stats, on_written, on_end
        self._queue: ClosableQueue[Result] = (
            TimedQueue(_LIVE_SECONDS, _LIVE_BYTES, _size_bytes) if is_live else LosslessQueue(_FILE_CAPACITY)
        )
        self._is_complete = False
        self._thread = threading.Thread(target=self._run, name="livecam-write", daemon=True)
        self._thread.start()

    @property
    def dropped_count(self) -> int:
        """Number of results that were not written because the disk was slow."""
        return self._queue.dropped_count

    def put(self, result: Result) -> bool:
        """Takes a result; returns False if writing has ended."""
        return self._queue.put(result)

    def end(self, is_complete: bool) -> None:
        """Ends writing after what still waits; without effect if writing has ended.

        Args:
            is_complete: Whether the files get their final names; else they are closed under their partial names.
        """
        if not self._queue.has_ended:
            self._is_complete = is_complete
            self._queue.close()

    def cancel(self) -> None:
        """Drops what waits and closes the files under their partial names; without effect if writing has ended."""
        if not self._queue.has_ended:
            self._is_complete = False
            self._queue.cancel()

    @property
    def is_running(self) -> bool:
        """Whether the thread still writes, completes or closes."""
        return self._thread.is_alive()

    def join(self, timeout_seconds: float | None = None) -> None:
        """Waits for the thread."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while (result := self._queue.get()) is not None:
                started_seconds = time.perf_counter()
                for sink in self.sinks:
                    sink.write(result)
                if self._stats is not None:
                    self._stats.add_written(result.frame.time_seconds, time.perf_counter() - started_seconds)
                self._on_written(result)
            if self._is_complete:
                self.is_finishing = True
                for sink in self.sinks:
                    sink.finish()
                self.is_finished = True
        except BaseException as raised:  # noqa: BLE001 - handed to on_end, which reports it
            error = raised
        finally:
            self._queue.cancel()
            closing_error = self._close()
            self._on_end(error or closing_error)

    def _close(self) -> BaseException | None:
        first: BaseException | None = None
        for sink in self.sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 - every sink is closed; the first error is reported
                first = first or error
        return first


def _size_bytes(result: Result) -> int:
    """Returns about how much memory a result needs: its frame, and the annotated image."""
    return 2 * result.frame.image.nbytes
