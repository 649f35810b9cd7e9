"""The colors that heatmaps are drawn in."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from live_cam.errors import unknown_name
from live_cam.frame import Explanation

# Perceptually uniform ones first. Most published Grad-CAM figures use jet.
COLORMAPS = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "parula": cv2.COLORMAP_PARULA,
    "turbo": cv2.COLORMAP_TURBO,
    "jet": cv2.COLORMAP_JET,
    "hot": cv2.COLORMAP_HOT,
    "bone": cv2.COLORMAP_BONE,
    "deepgreen": cv2.COLORMAP_DEEPGREEN,
}

# One color per class if several are explained at once; color-blind viewers can tell them apart (after Okabe and Ito).
CLASS_COLORS_BGR = {
    "orange": (0, 130, 240),
    "blue": (230, 150, 40),
    "green": (115, 190, 40),
    "purple": (200, 110, 210),
    "yellow": (66, 228, 240),
}

# The part of a colormap that is blended with images, (coldest, hottest). A dark color would look like a shadow or a
# bruise, and the palest yellow like a reflection of light.
_BLENDED_INDICES = {"inferno": (76, 230), "magma": (90, 245), "plasma": (25, 242), "turbo": (0, 224), "jet": (0, 224)}


def class_colors_bgr(explanation: Explanation) -> list[tuple[int, int, int]]:
    """Returns the colors of the explained class and of the classes of ``other_maps``; they repeat if there are more."""
    colors = list(CLASS_COLORS_BGR.values())
    indices = explanation.color_indices or range(1 + len(explanation.other_maps))
    return [colors[index % len(colors)] for index in indices]


@cache
def colormap_lut(name: str) -> np.ndarray:
    """Returns the color table of a colormap. It is read-only and shared by all callers.

    Args:
        name: One of ``COLORMAPS``.

    Returns:
        (256, 3) uint8, BGR, coldest first.

    Raises:
        SettingError: The name is unknown; the message suggests the nearest ones.
    """
    if name not in COLORMAPS:
        raise unknown_name("colormap", name, COLORMAPS)
    lut = cv2.applyColorMap(np.arange(256, dtype=np.uint8), COLORMAPS[name]).reshape(256, 3)
    lut.flags.writeable = False
    return lut


@cache
def heat_lut(name: str) -> np.ndarray:
    """Returns the colors of a colormap without its darkest ones, for heat that is blended with an image.

    Args:
        name: As for ``colormap_lut``.

    Returns:
        (256, 3) float64, BGR, in [0, 255], coldest first.

    Raises:
        SettingError: The name is unknown.
    """
    lut = colormap_lut(name).astype(np.float64)
    indices = np.linspace(*_BLENDED_INDICES.get(name, (0, 255)), 256)
    return np.stack([np.interp(indices, np.arange(256), channel) for channel in lut.T], axis=1)
