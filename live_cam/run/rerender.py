"""Draws a recording again from its heatmaps, in other colours and without its network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from live_cam.recorded import RecordedExplainer, RecordedMaps
from live_cam.render.views import RenderSettings
from live_cam.run.session import OutputSettings, SessionSettings, SourceSettings
from live_cam.sources.matched import ExpectedFrames

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Frame


def drawing_again(
    maps: RecordedMaps,
    video: Path,
    render: RenderSettings,
    output: OutputSettings,
    smooth_seconds: float | None = None,
) -> SessionSettings:
    """The job; run it with ``recorded_explanations`` in place of a model.

    Args:
        maps: Of the recording.
        video: The recording.
        render: How the picture looks.
        output: What is made.
        smooth_seconds: Half-life of the heatmaps; None: as when the maps were made.
    """
    end_seconds, max_frames = float(maps.arrays["end_seconds"]), int(maps.arrays["max_frames"])
    source = SourceSettings(
        video=str(video),
        start_seconds=float(maps.arrays["start_seconds"]) or None,
        end_seconds=None if end_seconds == float("inf") else end_seconds,
        max_frames=None if max_frames < 0 else max_frames,
        expected=ExpectedFrames(maps.path, maps.frame_size_wh, maps.times_seconds, are_first=len(maps) == max_frames),
    )
    smooth = float(maps.arrays["smooth_seconds"]) if smooth_seconds is None else smooth_seconds
    return SessionSettings(source, render=render, output=output, smooth_seconds=smooth)


def recorded_explanations(maps: RecordedMaps) -> Callable[[Frame], Explainer]:
    """What ``run_session`` takes as ``load``: explanations that were made before."""
    # It has what a pipeline without a window asks of an explainer.
    return lambda frame: cast("Explainer", RecordedExplainer(maps))
