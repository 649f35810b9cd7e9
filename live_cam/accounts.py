"""What a run tells of itself in its files: the report, and the facts beside the heatmaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from live_cam.pipeline import Pipeline
    from live_cam.session import SessionSettings
    from live_cam.sources import Source


def run_report(source: Source, pipeline: Pipeline) -> dict[str, Any]:
    """What ``--report`` holds."""
    explainer = pipeline.explainer
    about: dict[str, Any] = dict.fromkeys(("model", "engine", "engine_reason", "layer", "method"))
    if explainer is not None:
        about = {
            "model": explainer.model_name,
            "engine": explainer.engine_name,
            "engine_reason": explainer.facts.engine_reason,
            "layer": explainer.facts.layer,
            "method": explainer.method,
        }
    return {"source": source.name, **about, **pipeline.meter.report()}


def heatmap_facts(settings: SessionSettings, source: Source, pipeline: Pipeline) -> dict[str, Any]:
    """What ``--heatmaps`` holds beside the maps: where they are from, and what it takes to draw them alike."""
    explainer, wanted = pipeline.explainer, settings.source
    if explainer is None:
        return {}
    return {
        "source": source.name,
        "model": explainer.model_name,
        "layer": explainer.facts.layer,
        "method": explainer.method,
        "input_size_wh": np.array(explainer.facts.input_size_wh, np.int64),
        "fit": settings.explainer.get("fit", "stretch"),
        "smooth_seconds": settings.smooth_seconds,
        "start_seconds": wanted.start_seconds or 0.0,
        "end_seconds": np.inf if wanted.end_seconds is None else wanted.end_seconds,
        "max_frames": -1 if wanted.max_frames is None else wanted.max_frames,
    }
