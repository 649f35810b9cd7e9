"""Another pass made ready in a thread of its own, while the one in use goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from live_cam.errors import LiveCamError
from live_cam.explainer import Explainer

# Who goes through a list by pressing a key again and again wants the last of them only.
_SETTLING_SECONDS = 0.3


@dataclass(frozen=True)
class PassWish:
    """What is to be explained by.

    Attributes:
        method: A CAM method's name.
        layer: The target layer, or several with commas; None for the model's own.
    """

    method: str
    layer: str | None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What came of a wish: an explainer, or an error in one line."""

    wish: PassWish
    explainer: Explainer | None = None
    error: str = ""


class Preparer:
    """Loads one pass at a time, always the one that was wished for last; for one thread to ask.

    Args:
        load: Makes the explainer; called in a thread of its own.
    """

    def __init__(self, load: Callable[[PassWish], Explainer]) -> None:
        self._load = load
        self._wish: PassWish | None = None
        self._wished_seconds = 0.0
        self._thread: threading.Thread | None = None
        self._prepared: Prepared | None = None

    @property
    def wish(self) -> PassWish | None:
        """What is being prepared, or waits for that."""
        return self._wish

    def want(self, wish: PassWish | None) -> None:
        """Wishes for a pass, in place of any that is not ready; None: for none."""
        self._wish, self._wished_seconds = wish, time.monotonic()

    def poll(self) -> Prepared | None:
        """To be called often: what was wished for, once it is ready or has failed."""
        if self._thread is not None and not self._thread.is_alive():
            prepared, self._thread, self._prepared = self._prepared, None, None
            if prepared is not None and prepared.wish == self._wish:
                self._wish = None
                return prepared
        has_settled = time.monotonic() - self._wished_seconds >= _SETTLING_SECONDS
        if self._thread is None and self._wish is not None and has_settled:
            self._thread = threading.Thread(
                target=self._prepare, args=(self._wish,), name="livecam-prepare", daemon=True
            )
            self._thread.start()
        return None

    def _prepare(self, wish: PassWish) -> None:
        try:
            self._prepared = Prepared(wish, self._load(wish))
        except LiveCamError as error:
            self._prepared = Prepared(wish, error=str(error))
        except Exception as error:  # noqa: BLE001 — whatever it is, the pass in use still works
            first_line = (str(error).splitlines() or [""])[0]
            self._prepared = Prepared(wish, error=f"cannot prepare it: {type(error).__name__}: {first_line}")
