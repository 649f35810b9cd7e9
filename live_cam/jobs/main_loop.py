"""The loop of the calling thread while a pipeline runs one feed: viewer, progress, outages, and the end.

Windows belong to the main thread, so the loop runs there too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from live_cam.render.cards import duration_text
from live_cam.viewers.screen import POLL_SECONDS, Screen

if TYPE_CHECKING:
    from live_cam.jobs.outcome import JobContext, Progress
    from live_cam.pipeline.feed import Feed
    from live_cam.pipeline.pipeline import Pipeline
    from live_cam.sources.protocol import Outage


@dataclass(frozen=True, eq=False)
class MainLoop:
    """Runs one feed to its end.

    Attributes:
        pipeline: Explains the feed.
        feed: Not added to the pipeline yet.
        screen: Shows the results; None without a viewer.
        context: Progress, lines, and the request to stop.
        progress: Returns how far the job is.
    """

    pipeline: Pipeline
    feed: Feed
    screen: Screen | None
    context: JobContext
    progress: Callable[[], Progress]

    def run(self) -> bool:
        """Runs until the source ends, the user quits, or something fails; all files are complete or closed then.

        Returns:
            Whether the job was interrupted by a signal or ``JobContext.stop``.

        Raises:
            LiveCamError: The first error of the feed, with later ones in its message.
        """
        outages = OutageReporter(self.feed, self.context.on_line)
        try:
            self.pipeline.add(self.feed)
            has_ended = self._until_end(outages)
            if not has_ended:
                self._end_early()
            self._join()
            self.feed.raise_errors()
            if has_ended and self.screen is not None and not self.feed.source.is_live:
                self._hold(self.screen)
        except KeyboardInterrupt:  # in Python without the command line's signal handlers
            self.context.stop.set()
            self._end_early()
            self._join()
        finally:
            self.feed.close()
        return self.context.stop.is_set()

    def _until_end(self, outages: OutageReporter) -> bool:
        """Returns whether the feed ended by itself."""
        while self.feed.is_running or not (self.screen is None or self.screen.has_ended):
            outages.report()
            self.context.on_progress(self.progress())
            if self.context.stop.is_set():
                return False
            if self.screen is None:
                self.context.stop.wait(POLL_SECONDS)
            elif not (self.screen.hold() if self.screen.has_ended else self.screen.step()):
                return False
        return True

    def _end_early(self) -> None:
        # While the model is still being loaded, nothing was explained that could be written.
        if self.feed.source.is_live and self.pipeline.explainer is not None:
            self.feed.end_capture()
        else:
            self.feed.cancel()

    def _join(self) -> None:
        """Waits until the files are complete or closed, which may take long on a slow disk."""
        while not self.feed.join(POLL_SECONDS):
            self.context.on_progress(self.progress())
        self.context.on_progress(self.progress())  # the final counts

    def _hold(self, screen: Screen) -> None:
        """Keeps the last picture of a file; its outputs are complete."""
        while screen.hold() and not self.context.stop.is_set():
            pass


class OutageReporter:
    """Tells once when a live source goes offline, and once when it is back.

    Args:
        feed: Whose source.
        on_line: Called with the lines.
    """

    def __init__(self, feed: Feed, on_line: Callable[[str], None]) -> None:
        self._source, self._on_line = feed.source, on_line
        self._reported: Outage | None = None

    def report(self) -> None:
        """Tells what changed since the last call."""
        outage, before = self._source.outage, self._reported
        if outage == before:
            return
        self._reported = outage
        if outage is not None:
            self._on_line(f"{outage.problem}; trying again")
        elif before is not None:
            self._on_line(f"{self._source.name} is back after {duration_text(time.monotonic() - before.since_seconds)}")
