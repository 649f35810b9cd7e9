"""Draws the annotated image that is shown and recorded, from an image and its explanation."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from live_cam.errors import unknown_name
from live_cam.frame import Explanation
from live_cam.render.caption import class_lines, draw_caption
from live_cam.render.class_panel import draw_class_panel
from live_cam.render.colormaps import class_colors_bgr
from live_cam.render.contours import draw_contour, line_thickness_px
from live_cam.render.grid import Grid
from live_cam.render.hud import hud_text_size_px
from live_cam.render.overlay import HeatPainter
from live_cam.render.text import draw_text_panel
from live_cam.settings import RenderSettings

# The widest image that common encoders, browsers and screens handle.
_WIDEST_PAIR = 3840
# A class has no contour line if its peak is below this share of what is drawn hottest.
_LEAST_PEAK = 0.05
_BOTTOM_LEFT_XY = (0.0, 1.0)


class Renderer:
    """Draws explanations. May be called from several threads, which then take turns.

    Attributes:
        settings: How the annotated image looks; to change it, make another renderer.

    Raises:
        SettingError: The opacity is out of range, or a name is unknown.
    """

    def __init__(self, settings: RenderSettings) -> None:
        if not isinstance(settings.view, str) or settings.view not in VIEWS:
            raise unknown_name("view", settings.view, VIEWS)
        self.settings = settings
        # Also for the view that uses neither opacity nor blend, so that wrong ones are found.
        self._painter = HeatPainter(settings.opacity, settings.colormap, settings.blend)
        if settings.view == "heatmap":
            self._painter = HeatPainter(1.0, settings.colormap, "constant", is_smooth=settings.blend == "heat")
        # The painters reuse their scratch memory.
        self._lock = threading.Lock()

    def draw(
        self,
        image: np.ndarray,
        explanation: Explanation,
        scale: float | None = None,
        caption: bool = True,
        in_place: bool = False,
    ) -> np.ndarray:
        """Draws one explanation.

        Args:
            image: (height, width, 3) uint8, BGR, the explained frame.
            explanation: What is drawn; its heatmaps may be smoothed over time.
            scale: Heatmap value that is drawn hottest. Default: the heatmap's own maximum.
            caption: Whether the caption or the panel is drawn, if the settings ask for one. The grid keeps its labels:
                they say what its images are of.
            in_place: Whether the image itself may be drawn on. Default: it is not changed.

        Returns:
            A uint8 BGR image of ``output_size_wh``, a new one unless ``in_place``.
        """
        with self._lock:
            if self.settings.view == "grid":
                return self._draw_grid(image, explanation, scale)
            is_split = self.settings.view == "split"
            out = image if in_place and not is_split else np.empty_like(image)
            drawn = self._draw_view(image, explanation, scale, out)
        if self.settings.mirror:
            drawn = cv2.flip(drawn, 1)
        if is_split:
            drawn = _side_by_side(cv2.flip(image, 1) if self.settings.mirror else image, drawn)
        annotated = drawn[:, drawn.shape[1] // 2 :] if is_split else drawn
        if caption and self.settings.panel:
            draw_class_panel(annotated, explanation, hud_text_size_px(annotated.shape))
        elif caption and self.settings.caption:
            draw_caption(annotated, explanation)
        return drawn

    def output_size_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Returns the size of the annotated image for images of that size: the same, except for "split"."""
        if self.settings.view != "split":
            return size_wh
        width, height = _half_size_wh(size_wh)
        return 2 * width, height

    def _draw_view(
        self, image: np.ndarray, explanation: Explanation, scale: float | None, out: np.ndarray
    ) -> np.ndarray:
        """Draws the view without text, not mirrored: heat for one class, contour lines for several; returns ``out``."""
        view = self.settings.view
        if not explanation.other_maps or view == "original":
            return VIEWS[view](self._painter, image, explanation, scale, out)
        heatmaps, scale = _maps_and_scale(explanation, scale)
        drawn = VIEWS["heatmap" if view == "heatmap" else "original"](self._painter, image, explanation, scale, out)
        # The explained class last: it lies on top.
        for heatmap, color_bgr in reversed(list(zip(heatmaps, class_colors_bgr(explanation), strict=True))):
            if heatmap.max() >= _LEAST_PEAK * scale:
                draw_contour(drawn, heatmap, color_bgr, explanation.region_xywh)
        return drawn

    def _draw_grid(self, image: np.ndarray, explanation: Explanation, scale: float | None) -> np.ndarray:
        """Draws the heat of each class on its own small image, all by one scale; the frame itself in a free place."""
        heatmaps, scale = _maps_and_scale(explanation, scale)
        size_wh = image.shape[1], image.shape[0]
        boxes_xywh = Grid.of_classes(len(heatmaps)).boxes_xywh(size_wh)
        small = cv2.resize(image, boxes_xywh[0][2:], interpolation=cv2.INTER_AREA)
        tiles = [self._painter.paint(small, heatmap, explanation.region_xywh, scale) for heatmap in heatmaps]
        tiles = [cv2.flip(tile, 1) if self.settings.mirror else tile for tile in [*tiles, small]]
        # The explanation has no line for the frame, which is last.
        for tile, lines, color_bgr in zip(tiles, class_lines(explanation), class_colors_bgr(explanation), strict=False):
            if explanation.other_maps:
                tile[: 1 + 2 * line_thickness_px(tile.shape)] = color_bgr
            if self.settings.caption:
                draw_text_panel(tile, lines, _BOTTOM_LEFT_XY)
        canvas = np.zeros_like(image)
        for (left, top, width, height), tile in zip(boxes_xywh, tiles, strict=False):
            place = canvas[top : top + height, left : left + width]
            np.copyto(place, tile[: place.shape[0], : place.shape[1]])
        return canvas


def _maps_and_scale(explanation: Explanation, scale: float | None) -> tuple[list[np.ndarray], float]:
    """Returns all maps, and the heatmap value that is drawn hottest in each of them."""
    heatmaps = [explanation.heatmap, *(heatmap for _, heatmap in explanation.other_maps)]
    return heatmaps, max(float(heatmap.max()) for heatmap in heatmaps) if scale is None else scale


def _overlay(
    painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None, out: np.ndarray
) -> np.ndarray:
    return painter.paint(image, explanation.heatmap, explanation.region_xywh, scale, out)


def _heatmap_alone(
    painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None, out: np.ndarray
) -> np.ndarray:
    out[:] = 0
    return painter.paint(out, explanation.heatmap, explanation.region_xywh, scale, out)


def _original(
    painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None, out: np.ndarray
) -> np.ndarray:
    if out is not image:
        np.copyto(out, image)
    return out


# Each draws into an image of the same size, which may be the frame itself: for "split" the right half, for "grid" one
# of the small images.
VIEWS = {
    "overlay": _overlay,
    "split": _overlay,
    "grid": _overlay,
    "heatmap": _heatmap_alone,
    "original": _original,
}


def _half_size_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Returns the size of each half of a pair, for images of that size."""
    width, height = size_wh
    scale = min(1.0, _WIDEST_PAIR / (2 * width))
    # Encoders want an even height. A height that is not changed here is left to the video sink.
    return (width, height) if scale == 1 else (int(width * scale), 2 * round(height * scale / 2))


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns two images of one size next to each other, with a thin line between them."""
    height, width = left.shape[:2]
    half_width, half_height = _half_size_wh((width, height))
    pair = np.empty((half_height, 2 * half_width, 3), np.uint8)
    for image, half in ((left, pair[:, :half_width]), (right, pair[:, half_width:])):
        if image.shape == half.shape:
            np.copyto(half, image)
        else:
            cv2.resize(image, half.shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)
    pair[:, half_width - 1 : half_width + 1] = 255
    return pair
