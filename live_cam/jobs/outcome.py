"""Progress, result and report of a job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Explanation
    from live_cam.pipeline.feed import Feed
    from live_cam.settings import JobSettings


@dataclass(frozen=True)
class Progress:
    """Progress of a running job.

    Attributes:
        stage: "preparing" the model, "explaining" frames, or "finishing" the files.
        engine_name: The engine, with the precision if that is int8; empty until the model is ready.
        frames_explained: Number of explained frames.
        frames_written: Number of frames written to all files.
        frames_total: Expected number of frames; None if unknown.
        time_seconds: Time of the last written frame; None before it.
        fps: Explained frames per second, recently; None before two frames.
        mean_fps: Explained frames per second of the whole job; None before two frames.
    """

    stage: str = "preparing"
    engine_name: str = ""
    frames_explained: int = 0
    frames_written: int = 0
    frames_total: int | None = None
    time_seconds: float | None = None
    fps: float | None = None
    mean_fps: float | None = None


@dataclass(frozen=True)
class JobContext:
    """Connects a job to its caller: callbacks, the stop event and the environment.

    Attributes:
        on_line: Called with a line that the user should know.
        on_build: Called, from any thread, with a line before loading or converting a model takes long.
        on_progress: Called up to 50 times per second.
        stop: Set it to end the job: a live job completes its files, a file job leaves playable unfinished ones.
        environment: The process's environment variables: they tell whether there is a screen.
    """

    on_line: Callable[[str], None] = lambda line: None
    on_build: Callable[[str], None] = lambda line: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    stop: threading.Event = field(default_factory=threading.Event)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of a finished job.

    Attributes:
        frames_explained: Number of explained frames.
        frame_count: Number of frames in the first file, the output if there is one; without files, of explained ones.
        frames_resumed: How many of these an earlier run had written.
        frames_total: How many frames the source promised; None if it promised none.
        fps: Explained frames per second; None for fewer than two frames.
        wall_seconds: Duration of the job.
        made: The files with their final names.
        kept: Unfinished files that can be played or read.
        can_resume: Whether ``resume`` continues the unfinished output.
        was_interrupted: Whether a signal or ``JobContext.stop`` ended the job.
        was_finished: Whether an earlier run had finished the job, so that nothing was done.
        last_explanation: Of the last frame; None if there was none.
    """

    frames_explained: int = 0
    frame_count: int = 0
    frames_resumed: int = 0
    frames_total: int | None = None
    fps: float | None = None
    wall_seconds: float = 0.0
    made: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    can_resume: bool = False
    was_interrupted: bool = False
    was_finished: bool = False
    last_explanation: Explanation | None = None


def job_report(feed: Feed, explainer: Explainer | None) -> dict[str, Any]:
    """Returns what ``--report`` holds."""
    model: dict[str, Any] = dict.fromkeys(("model", "engine", "engine_reason", "precision", "layer", "method"))
    if explainer is not None:
        model = {
            "model": explainer.model_name,
            "engine": explainer.engine_name,
            "engine_reason": explainer.engine_reason,
            "precision": explainer.precision,
            "layer": explainer.layer,
            "method": explainer.method,
        }
    return {"source": feed.source.name, **model, **feed.stats.report()}


def heatmap_metadata(settings: JobSettings, source_name: str, explainer: Explainer | None) -> dict[str, Any]:
    """Returns what ``--heatmaps`` holds beside the maps: their origin, and what it takes to draw them again."""
    if explainer is None:
        return {}
    source = settings.source
    return {
        "source": source_name,
        "model": explainer.model_name,
        "layer": explainer.layer,
        "method": explainer.method,
        "input_size_wh": np.array(explainer.input_size_wh, np.int64),
        "fit": explainer.fit,
        "smooth_seconds": settings.feed.smooth_seconds,
        "start_seconds": source.start_seconds or 0.0,
        "end_seconds": np.inf if source.end_seconds is None else source.end_seconds,
        "max_frames": -1 if source.max_frames is None else source.max_frames,
    }
