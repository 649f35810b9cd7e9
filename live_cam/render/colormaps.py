"""The colours that heat is drawn in."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from live_cam.errors import unknown_name

# Perceptually even ones first. Jet is what most Grad-CAM figures in print use.
COLORMAPS = {
    "turbo": cv2.COLORMAP_TURBO,
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "parula": cv2.COLORMAP_PARULA,
    "jet": cv2.COLORMAP_JET,
    "hot": cv2.COLORMAP_HOT,
    "bone": cv2.COLORMAP_BONE,
    "deepgreen": cv2.COLORMAP_DEEPGREEN,
}

# One colour a class where several are explained at once: far apart, also for most who see few colours (Okabe and Ito).
CLASS_COLOURS_BGR = {
    "orange": (0, 130, 240),
    "blue": (230, 150, 40),
    "green": (115, 190, 40),
    "purple": (200, 110, 210),
    "yellow": (66, 228, 240),
}

DEFAULT_COLORMAP = "turbo"

# The last part of the rainbow maps turns dark: half transparent, the hottest spot would look like a bruise.
_HOTTEST_BRIGHT_INDEX = {"turbo": 224, "jet": 224}


@cache
def colormap_lut(name: str) -> np.ndarray:
    """The table of a colormap's colours; read-only, shared by all who ask.

    Args:
        name: One of ``COLORMAPS``, or of ``CLASS_COLOURS_BGR`` for a table of one colour.

    Returns:
        (256, 3) uint8, BGR, coldest first.

    Raises:
        SettingError: There is no colormap of that name; the message has the nearest ones.
    """
    if name not in COLORMAPS and name not in CLASS_COLOURS_BGR:
        raise unknown_name("colormap", name, COLORMAPS)
    if name in COLORMAPS:
        lut = cv2.applyColorMap(np.arange(256, dtype=np.uint8), COLORMAPS[name]).reshape(256, 3)
    else:
        lut = np.tile(np.array(CLASS_COLOURS_BGR[name], np.uint8), (256, 1))
    lut.flags.writeable = False
    return lut


@cache
def heat_lut(name: str) -> np.ndarray:
    """The colours of a colormap up to its brightest red, for heat that is blended with a picture.

    Args:
        name: One of ``COLORMAPS``.

    Returns:
        (256, 3) float64, BGR, 0..255, coldest first.

    Raises:
        SettingError: There is no colormap of that name.
    """
    lut = colormap_lut(name).astype(np.float64)
    at = np.linspace(0, _HOTTEST_BRIGHT_INDEX.get(name, 255), 256)
    return np.stack([np.interp(at, np.arange(256), channel) for channel in lut.T], axis=1)
