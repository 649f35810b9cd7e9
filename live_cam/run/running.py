"""One whole run: the pipeline in its threads, the window and the clock in the caller's, and a tidy end.

Windows belong to the main thread, so this loop does too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from live_cam.run.outages import OutageTeller
from live_cam.run.pipeline import Pipeline
from live_cam.run.screen import POLL_SECONDS, Screen
from live_cam.sinks import Sink

if TYPE_CHECKING:
    from live_cam.run.controls import Controls
    from live_cam.sources import Source

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
    controls: Controls | None = None,
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
        controls: With the window that shows results; None: without one. Closed on every way out.
        paced: Shows a file at its own speed.
        on_progress: Called some ten times a second or more.
        on_line: Called when a live source is lost and when it is back.

    Raises:
        LiveCamError: The first error of any stage; what was written stays under the partial names.
    """
    outages = OutageTeller(source, on_line)
    is_paced = paced and not source.is_live
    screen = (
        None if controls is None else Screen(controls.window, pipeline, controls, is_paced, source.is_live, outages)
    )

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
        if controls is not None:
            controls.close()


def _until_end(
    pipeline: Pipeline, is_live: bool, screen: Screen | None, on_progress: Callable[[Pipeline], None]
) -> Ending:
    try:
        while pipeline.is_running or (screen is not None and not pipeline.results.ended):
            on_progress(pipeline)
            if screen is None:
                time.sleep(POLL_SECONDS)
            elif not screen.step():
                return _ended_early(pipeline, is_live)
    except KeyboardInterrupt:
        ended = _ended_early(pipeline, is_live)
        return Ending(ended.is_complete, was_interrupted=True)
    return Ending(is_complete=True)


def _held(screen: Screen) -> Ending:
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
