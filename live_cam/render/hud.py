"""The head-up display of viewers: the state of the job, drawn over the annotated image; never recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from live_cam.frame import WHOLE_FRAME_XYWH, Explanation
from live_cam.render.class_panel import class_panel_size_wh, draw_class_panel
from live_cam.render.colormaps import heat_lut
from live_cam.render.figures import Figure, FigureTable
from live_cam.render.help_card import HelpGroups, draw_help_card
from live_cam.render.layout import Box, Panel, area_of, draw_panels, is_free
from live_cam.render.seek_bar import Position, draw_seek_bar, seek_bar_height_px
from live_cam.render.spots import SpotReading, draw_spot, spot_panel
from live_cam.render.text import (
    ACCENT_BGR,
    BOLD,
    DIM_BGR,
    MEDIUM,
    RECORDING_BGR,
    REGULAR,
    TextLine,
    TextPanel,
    draw_panel,
    draw_text,
    margin_px,
    text_size_px,
    text_width_px,
)

# Height of a notice's center in the image, if the figures leave room for it there.
_NOTICE_Y = 0.2
_HUD_SIZE = 0.76
_SMALLEST_SIZE_PX = 12
_NOTE_SIZE = 0.78
_LABEL_SIZE = 0.85

_SPLIT_LABELS = ("original", "heatmap")
_LEGEND_WORDS = ("weak", "strong")
# All relative to the text size.
_LEGEND_BAR_WIDTH, _LEGEND_BAR_HEIGHT = 5.0, 0.42
_LEGEND_PADDING, _LEGEND_GAP = 0.55, 0.45
_LEGEND_HEIGHT = 1.7

DETAILS = ("few", "all", "none")


@dataclass(frozen=True)
class Status:
    """The state of the job. None and empty values are not shown.

    Attributes:
        explanation: The explanation as drawn, for the class bars.
        fps: Explained frames per second.
        latency_ms: From the capture of a frame to its annotated image.
        heatmap_age_ms: How much older the explained frame is than the shown one, while explanations are behind.
        dropped_count: Number of frames that were dropped to keep up with a live source.
        reconnect_count: How often a live source gave frames again after an outage.
        engine: "litert", "litert int8" or "tensorflow".
        method: Name of the CAM method.
        layer: Name of the target layer.
        stage_ms: Milliseconds of each stage, in the order of the stages.
        view: The view of the annotated image; the halves of "split" are labeled.
        colormap: The colormap that the legend shows.
        is_frozen: Whether the user froze the image.
        position: Where a recording is played.
        recording_seconds: Duration of the recording that is being made.
        spot: The evidence at the place that was clicked.
        notice: The effect of the last key, in a few words.
        detail: How many figures are shown; one of ``DETAILS``.
        help_groups: Keys, and what they do. If there are any, only they are shown, as a table in the center.
        message: What the user should know now, such as "preparing the model"; shown in the center.
        message_note: Small text below the message.
    """

    explanation: Explanation | None = None
    fps: float | None = None
    latency_ms: float | None = None
    heatmap_age_ms: float | None = None
    dropped_count: int = 0
    reconnect_count: int = 0
    engine: str = ""
    method: str = ""
    layer: str = ""
    stage_ms: Mapping[str, float | None] = field(default_factory=dict)
    view: str = ""
    colormap: str = ""
    is_frozen: bool = False
    position: Position | None = None
    recording_seconds: float | None = None
    spot: SpotReading | None = None
    notice: str = ""
    detail: str = "few"
    help_groups: HelpGroups = ()
    message: str = ""
    message_note: str = ""


def draw_hud(
    canvas: np.ndarray, status: Status, image_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH
) -> None:
    """Draws the status over the annotated image, and nothing beside it.

    Panels never overlap. Where there is no room for all of them, less important ones get smaller or are left out.

    Args:
        canvas: (height, width, 3) uint8, BGR, with the annotated image on it; drawn into.
        status: What is shown.
        image_xywh: Where the annotated image lies, as fractions of the canvas.
    """
    left, top, width, height = (
        round(fraction * side) for fraction, side in zip(image_xywh, 2 * canvas.shape[1::-1], strict=True)
    )
    image = area_of(canvas, (left, top, width, height))
    size_px = hud_text_size_px(image.shape)
    if status.help_groups:
        draw_help_card(image, status.help_groups, size_px)
        return
    if status.spot is not None:
        draw_spot(image, status.spot, size_px)
    if status.position is not None:
        draw_seek_bar(image, status.position, size_px)
        image, status = _above_seek_bar(image, status, seek_bar_height_px(size_px))
    draw_panels(image.shape[1::-1], _Panels(image, status, size_px).by_importance(), margin_px(size_px))


def _above_seek_bar(image: np.ndarray, status: Status, bar_height_px: int) -> tuple[np.ndarray, Status]:
    """Returns the part of the image above the bar, and the status with the spot at its place in that part."""
    above = image[: max(1, len(image) - bar_height_px)]
    if status.spot is None:
        return above, status
    x, y = status.spot.image_xy
    return above, replace(status, spot=replace(status.spot, image_xy=(x, y * len(image) / len(above))))


def hud_text_size_px(image_shape: tuple[int, ...]) -> int:
    """Returns the height of the text in pixels: 12 at 320x240, 15 at 640x480, 24 at 1080p."""
    return max(_SMALLEST_SIZE_PX, round(_HUD_SIZE * text_size_px(image_shape)))


class _Panels:
    """The panels of a status, with the places that they would like to have.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        status: What is shown.
        size_px: Height of the text.
    """

    def __init__(self, image: np.ndarray, status: Status, size_px: int) -> None:
        self._image, self._status, self._size_px = image, status, size_px
        self._height, self._width = image.shape[:2]
        self._margin = margin_px(size_px)
        self._text_px = self._width - 2 * self._margin
        # None if the classes are not shown.
        self._explanation = status.explanation if status.detail != "none" else None

    def by_importance(self) -> list[Panel]:
        """Returns the panels, the most important one first."""
        status = self._status
        labels = self._split_labels() if status.view == "split" else []
        recording = [] if status.recording_seconds is None else [self._recording(status.recording_seconds, labels)]
        figures = self._figures([*labels, *recording])
        panels = [*([self._message()] if status.message else []), *recording]
        if status.notice:
            panels.append(self._notice(figures.places[:1]))
        if self._explanation is not None:
            panels.append(self._classes(self._explanation))
        if status.spot is not None:
            panels.append(spot_panel(self._image, status.spot, self._size_px))
        panels += [*labels, figures]
        if status.colormap and self._explanation is not None and not self._explanation.other_maps:
            panels.append(self._legend())
        return panels

    def _panel(self, places: Sequence[Box], draw: Callable[[np.ndarray], None], others: Sequence[Panel] = ()) -> Panel:
        """Returns a panel with those of the places that the best places of the other panels leave free."""
        taken = [panel.places[0] for panel in others if panel.places]
        free = [box for box in places if is_free(box, taken, self._margin)]
        return Panel(free, lambda box: draw(area_of(self._image, box)))

    def _message(self) -> Panel:
        lines = [TextLine(self._status.message, weight=BOLD if self._status.message_note else MEDIUM)]
        if self._status.message_note:
            lines.append(TextLine(self._status.message_note, color_bgr=DIM_BGR, relative_size=_NOTE_SIZE))
        text_panel = TextPanel.fit(lines, self._text_px, text_size_px(self._image.shape))
        return self._panel([self._centered(text_panel.size_wh, self._height // 2)], text_panel.draw)

    def _notice(self, figures: Sequence[Box]) -> Panel:
        """Returns the notice: near the top, below the figures; where there is no room, anywhere above or below."""
        text_panel = TextPanel.fit([TextLine(self._status.notice)], self._text_px, self._size_px)
        below_figures = [top + height + self._margin + text_panel.size_wh[1] // 2 for _, top, _, height in figures]
        best_y = max([round(_NOTICE_Y * self._height), *below_figures])
        others = sorted(range(0, self._height, self._size_px // 2), key=lambda y: abs(y - best_y))
        return self._panel([self._centered(text_panel.size_wh, y) for y in (best_y, *others)], text_panel.draw)

    def _recording(self, seconds: float, labels: Sequence[Panel]) -> Panel:
        text_panel = TextPanel.fit([_recording_line(seconds)], self._text_px, self._size_px)
        width, height = text_panel.size_wh
        left = self._width - self._margin - width
        return self._panel([(left, top, width, height) for top in self._tops(labels)], text_panel.draw, labels)

    def _classes(self, explanation: Explanation) -> Panel:
        width, height = class_panel_size_wh(self._image.shape, explanation, self._size_px)
        box = (self._margin, self._height - self._margin - height, width, height)
        return Panel([box], lambda _: draw_class_panel(self._image, explanation, self._size_px))

    def _split_labels(self) -> list[Panel]:
        half_px, label_px = self._width // 2, round(_LABEL_SIZE * self._size_px)
        panels = []
        for half_left, label in zip((0, half_px), _SPLIT_LABELS, strict=True):
            text_panel = TextPanel.fit([TextLine(label, weight=REGULAR)], half_px - 2 * self._margin, label_px)
            width, height = text_panel.size_wh
            box = (half_left + (half_px - width) // 2, self._margin, width, height)
            panels.append(self._panel([box], text_panel.draw))
        return panels

    def _figures(self, above: Sequence[Panel]) -> Panel:
        """Returns the table of figures, with as many rows as leave two lines free between it and the classes."""
        table = FigureTable.fit(_figure_rows(self._status), self._text_px, self._size_px)
        used_px = 2 * (table.height_px(1) + self._margin)
        if self._explanation is not None:
            used_px += class_panel_size_wh(self._image.shape, self._explanation, self._size_px)[1] + self._margin
        heights = [table.height_px(count) for count in range(len(table.figures), 0, -1)]
        boxes = [(self._margin, top, table.width_px, height) for height in heights for top in self._tops(above)]
        low = [box for box in boxes if box[1] + box[3] + used_px <= self._height]
        return self._panel(low or boxes[-1:], table.draw, above)

    def _tops(self, panels: Sequence[Panel]) -> list[int]:
        """Returns where panels along the upper edge may begin: at the edge, or below one of the others."""
        boxes = [panel.places[0] for panel in panels if panel.places]
        return sorted({self._margin, *(top + height + self._margin for _, top, _, height in boxes)})

    def _legend(self) -> Panel:
        width, height = _legend_width_px(self._size_px), round(_LEGEND_HEIGHT * self._size_px)
        box = (self._width - self._margin - width, self._height - self._margin - height, width, height)
        return self._panel([box], lambda area: _draw_legend(area, self._status.colormap, self._size_px))

    def _centered(self, size_wh: tuple[int, int], center_y: int) -> Box:
        width, height = size_wh
        return (self._width - width) // 2, center_y - height // 2, width, height


def _figure_rows(status: Status) -> list[Figure]:
    """Returns the figures, the most important one first."""
    frozen = [Figure("picture", "frozen", color_bgr=ACCENT_BGR)] if status.is_frozen else []
    if status.detail == "none":
        return frozen
    fps = "" if status.fps is None else f"{status.fps:.{1 if status.fps < 9.95 else 0}f} fps"
    figures = [
        Figure("speed", fps, "888 fps" if fps else ""),
        Figure("latency", _milliseconds(status.latency_ms), "8888 ms"),
        Figure("heatmap age", _milliseconds(status.heatmap_age_ms), "8888 ms"),
        Figure("dropped", str(status.dropped_count or "")),
        Figure("reconnects", str(status.reconnect_count or "")),
    ]
    if status.detail == "all":
        figures += [
            Figure("method", status.method),
            Figure("engine", status.engine),
            Figure("layer", status.layer),
            *(Figure(name, _milliseconds(ms, 1), "888.8 ms") for name, ms in status.stage_ms.items()),
        ]
    is_live = status.latency_ms is not None or status.heatmap_age_ms is not None
    return frozen + [figure for figure in figures if figure.value or is_live]


def _milliseconds(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:.{decimals}f} ms"


def _recording_line(seconds: float) -> TextLine:
    return TextLine("●", f"{int(seconds) // 60}:{int(seconds) % 60:02}", color_bgr=RECORDING_BGR)


def _legend_width_px(size_px: int) -> int:
    words_px = sum(text_width_px(word, size_px, REGULAR) for word in _LEGEND_WORDS)
    return round(words_px + (_LEGEND_BAR_WIDTH + 2 * _LEGEND_PADDING + 2 * _LEGEND_GAP) * size_px)


def _draw_legend(area: np.ndarray, colormap: str, size_px: int) -> None:
    """Draws a bar of the colors from weak to strong evidence into an area, (height, width, 3) uint8, BGR."""
    height = area.shape[0]
    panel = draw_panel(area, (area.shape[1], height), (0.0, 0.0), size_px)
    baseline = round(0.5 * height + 0.36 * size_px)
    x = round(_LEGEND_PADDING * size_px)
    draw_text(panel, _LEGEND_WORDS[0], (x, baseline), size_px, weight=REGULAR, color_bgr=DIM_BGR)
    x += text_width_px(_LEGEND_WORDS[0], size_px, REGULAR) + round(_LEGEND_GAP * size_px)
    bar = _color_bar(colormap, round(_LEGEND_BAR_WIDTH * size_px), max(4, round(_LEGEND_BAR_HEIGHT * size_px)))
    top = (height - bar.shape[0]) // 2
    target = panel[top : top + bar.shape[0], x : x + bar.shape[1]]
    np.copyto(target, bar[: target.shape[0], : target.shape[1]])
    x += bar.shape[1] + round(_LEGEND_GAP * size_px)
    draw_text(panel, _LEGEND_WORDS[1], (x, baseline), size_px, weight=REGULAR, color_bgr=DIM_BGR)


@lru_cache(maxsize=16)
def _color_bar(colormap: str, width: int, height: int) -> np.ndarray:
    """Returns the colors from coldest (left) to hottest: (height, width, 3) uint8, BGR."""
    colors = heat_lut(colormap).astype(np.uint8)[np.newaxis]
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_AREA)
