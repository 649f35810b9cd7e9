"""``livecam render``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import with_settings
from live_cam.settings import FeedSettings, OutputSettings

Video = Annotated[Path, typer.Option("--video", metavar="PATH", help="The video that the heatmaps are of.")]
Heatmaps = Annotated[Path, typer.Option("--heatmaps", metavar="FILE.npz", help="A file that --heatmaps wrote.")]
Output = Annotated[Path, typer.Option("--output", metavar="FILE", help="The annotated video.")]
Smooth = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Half-life of the smoothing. Default: as in the recorded run."),
]


@with_settings("colormap", "opacity", "blend", "view", "mirror", "panel")
def render(
    *,
    video: Video,
    heatmaps: Heatmaps,
    output: Output,
    feed: FeedSettings,
    smooth: Smooth = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    audio: options.Audio = True,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    json_progress: options.JsonProgress = False,
) -> None:
    """Draws a video again from its heatmaps, in other colors, without running the network."""
    from live_cam.cli.console import Console
    from live_cam.cli.watch import watch_source
    from live_cam.jobs.redraw import RecordedExplainer, expected_frames, redraw_settings
    from live_cam.sinks.heatmap_reader import RecordedHeatmaps

    recorded = RecordedHeatmaps(heatmaps)
    files = OutputSettings(output, overwrite=overwrite, codec=codec, quality=quality, audio=audio, show=False)
    feed = feed if smooth is None else replace(feed, smooth_seconds=smooth)
    settings = redraw_settings(recorded, video, feed, files, keeps_smoothing=smooth is None)
    explainer = RecordedExplainer(recorded)
    console = Console(quiet, json_progress)
    watch_source(settings, console, os.environ, lambda frame: explainer, expected_frames(recorded))
