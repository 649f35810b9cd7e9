"""One whole run: the pipeline in its threads, the window and the clock in the caller's, and a tidy end.

Windows belong to the main thread, so this loop does too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from live_cam.frame import Frame, Result
from live_cam.outages import OutageTeller
from live_cam.pipeline import Pipeline
from live_cam.render.hud import Status
from live_cam.sinks import Sink

if TYPE_CHECKING:
    import numpy as np

    from live_cam.sinks.window import Window
    from live_cam.sources import Source

_POLL_SECONDS = 0.02
_LATE_SECONDS = 0.1
# A camera that hangs in read() is not waited for any longer.
_ENDING_SECONDS = 2.0


@dataclass(frozen=True)
class Ending:
    """How a run ended without an error.

    Attributes:
        is_complete: Whether the sinks carry their final names.
        was_interrupted: Whether Ctrl-C or SIGTERM ended it.
    """

    is_complete: bool
    was_interrupted: bool = False


def run(
    pipeline: Pipeline,
    source: Source,
    sinks: Sequence[Sink],
    window: Window | None = None,
    paced: bool = False,
    on_progress: Callable[[Pipeline], None] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Ending:
    """Runs until the source ends, the user ends it, or something breaks.

    Args:
        pipeline: Not started yet.
        source: Closed on every way out.
        sinks: Finished where the run is whole, closed on every way out. A live run is whole whenever it ends; a file
            only at its end.
        window: Shows results; closed on every way out.
        paced: Shows a file at its own speed.
        on_progress: Called some ten times a second or more.
        on_line: Called when a live source is lost and when it is back.

    Raises:
        LiveCamError: The first error of any stage; what was written stays under the partial names.
    """
    outages = OutageTeller(source, on_line)
    screen = None if window is None else _Screen(window, pipeline, paced, source.is_live, outages)

    def keep_telling(running: Pipeline) -> None:
        outages.tell()
        if on_progress is not None:
            on_progress(running)

    try:
        pipeline.start()
        ending = _until_end(pipeline, source.is_live, screen, keep_telling)
        pipeline.raise_error()
        if ending.is_complete:
            for sink in sinks:
                sink.finish()
        if screen is not None and ending.is_complete and not source.is_live:
            return _held(screen)
        return ending
    finally:
        pipeline.cancel()
        source.close()  # before the wait: it wakes a reader that would wait for a lost camera
        pipeline.wait(_ENDING_SECONDS)
        for sink in sinks:
            sink.close()
        if window is not None:
            window.close()


def _until_end(
    pipeline: Pipeline, is_live: bool, screen: _Screen | None, on_progress: Callable[[Pipeline], None]
) -> Ending:
    try:
        while pipeline.is_running or (screen is not None and not pipeline.results.ended):
            on_progress(pipeline)
            if screen is None:
                time.sleep(_POLL_SECONDS)
            elif not screen.step():
                return _ended_early(pipeline, is_live)
    except KeyboardInterrupt:
        ended = _ended_early(pipeline, is_live)
        return Ending(ended.is_complete, was_interrupted=True)
    return Ending(is_complete=True)


def _held(screen: _Screen) -> Ending:
    """Keeps the last picture of a whole run; the files have their names by then, however the user ends it."""
    try:
        screen.hold()
    except KeyboardInterrupt:
        return Ending(is_complete=True, was_interrupted=True)
    return Ending(is_complete=True)


def _ended_early(pipeline: Pipeline, is_live: bool) -> Ending:
    # A model that is still being prepared is not waited for: nothing was taken that could be written.
    if is_live and pipeline.explainer is not None:
        pipeline.end_capture()
        pipeline.results.cancel()
        pipeline.wait_for_writing(_ENDING_SECONDS)
    pipeline.cancel()
    return Ending(is_complete=pipeline.wait_for_writing(_ENDING_SECONDS) and is_live)


class _Screen:
    """What the window shows from moment to moment."""

    def __init__(self, window: Window, pipeline: Pipeline, paced: bool, is_live: bool, outages: OutageTeller) -> None:
        self._window = window
        self._pipeline = pipeline
        self._outages = outages
        self._last_image: np.ndarray | None = None
        self._paced = paced and not is_live
        self._is_live = is_live
        self._shown_preview: Frame | None = None
        # Media time minus wall time.
        self._offset_seconds: float | None = None

    def step(self) -> bool:
        """Shows what is new and looks at the keys; False when the user wants to end."""
        if self._outages.is_away:
            self._outages.show_card(self._window, self._last_image)
            return self._window.poll(_POLL_SECONDS)
        if self._pipeline.explainer is None:
            self._show_preview()
            return self._window.poll(_POLL_SECONDS)
        result = self._pipeline.results.get(_POLL_SECONDS)
        if result is None:
            return self._window.poll(0.0)
        if self._paced and not self._wait_until_due(result):
            return False
        self._last_image = result.drawn.image
        self._window.show(result.drawn.image, self._status(result))
        return self._window.poll(0.0)

    def hold(self) -> None:
        """Keeps the last picture until a key is pressed or the window closed."""
        while self._window.poll(_POLL_SECONDS, any_key_ends=True):
            pass

    def _show_preview(self) -> None:
        preview = self._pipeline.preview
        if preview is not None and preview is not self._shown_preview:
            self._last_image = preview.image
            self._window.show(preview.image, Status(message="preparing the model"))
            self._shown_preview = preview

    def _wait_until_due(self, result: Result) -> bool:
        media_seconds = result.frame.time_seconds
        if self._offset_seconds is None:
            self._offset_seconds = media_seconds - time.monotonic()
        while (early_seconds := media_seconds - self._offset_seconds - time.monotonic()) > 0:
            if not self._window.poll(min(early_seconds, _POLL_SECONDS)):
                return False
        if early_seconds < -_LATE_SECONDS:
            # Go on from here at normal speed: running after the lost time would look like fast forward.
            self._offset_seconds = media_seconds - time.monotonic()
        return True

    def _status(self, result: Result) -> Status:
        meter, explainer = self._pipeline.meter, self._pipeline.explainer
        return Status(
            fps=meter.recent_fps,
            engine=None if explainer is None else explainer.engine_name,
            # Of a recording it is only the time in our own queues.
            latency_ms=meter.recent_latency_ms if self._is_live else None,
            heat_age_ms=None if result.earlier_frame is None else 1e3 * result.heat_age_seconds,
            dropped_count=meter.frames_dropped,
        )
