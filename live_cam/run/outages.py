"""Tells that a live source is away, and that it is back: a card in the window, a line for the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from live_cam.render.cards import duration_text, offline_card
from live_cam.render.hud import Status
from live_cam.sources.live import LiveSource, Outage

if TYPE_CHECKING:
    import numpy as np

    from live_cam.sinks.window import Window
    from live_cam.sources import Source


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
