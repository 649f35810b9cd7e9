"""Opens the source of a job; a camera or URL in a thread, while the window says so and the user can quit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from live_cam.errors import SourceError
from live_cam.render.cards import opening_image, opening_message
from live_cam.render.hud import Status
from live_cam.sources.address import display_name
from live_cam.sources.live import MAX_HANGING_READERS, OPENING_SECONDS, open_patiently
from live_cam.sources.open import open_played, open_source
from live_cam.viewers.background import started
from live_cam.viewers.commands import Action

if TYPE_CHECKING:
    from live_cam.jobs.outcome import JobContext
    from live_cam.settings import JobSettings, RetrySettings
    from live_cam.sources.protocol import Source
    from live_cam.sources.video import ResumePoint
    from live_cam.sources.wrappers import ExpectedFrames
    from live_cam.viewers.protocol import Viewer

_POLL_SECONDS = 0.02


def open_for_job(
    settings: JobSettings,
    context: JobContext,
    viewer: Viewer | None,
    resume_at: ResumePoint | None = None,
    expected: ExpectedFrames | None = None,
) -> Source | None:
    """Opens the source of a job.

    Args:
        settings: The job.
        context: Tells whether the job is to stop.
        viewer: Shows that a camera or URL is being opened; None if there is no viewer yet.
        resume_at: Where an unfinished run continues. Default: at the beginning.
        expected: The frames that the video must have. Default: any.

    Returns:
        The source; None if the user did not wait for it.

    Raises:
        SourceError: It cannot be opened.
    """
    source = settings.source
    if _is_watched(settings):
        # The demo plays forever.
        return open_played(replace(source, loop=source.loop or source.is_demo))
    if not source.is_remote_or_camera:
        return open_source(source, resume_at, expected)
    name = f"camera {source.webcam}" if source.video is None else display_name(source.video)
    opening = BackgroundOpen(lambda: open_source(source), name, source.retry)
    return opening.wait(viewer, context.stop)


def _is_watched(settings: JobSettings) -> bool:
    """Returns whether a video file or the demo is shown and nothing is written: its viewer may jump."""
    source, output = settings.source, settings.output
    is_recording = not source.is_remote_or_camera and source.image is None
    is_written = any((output.output, output.sidecar, output.heatmaps))
    return is_recording and output.wants_window(is_live=False) and not is_written and source.max_frames is None


class BackgroundOpen:
    """Opens a camera or URL in a thread, with as many tries as the user allows.

    Args:
        open_once: Opens it or raises ``SourceError``; may hang.
        name: What is shown meanwhile.
        retry: How often it is tried.
        limit_seconds: A try without an answer after this long has failed.
    """

    def __init__(
        self,
        open_once: Callable[[], Source],
        name: str,
        retry: RetrySettings,
        limit_seconds: float = OPENING_SECONDS,
    ) -> None:
        self._open_once, self._name, self._limit_seconds = open_once, name, limit_seconds
        self._hanging: list[Future[Source]] = []
        self._unwanted = threading.Event()
        self._started_seconds = time.monotonic()
        self._shown_seconds = -1
        self._opened = started(lambda: open_patiently(self._open_in_time, retry, self._unwanted), "livecam-open")

    def wait(self, viewer: Viewer | None, stop: threading.Event) -> Source | None:
        """Waits for the source; returns None if the user quits or ``stop`` is set.

        Raises:
            SourceError: It cannot be opened.
        """
        try:
            while self._opened not in wait([self._opened], _POLL_SECONDS if viewer is None else 0.0).done:
                if stop.is_set() or (viewer is not None and not self._show(viewer)):
                    self._give_up()
                    return None
        except BaseException:
            self._give_up()
            raise
        return self._opened.result()

    def _show(self, viewer: Viewer) -> bool:
        """Shows how long it takes; returns False if the user quits."""
        waited_seconds = time.monotonic() - self._started_seconds
        if int(waited_seconds) != self._shown_seconds:
            self._shown_seconds = int(waited_seconds)
            status = Status(message=opening_message(waited_seconds), message_note=self._name)
            viewer.show(opening_image(), status)
        return all(command.action is not Action.QUIT for command in viewer.poll(_POLL_SECONDS))

    def _give_up(self) -> None:
        """Closes what is or will be opened."""
        self._unwanted.set()
        self._opened.add_done_callback(_close_opened)

    def _open_in_time(self) -> Source:
        """Tries once. A driver that does not answer in time has failed; what it opens later is closed."""
        # If too many attempts hang, this one only waits for one of them to return.
        if len(self._hanging) == MAX_HANGING_READERS:
            self._hanging = list(wait(self._hanging, self._limit_seconds, FIRST_COMPLETED).not_done)
        if len(self._hanging) < MAX_HANGING_READERS:
            opened = started(self._open_once, "livecam-open")
            if opened in wait([opened], self._limit_seconds).done:
                return opened.result()
            opened.add_done_callback(_close_opened)
            self._hanging.append(opened)
        raise SourceError(f"cannot open {self._name}: no answer within {self._limit_seconds:g} s")


def _close_opened(opened: Future[Source]) -> None:
    if opened.exception() is None:
        opened.result().close()
