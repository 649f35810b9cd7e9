"""What becomes of a frame and its explanation: the picture that is shown and recorded."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live_cam.errors import unknown_name
from live_cam.frame import Explanation, Frame
from live_cam.render.caption import draw_caption
from live_cam.render.colormaps import CLASS_COLOURS_BGR, DEFAULT_COLORMAP
from live_cam.render.overlay import DEFAULT_OPACITY, HeatPainter

# What encoders, browsers and screens still take.
_WIDEST_PAIR = 3840


@dataclass(frozen=True)
class RenderSettings:
    """How the picture looks.

    Attributes:
        colormap: One of ``COLORMAPS``.
        opacity: Weight of the heatmap's colours, 0..1.
        blend: One of ``BLENDS``.
        view: One of ``VIEWS``.
        mirror: Whether the picture is turned left to right, as a mirror would show it; text is not.
        caption: Whether the explained class is written on the picture.
    """

    colormap: str = DEFAULT_COLORMAP
    opacity: float = DEFAULT_OPACITY
    blend: str = "heat"
    view: str = "overlay"
    mirror: bool = False
    caption: bool = True


class Renderer:
    """Draws explanations; keeps its scratch memory from frame to frame, so each thread needs its own.

    Attributes:
        settings: How; another look takes another renderer.

    Raises:
        SettingError: The opacity is out of range, or a name unknown.
    """

    def __init__(self, settings: RenderSettings) -> None:
        if settings.view not in VIEWS:
            raise unknown_name("view", settings.view, VIEWS)
        self.settings = settings
        self._painter = HeatPainter(settings.opacity, settings.colormap, settings.blend)
        if settings.view == "heatmap":
            self._painter = HeatPainter(1.0, settings.colormap, "constant")

        self._class_painters = [
            HeatPainter(1.0 if settings.view == "heatmap" else settings.opacity, colour, "heat")
            for colour in CLASS_COLOURS_BGR
        ]

    def draw(
        self, frame: Frame, explanation: Explanation, scale: float | None = None, with_caption: bool = True
    ) -> Frame:
        """Draws one explanation.

        Args:
            frame: What was explained; not changed.
            explanation: Of that frame; its heatmap may be smoothed.
            scale: The map's value that is drawn hottest; None = the map's own maximum.
            with_caption: Whether the caption is drawn now, where the settings want one; ``captioned`` adds it later.

        Returns:
            The picture, of ``drawn_size_wh``, with the frame's index and time.
        """
        if explanation.other_maps and self.settings.view != "original":
            image = self._painted_by_class(frame.image, explanation, scale)
        else:
            image = VIEWS[self.settings.view](self._painter, frame.image, explanation, scale)
        if self.settings.mirror:
            image = cv2.flip(image, 1)
        if self.settings.view == "split":
            raw = cv2.flip(frame.image, 1) if self.settings.mirror else frame.image
            image = _side_by_side(raw, image)
        if with_caption:
            self._write_caption(image, explanation)
        return Frame(image, frame.index, frame.time_seconds)

    def captioned(self, drawn: Frame, explanation: Explanation) -> Frame:
        """A copy of what was drawn without its caption, with it."""
        image = drawn.image.copy()
        self._write_caption(image, explanation)
        return Frame(image, drawn.index, drawn.time_seconds)

    def _write_caption(self, image: np.ndarray, explanation: Explanation) -> None:
        if self.settings.caption:
            draw_caption(image[:, image.shape[1] // 2 :] if self.settings.view == "split" else image, explanation)

    def _painted_by_class(self, image: np.ndarray, explanation: Explanation, scale: float | None) -> np.ndarray:
        """Each class in its own colour, by one scale, so that what speaks less for its class is paler."""
        heatmaps = [explanation.heatmap, *(heatmap for _, heatmap in explanation.other_maps)]
        scale = max(float(heatmap.max()) for heatmap in heatmaps) if scale is None else scale
        painted = np.zeros_like(image) if self.settings.view == "heatmap" else image.copy()
        # The explained class last: it lies on top.
        for painter, heatmap in reversed(list(zip(self._class_painters, heatmaps, strict=False))):
            painter.paint(painted, heatmap, explanation.region_xywh, scale, out=painted)
        return painted

    def drawn_size_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size of the drawn picture for frames of that size: the same, but for "split"."""
        if self.settings.view != "split":
            return size_wh
        width, height = _half_size_wh(size_wh)
        return 2 * width, height


def _overlay(painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None) -> np.ndarray:
    return painter.paint(image, explanation.heatmap, explanation.region_xywh, scale)


def _heatmap_alone(
    painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None
) -> np.ndarray:
    black = np.zeros_like(image)
    return painter.paint(black, explanation.heatmap, explanation.region_xywh, scale, out=black)


def _original(painter: HeatPainter, image: np.ndarray, explanation: Explanation, scale: float | None) -> np.ndarray:
    return image.copy()


# Each makes a new picture of the frame's size; of "split" this is the right half.
VIEWS = {"overlay": _overlay, "split": _overlay, "heatmap": _heatmap_alone, "original": _original}


def _half_size_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Size of each picture of a pair, for frames of that size."""
    width, height = size_wh
    share = min(1.0, _WIDEST_PAIR / (2 * width))
    # Encoders want an even height; that of the frame itself is the sink's business.
    return (width, height) if share == 1 else (int(width * share), 2 * round(height * share / 2))


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one size as a pair, with a thin line between them."""
    height, width = left.shape[:2]
    half_width, half_height = _half_size_wh((width, height))
    pair = np.empty((half_height, 2 * half_width, 3), np.uint8)
    for picture, half in ((left, pair[:, :half_width]), (right, pair[:, half_width:])):
        if picture.shape == half.shape:
            np.copyto(half, picture)
        else:
            cv2.resize(picture, half.shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)
    pair[:, half_width - 1 : half_width + 1] = 255
    return pair
