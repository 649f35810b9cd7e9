"""Evidence for each class at a clicked place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live_cam.frame import Explanation
from live_cam.render.caption import has_evidence
from live_cam.render.grid import Grid
from live_cam.render.layout import Panel, area_of
from live_cam.render.spline import evaluate, spline_coefficients, spline_weights
from live_cam.render.text import ACCENT_BGR, DIM_BGR, TextLine, TextPanel, margin_px
from live_cam.settings import RenderSettings

# Relative to the text size.
_RING_RADIUS = 0.55


@dataclass(frozen=True)
class SpotReading:
    """The evidence at one place.

    Attributes:
        image_xy: The place, as fractions of the annotated image's width and height.
        shares: Labels, each with its heatmap's value at the place relative to the maximum of all heatmaps, in [0, 1];
            None if the heatmap has no evidence. Empty if the network did not see this place.
    """

    image_xy: tuple[float, float]
    shares: tuple[tuple[str, float | None], ...]


def read_spot(
    explanation: Explanation, frame_xy: tuple[float, float], settings: RenderSettings, drawn_count: int = 1
) -> SpotReading:
    """Reads the value of each heatmap at a place.

    Args:
        explanation: Of one class or of several.
        frame_xy: The place, as fractions of the frame's width and height.
        settings: How the frame is drawn.
        drawn_count: Number of classes that are drawn.
    """
    left, top, width, height = explanation.region_xywh
    x, y = (frame_xy[0] - left) / width, (frame_xy[1] - top) / height
    maps = [(explanation.explained, explanation.heatmap), *explanation.other_maps]
    is_seen = 0 <= x <= 1 and 0 <= y <= 1
    strongest = max((float(heatmap.max()) for _, heatmap in maps if has_evidence(heatmap)), default=1.0)
    share_of_peak = _bilinear_share if settings.blend == "constant" else _smooth_share

    def share_of_strongest(heatmap: np.ndarray) -> float | None:
        share = share_of_peak(heatmap, x, y)
        return None if share is None else share * float(heatmap.max()) / strongest

    shares = tuple((prediction.label, share_of_strongest(heatmap)) for prediction, heatmap in maps if is_seen)
    return SpotReading(image_xy_of(frame_xy, settings, drawn_count), shares)


def frame_xy_of(image_xy: tuple[float, float], settings: RenderSettings, class_count: int = 1) -> tuple[float, float]:
    """Returns the place of the frame that is drawn at a place of the annotated image; both as fractions.

    Args:
        image_xy: The place in the annotated image.
        settings: How the frame is drawn.
        class_count: How many classes are explained at once.
    """
    x, y = image_xy
    if settings.view == "split":
        x = 2 * x % 1.0
    elif settings.view == "grid":
        x, y = Grid.of_classes(class_count).tile_xy_of((x, y))
    return (1 - x if settings.mirror else x), y


def image_xy_of(frame_xy: tuple[float, float], settings: RenderSettings, class_count: int = 1) -> tuple[float, float]:
    """Returns where a place of the frame is drawn; with several images, in the one with the explained class's heat."""
    x, y = frame_xy
    x = 1 - x if settings.mirror else x
    if settings.view == "grid":
        return Grid.of_classes(class_count).xy_of((x, y))
    return (0.5 + x / 2 if settings.view == "split" else x), y


def _smooth_share(heatmap: np.ndarray, x: float, y: float) -> float | None:
    """Returns the spline's value relative to the map's maximum, as it is drawn.

    Args:
        heatmap: (h, w) float.
        x: Horizontal position, as a fraction of the map's width.
        y: Vertical position, as a fraction of the map's height.
    """
    if not has_evidence(heatmap):
        return None
    relative = np.clip(heatmap / heatmap.max(), 0, 1).astype(np.float32)
    down, across = (
        spline_weights(np.array([share * count - 0.5]), count)
        for share, count in zip((y, x), heatmap.shape, strict=True)
    )
    return min(float(evaluate(spline_coefficients(relative), down, across)[0, 0]), 1.0)


def _bilinear_share(heatmap: np.ndarray, x: float, y: float) -> float | None:
    """Returns the same for maps that are enlarged bilinearly between cell centers."""
    if not has_evidence(heatmap):
        return None
    rows, columns = heatmap.shape
    column, row = (min(max(share * count - 0.5, 0), count - 1) for share, count in ((x, columns), (y, rows)))
    left, top = int(column), int(row)
    corners = heatmap[top : top + 2, left : left + 2].astype(np.float64)
    down = np.array([1 - (row - top), row - top])[: corners.shape[0]]
    across = np.array([1 - (column - left), column - left])[: corners.shape[1]]
    return float(down @ corners @ across) / float(heatmap.max())


def draw_spot(image: np.ndarray, spot: SpotReading, size_px: int) -> None:
    """Draws a ring at the place.

    Args:
        image: (height, width, 3) uint8, BGR; drawn into.
        spot: What is drawn.
        size_px: Height of the text beside it.
    """
    center_xy = _center_xy(spot, image.shape)
    radius = _ring_radius_px(size_px)
    cv2.circle(image, center_xy, radius + 1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.circle(image, center_xy, radius, ACCENT_BGR, 2, cv2.LINE_AA)


def spot_panel(image: np.ndarray, spot: SpotReading, size_px: int) -> Panel:
    """Returns the panel with the reading: beside the ring, or else above or below it.

    Args:
        image: (height, width, 3) uint8, BGR; the panel is drawn into it.
        spot: What the panel shows.
        size_px: Height of the text.
    """
    lines = [TextLine("evidence here, of the strongest", color_bgr=DIM_BGR)] if spot.shares else []
    lines += [TextLine(label, _share_text(share)) for label, share in spot.shares]
    lines = lines or [TextLine("the network does not see this place", color_bgr=DIM_BGR)]
    height, width = image.shape[:2]
    margin = margin_px(size_px)
    text_panel = TextPanel.fit(lines, width - 2 * margin, size_px)
    panel_width, panel_height = text_panel.size_wh
    x, y = _center_xy(spot, image.shape)
    distance = _ring_radius_px(size_px) + margin
    left = min(max(x - panel_width // 2, margin), width - margin - panel_width)
    top = min(max(y - panel_height // 2, margin), height - margin - panel_height)
    right_of, left_of = (x + distance, top), (x - distance - panel_width, top)
    corners = [left_of, right_of] if x > width / 2 else [right_of, left_of]
    # Where other panels are in the way, further up or down.
    for further in range(distance, height, size_px):
        corners += [(left, y - further - panel_height), (left, y + further)]
    places = [(*corner, panel_width, panel_height) for corner in corners]
    return Panel(places, lambda box: text_panel.draw(area_of(image, box)))


def _center_xy(spot: SpotReading, image_shape: tuple[int, ...]) -> tuple[int, int]:
    return round(spot.image_xy[0] * image_shape[1]), round(spot.image_xy[1] * image_shape[0])


def _ring_radius_px(size_px: int) -> int:
    return max(4, round(_RING_RADIUS * size_px))


def _share_text(share: float | None) -> str:
    return "no evidence" if share is None else f"{100 * share:.0f} %"
