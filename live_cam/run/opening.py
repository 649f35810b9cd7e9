"""Opens the source of a session; what may take long in a thread of its own, with a word about it in the window."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from live_cam.commands import Action
from live_cam.errors import SettingError, SourceError
from live_cam.render.cards import opening_card
from live_cam.render.hud import Status
from live_cam.sources.camera import CameraRequest
from live_cam.sources.live import OPENING_SECONDS, LiveSource, Retry, open_patiently

if TYPE_CHECKING:
    from live_cam.run.session import SourceSettings
    from live_cam.sinks.window import Window
    from live_cam.sources import Source

_POLL_SECONDS = 0.02


def check_live(wanted: SourceSettings) -> None:
    """Checks, before anything slow, what is asked of a live source.

    Raises:
        SettingError: It makes no sense.
    """
    Retry.parsed(wanted.retry)
    CameraRequest.parsed(wanted.camera_size, wanted.camera_fps)
    if wanted.webcam is None and (wanted.camera_size is not None or wanted.camera_fps is not None):
        raise SettingError("--camera-size and --camera-fps are for --webcam; another source has its own")


def opened_source(
    wanted: SourceSettings, is_watched: bool, window: Window | None, on_line: Callable[[str], None]
) -> Source | None:
    """Opens what is wanted.

    Args:
        wanted: The settings.
        is_watched: Whether nothing is made of it: then the demo plays for ever.
        window: Shows that a camera or an address is being opened; None where there is none by now.
        on_line: Called with what the user should know about it.

    Returns:
        It; None if the user ended the wait for it.

    Raises:
        SourceError: It cannot be opened.
    """
    if wanted.is_elsewhere:
        source = _opened_elsewhere(wanted.open, wanted.shown_name, Retry.parsed(wanted.retry), window)
        if isinstance(source, LiveSource) and source.remark is not None:
            on_line(source.remark)
        if source is None or source.is_live or not wanted.loop:
            return source
        source.close()
    if wanted.image is None and (wanted.loop or (wanted.is_demo and is_watched)):
        from live_cam.sources.loop import LoopedSource

        return LoopedSource(wanted.open)
    return wanted.open()


def _opened_elsewhere(open_once: Callable[[], Source], name: str, retry: Retry, window: Window | None) -> Source | None:
    """Opens a camera or an address in a thread of its own: the window says so, and Ctrl-C need not wait.

    Args:
        open_once: Opens it or raises.
        name: To be shown meanwhile.
        retry: How often it is tried.
        window: Open for as long as this takes; None: nothing is shown.

    Returns:
        It; None if the user ended the waiting.

    Raises:
        SourceError: It cannot be opened.
    """
    opening = _Opening(open_once, name, retry)
    try:
        while not opening.has_ended(_POLL_SECONDS if window is None else 0.0):
            if window is not None and not opening.show(window):
                opening.give_up()
                return None
    except BaseException:
        opening.give_up()
        raise
    return opening.result()


class _Opening:
    """One opening in the background."""

    def __init__(self, open_once: Callable[[], Source], name: str, retry: Retry) -> None:
        self._open_once, self._name, self._retry = open_once, name, retry
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._ended, self._unwanted, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._started_seconds = time.monotonic()
        self._shown_seconds = -1
        threading.Thread(target=self._run, name="livecam-open", daemon=True).start()

    def has_ended(self, wait_seconds: float) -> bool:
        """Whether there is a result; a driver that says nothing for too long is one as well."""
        is_too_long = not self._retry.at_start and time.monotonic() - self._started_seconds > OPENING_SECONDS
        return self._ended.wait(wait_seconds) or is_too_long

    def show(self, window: Window) -> bool:
        """Shows how long it takes; False when the user ended it."""
        waited_seconds = time.monotonic() - self._started_seconds
        if int(waited_seconds) != self._shown_seconds:
            self._shown_seconds = int(waited_seconds)
            window.show(opening_card(self._name, waited_seconds), Status())
        return all(command.action is not Action.QUIT for command in window.poll(_POLL_SECONDS))

    def result(self) -> Source:
        """What came of it."""
        if self._error is not None:
            raise self._error
        if self._source is None:
            self.give_up()
            raise SourceError(f"cannot open {self._name}: no answer within {OPENING_SECONDS:g} s")
        return self._source

    def give_up(self) -> None:
        """Closes what is or will be opened."""
        with self._lock:
            self._unwanted.set()
            if self._source is not None:
                self._source.close()

    def _run(self) -> None:
        try:
            source = open_patiently(self._open_once, self._retry, self._unwanted)
            with self._lock:
                self._source = source
                if self._unwanted.is_set():
                    source.close()
        except BaseException as error:  # noqa: BLE001 — raised again in the caller by ``result``
            self._error = error
        finally:
            self._ended.set()
