"""What a run tells of itself: what came of it, its report, and the facts beside its heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from live_cam.frame import Explanation
    from live_cam.run.pipeline import Pipeline
    from live_cam.run.session import SessionSettings
    from live_cam.sinks import Sink
    from live_cam.sources import Source


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it.

    Attributes:
        frames_explained: How many.
        frame_total_estimate: How many the source promised, if it did.
        fps: Explained frames a second; None for less than two.
        wall_seconds: From opening the source to the end.
        made: The files that carry their final names.
        kept: The unfinished ones that can be played or read.
        was_interrupted: Whether Ctrl-C or SIGTERM ended it.
        last_explanation: Of the last frame.
    """

    frames_explained: int
    frame_total_estimate: int | None
    fps: float | None
    wall_seconds: float
    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    was_interrupted: bool
    last_explanation: Explanation | None


def outcome_of(
    pipeline: Pipeline, sinks: Sequence[Sink], total: int | None, is_complete: bool, was_interrupted: bool
) -> Outcome:
    """What came of a run.

    Args:
        pipeline: After its end.
        sinks: Finished or closed.
        total: How many frames were expected.
        is_complete: Whether the sinks were finished.
        was_interrupted: Whether the user ended it.
    """
    return Outcome(
        frames_explained=pipeline.meter.frames_explained,
        frame_total_estimate=total,
        fps=pipeline.meter.fps,
        wall_seconds=pipeline.meter.wall_seconds,
        made=tuple(sink.path for sink in sinks if is_complete and sink.path.exists()),
        kept=tuple(sink.partial_path for sink in sinks if not is_complete and sink.partial_path.exists()),
        was_interrupted=was_interrupted,
        last_explanation=pipeline.last_explanation,
    )


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
