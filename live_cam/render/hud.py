"""What the window shows about the run itself; never part of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from live_cam.frame import Explanation
from live_cam.render.class_panel import class_panel_width_px, draw_class_panel
from live_cam.render.help_card import draw_help_card
from live_cam.render.legend import draw_legend, legend_width_px
from live_cam.render.spots import SpotReading, draw_spot
from live_cam.render.text import ACCENT_BGR, DIM_BGR, RECORDING_BGR, TextLine, draw_plate, text_size_px

_TOP_LEFT_XY = (0.0, 0.0)
_TOP_RIGHT_XY = (1.0, 0.0)
_CENTRE_XY = (0.5, 0.5)
# Clear of the figures above and the classes below.
_NOTICE_Y = 0.2
_LINE_HEIGHT = 1.4
# Of the picture's height; what is furthest down is left out in small windows.
_MOST_FIGURES_HEIGHT = 0.45
_HUD_SIZE = 0.76
_SMALLEST_SIZE_PX = 12
_WHOLE_XYWH = (0.0, 0.0, 1.0, 1.0)
# Below these the caption and the message alone are readable.
_LEAST_SIZE_WH = (150, 110)

DETAILS = ("few", "all", "none")


@dataclass(frozen=True)
class Status:
    """The state of the run; what is None or empty is not shown.

    Attributes:
        explanation: What the class bars tell of, as it is drawn.
        fps: Frames explained a second.
        latency_ms: From a frame's capture to its picture.
        heat_age_ms: By how much the heatmap is older than the picture, where it is behind.
        dropped_count: Frames that were thrown away to keep up.
        reconnect_count: How often frames came again after a loss.
        engine: "litert" or "tensorflow".
        method: The CAM method's name.
        layer: The target layer's name.
        stage_ms: Milliseconds of each stage, in the order they are passed.
        colormap: What the legend shows.
        is_locked: Whether the explained class stays whatever is the top class.
        contrast_label: The class that the explained one is set against.
        is_frozen: Whether the picture stands still because the viewer wants it.
        recording_seconds: How long a recording has been running.
        spot: What was clicked.
        notice: What a key just did, in a few words.
        detail: One of ``DETAILS``: how many figures.
        has_help: Whether the table of keys lies over everything.
        message: What the user should know now, such as "preparing the model"; it alone is shown, in the middle.
    """

    explanation: Explanation | None = None
    fps: float | None = None
    latency_ms: float | None = None
    heat_age_ms: float | None = None
    dropped_count: int = 0
    reconnect_count: int = 0
    engine: str = ""
    method: str = ""
    layer: str = ""
    stage_ms: Mapping[str, float | None] = field(default_factory=dict)
    colormap: str = ""
    is_locked: bool = False
    contrast_label: str = ""
    is_frozen: bool = False
    recording_seconds: float | None = None
    spot: SpotReading | None = None
    notice: str = ""
    detail: str = "few"
    has_help: bool = False
    message: str = ""


def draw_hud(image: np.ndarray, status: Status, picture_xywh: tuple[float, float, float, float] = _WHOLE_XYWH) -> None:
    """Draws the status around the edges: figures, class bars, legend, recording mark, notice.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        status: What to tell; nothing is drawn where it is empty.
        picture_xywh: Where in ``image`` the picture lies, as fractions, for what points at a place in it.
    """
    if status.has_help:
        draw_help_card(image, hud_text_size_px(image.shape))
    elif status.message:
        draw_message(image, status.message)
    elif image.shape[1] >= _LEAST_SIZE_WH[0] and image.shape[0] >= _LEAST_SIZE_WH[1]:
        size_px = hud_text_size_px(image.shape)
        if status.spot is not None:
            draw_spot(image, status.spot, picture_xywh, size_px)
        _draw_edges(image, status, size_px)


def hud_text_size_px(image_shape: tuple[int, ...]) -> int:
    """Height of the HUD's text, in pixels: 12 at 320x240, 15 at 640x480, 24 at 1080p."""
    return max(_SMALLEST_SIZE_PX, round(_HUD_SIZE * text_size_px(image_shape)))


def draw_message(image: np.ndarray, text: str) -> None:
    """Draws one line in the middle of the picture.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        text: Shortened where it does not fit.
    """
    draw_plate(image, [TextLine(text)], _CENTRE_XY)


def _draw_edges(image: np.ndarray, status: Status, size_px: int) -> None:
    lines = _figure_lines(status)[: int(_MOST_FIGURES_HEIGHT * image.shape[0] / (_LINE_HEIGHT * size_px))]
    if lines:
        draw_plate(image, lines, _TOP_LEFT_XY, size_px)
    if status.recording_seconds is not None:
        draw_plate(image, [_recording_line(status.recording_seconds)], _TOP_RIGHT_XY, size_px)
    if status.explanation is not None and status.detail != "none":
        draw_class_panel(image, status.explanation, size_px, _class_note(status))
        has_room = image.shape[1] > class_panel_width_px(image.shape, size_px) + legend_width_px(size_px) + 3 * size_px
        if status.colormap and has_room and not status.explanation.other_maps:
            draw_legend(image, status.colormap, size_px)
    if status.notice:
        below_figures = (len(lines) + 1) * _LINE_HEIGHT * size_px / image.shape[0]
        draw_plate(image, [TextLine(status.notice)], (0.5, max(_NOTICE_Y, below_figures)), size_px)


def _figure_lines(status: Status) -> list[TextLine]:
    frozen = [TextLine("frozen", color_bgr=ACCENT_BGR)] if status.is_frozen else []
    if status.detail == "none":
        return frozen
    counts = [
        f"{status.dropped_count} dropped" if status.dropped_count else "",
        _counted(status.reconnect_count, "reconnect"),
    ]
    age = "" if status.heat_age_ms is None else f"heatmap {status.heat_age_ms:.0f} ms old"
    lines = [_joined(_speed(status)), _joined([age]), _joined(counts)]
    if status.detail == "all":
        stages = [f"{name} {ms:.1f}" for name, ms in status.stage_ms.items() if ms is not None]
        half = (len(stages) + 1) // 2
        lines += [_joined([status.method, status.engine]), _joined([status.layer])]
        last = " · ".join(stages[half:])
        lines += [_joined(stages[:half]), _joined([f"{last} ms" if last else ""])]
    return frozen + [line for line in lines if line.text]


def _speed(status: Status) -> list[str]:
    return [
        "" if status.fps is None else f"{status.fps:.{1 if status.fps < 9.95 else 0}f} fps",
        "" if status.latency_ms is None else f"{status.latency_ms:.0f} ms",
    ]


def _joined(parts: list[str]) -> TextLine:
    return TextLine(" · ".join(filter(None, parts)), color_bgr=DIM_BGR)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else ""


def _class_note(status: Status) -> str:
    against = f"against {status.contrast_label}" if status.contrast_label else ""
    return " · ".join(filter(None, ["locked" if status.is_locked else "", against]))


def _recording_line(seconds: float) -> TextLine:
    return TextLine("●", f"{int(seconds) // 60}:{int(seconds) % 60:02}", color_bgr=RECORDING_BGR)
