"""Tells of a live source that is being opened, is away, or is back: a card in the window, a line for the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from live_cam.errors import SourceError
from live_cam.render.cards import duration_text, offline_card, opening_card
from live_cam.render.hud import Status
from live_cam.sources.live import OPENING_SECONDS, LiveSource, Outage, Retry, open_patiently

if TYPE_CHECKING:
    import numpy as np

    from live_cam.sinks.window import Window
    from live_cam.sources import Source

_POLL_SECONDS = 0.02


class OutageTeller:
    """Compares what a source says of itself with what was told of it.

    Args:
        source: Any; one that is not live is never away.
        on_line: Called once when it goes, and once when it is back.
    """

    def __init__(self, source: Source, on_line: Callable[[str], None]) -> None:
        self._source = source if isinstance(source, LiveSource) else None
        self._on_line = on_line
        self._told: Outage | None = None
        self._card_seconds = -1

    def tell(self) -> None:
        """Says what changed since the last call."""
        if self._source is None or self._source.outage == self._told:
            return
        outage, before = self._source.outage, self._told
        self._told, self._card_seconds = outage, -1
        if outage is not None:
            self._on_line(f"{outage.problem}; trying again")
        elif before is not None:
            self._on_line(f"{self._source.name} is back after {duration_text(time.monotonic() - before.since_seconds)}")

    @property
    def is_away(self) -> bool:
        """Whether nothing comes from the source now."""
        return self._source is not None and self._source.outage is not None

    def show_card(self, window: Window, last_image: np.ndarray | None) -> None:
        """Shows over the last picture that the source is away; draws again when the seconds in it change."""
        outage = None if self._source is None else self._source.outage
        if self._source is None or outage is None or last_image is None:
            return
        away_seconds = time.monotonic() - outage.since_seconds
        if int(away_seconds) != self._card_seconds:
            self._card_seconds = int(away_seconds)
            window.show(offline_card(last_image, self._source.name, away_seconds), Status())


def opened(open_once: Callable[[], Source], name: str, retry: Retry, window: Window | None) -> Source | None:
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
        return window.poll(_POLL_SECONDS)

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
