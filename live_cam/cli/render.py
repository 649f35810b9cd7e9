"""``livecam render``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live_cam.cli import options

RecordedVideo = Annotated[Path, typer.Option("--video", metavar="PATH", help="The video the heatmaps were made of.")]
Recorded = Annotated[Path, typer.Option("--heatmaps", metavar="FILE.npz", help="What --heatmaps wrote.")]
Drawn = Annotated[Path, typer.Option("--output", metavar="FILE", help="The annotated video.")]
SmoothAgain = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Half-life of the heat; as in the recorded run if not given."),
]


def render(
    video: RecordedVideo,
    heatmaps: Recorded,
    output: Drawn,
    colormap: options.Colormap = "turbo",
    opacity: options.Opacity = 0.6,
    blend: options.Blend = "heat",
    smooth: SmoothAgain = None,
    view: options.View = "overlay",
    mirror: options.Mirror = False,
    codec: options.Codec = None,
    quality: options.Quality = None,
    audio: options.Audio = True,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    json_progress: options.JsonProgress = False,
) -> None:
    """Draws a video again from its heatmaps, in other colours, without running the network."""
    from live_cam.cli.watching import watch_source
    from live_cam.recorded import RecordedMaps
    from live_cam.render.views import RenderSettings
    from live_cam.run.rerender import drawing_again, recorded_explanations
    from live_cam.run.session import OutputSettings

    maps = RecordedMaps(heatmaps)
    made = OutputSettings(
        output, overwrite=overwrite, codec=codec, quality=quality, audio=audio, show=False
    )  # fmt: skip
    session = drawing_again(maps, video, RenderSettings(colormap, opacity, blend, view, mirror), made, smooth)
    watch_source(session, quiet, json_progress, recorded_explanations(maps))
