"""livecam shows, live, what a Keras image classifier looks at.

    explainer = live_cam.load_explainer("efficientnet-lite0")
    explanation = explainer.explain(image)
    picture = live_cam.overlay(image, explanation)
    explanations = explainer.explain_many(["a.jpg", "b.jpg"])

    for result in live_cam.stream("clip.mp4"):
        print(result.explanation.predictions[0].label)

    live_cam.annotate("clip.mp4", "annotated.mp4")

The names below are loaded when they are first used: ``import live_cam`` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from live_cam.version import __version__ as __version__

if TYPE_CHECKING:
    from live_cam.errors import DisplayError, LiveCamError, ModelError, SettingError, SinkError, SourceError
    from live_cam.explain.explainer import Explainer, ModelExplainer
    from live_cam.explain.load import load_explainer
    from live_cam.frame import Explanation, Frame, Prediction, Result
    from live_cam.jobs.api import Stream, annotate, stream
    from live_cam.jobs.outcome import Outcome, Progress
    from live_cam.render.overlay import overlay
    from live_cam.settings import (
        ArchiveSettings,
        BenchSettings,
        CameraSettings,
        EvaluationSettings,
        ExplainerSettings,
        FeedSettings,
        JobSettings,
        LimitSettings,
        OutputSettings,
        RenderSettings,
        RetrySettings,
        SearchSettings,
        ServeSettings,
        SourceSettings,
    )

_NAMES_BY_MODULE = {
    "errors": ("DisplayError", "LiveCamError", "ModelError", "SettingError", "SinkError", "SourceError"),
    "explain.explainer": ("Explainer", "ModelExplainer"),
    "explain.load": ("load_explainer",),
    "frame": ("Explanation", "Frame", "Prediction", "Result"),
    "jobs.api": ("Stream", "annotate", "stream"),
    "jobs.outcome": ("Outcome", "Progress"),
    "render.overlay": ("overlay",),
    "settings": (
        "ArchiveSettings",
        "BenchSettings",
        "CameraSettings",
        "EvaluationSettings",
        "ExplainerSettings",
        "FeedSettings",
        "JobSettings",
        "LimitSettings",
        "OutputSettings",
        "RenderSettings",
        "RetrySettings",
        "SearchSettings",
        "ServeSettings",
        "SourceSettings",
    ),
}
_HOMES = {name: f"live_cam.{module}" for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "ArchiveSettings",
    "BenchSettings",
    "CameraSettings",
    "DisplayError",
    "EvaluationSettings",
    "Explainer",
    "ExplainerSettings",
    "Explanation",
    "FeedSettings",
    "Frame",
    "JobSettings",
    "LimitSettings",
    "LiveCamError",
    "ModelError",
    "ModelExplainer",
    "Outcome",
    "OutputSettings",
    "Prediction",
    "Progress",
    "RenderSettings",
    "Result",
    "RetrySettings",
    "SearchSettings",
    "ServeSettings",
    "SettingError",
    "SinkError",
    "SourceError",
    "SourceSettings",
    "Stream",
    "annotate",
    "load_explainer",
    "overlay",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'live_cam' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
