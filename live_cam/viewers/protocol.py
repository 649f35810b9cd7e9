"""The protocol of viewers in the main thread, such as the window. The web page has threads of its own: see ``Feed``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from live_cam.render.hud import Status
    from live_cam.viewers.commands import Command


class Viewer(Protocol):
    """Shows images live and returns what its user asks for. Used from one thread."""

    def show(self, image: np.ndarray, status: Status) -> None:
        """Shows an image with the state of the job over it.

        Args:
            image: (height, width, 3) uint8, BGR; not changed.
            status: What the head-up display says.
        """

    def poll(self, seconds: float) -> list[Command]:
        """Waits at most that long for input; returns what the user asked for."""
        ...

    def has_other_size(self) -> bool:
        """Returns whether the user resized it since the last ``show``, so that the image should be shown again."""
        return False

    def set_title(self, title: str) -> None:
        """Names what is shown; does nothing where there is no title."""

    def toggle_full_screen(self) -> None:
        """Fills the screen, or returns to the size before; does nothing if it cannot."""

    def close(self) -> None:
        """Closes the viewer; may be called twice."""
