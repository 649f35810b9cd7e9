"""What the window shows about the run itself; never part of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from live_cam.render.caption import percent_text
from live_cam.render.text import DIM_BGR, TextLine, draw_plate, text_size_px

_TOP_LEFT_XY = (0.0, 0.0)
_CENTRE_XY = (0.5, 0.5)
_HUD_SIZE = 0.8


@dataclass(frozen=True)
class Status:
    """The state of the run; what is None or empty is not shown.

    Attributes:
        fps: Pictures a second.
        label: The explained class, where no caption says it.
        probability: Of that class, in [0, 1].
        engine: "litert" or "tensorflow".
        latency_ms: From a frame's capture to its picture.
        dropped_count: Frames that were thrown away to keep up.
        message: What the user should know now, such as "preparing the model".
        heat_age_ms: How much older the explained frame is than the one it is drawn over.
    """

    fps: float | None = None
    label: str | None = None
    probability: float | None = None
    engine: str | None = None
    latency_ms: float | None = None
    dropped_count: int = 0
    message: str = ""
    heat_age_ms: float | None = None


def draw_hud(image: np.ndarray, status: Status) -> None:
    """Draws the status, small, top left.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        status: What to tell; nothing is drawn where it is empty.
    """
    lines = [line for line in _hud_lines(status) if line.text]
    if lines:
        draw_plate(image, lines, _TOP_LEFT_XY, max(12, round(_HUD_SIZE * text_size_px(image.shape))))


def draw_message(image: np.ndarray, text: str) -> None:
    """Draws one line in the middle of the picture.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        text: Shortened where it does not fit.
    """
    draw_plate(image, [TextLine(text)], _CENTRE_XY)


def _hud_lines(status: Status) -> list[TextLine]:
    speed = [
        "" if status.fps is None else f"{status.fps:.{1 if status.fps < 9.95 else 0}f} fps",
        "" if status.latency_ms is None else f"{status.latency_ms:.0f} ms",
        "" if status.heat_age_ms is None else f"heat {status.heat_age_ms:.0f} ms old",
        status.engine or "",
        f"{status.dropped_count} dropped" if status.dropped_count else "",
    ]
    percent = "" if status.probability is None else percent_text(status.probability)
    return [
        TextLine(" · ".join(filter(None, speed)), color_bgr=DIM_BGR),
        TextLine(status.label or "", percent),
        TextLine(status.message),
    ]
