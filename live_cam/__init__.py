"""livecam shows, live, what a Keras image classifier looks at.

    explainer = live_cam.load_explainer("efficientnet-lite0")
    explanation = explainer.explain(image)
    picture = live_cam.overlay(image, explanation)

The names below are loaded when they are first used: ``import live_cam`` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from live_cam.errors import LiveCamError
    from live_cam.explainer import Explainer
    from live_cam.frame import Explanation, Frame, Prediction, Result
    from live_cam.loading import load_explainer
    from live_cam.render.overlay import overlay

__version__ = "0.1.0"

_HOMES = {
    "Explainer": "live_cam.explainer",
    "Explanation": "live_cam.frame",
    "Frame": "live_cam.frame",
    "LiveCamError": "live_cam.errors",
    "Prediction": "live_cam.frame",
    "Result": "live_cam.frame",
    "load_explainer": "live_cam.loading",
    "overlay": "live_cam.render.overlay",
}

__all__ = [
    "Explainer",
    "Explanation",
    "Frame",
    "LiveCamError",
    "Prediction",
    "Result",
    "load_explainer",
    "overlay",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'live_cam' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
