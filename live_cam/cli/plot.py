"""``livecam plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live_cam.cli import options

SidecarFile = Annotated[Path, typer.Option("--sidecar", metavar="FILE", help="A sidecar, .jsonl or .csv.")]
Figure = Annotated[
    Path,
    typer.Option("--output", metavar="FILE.png", help="The figure; also .pdf or .svg. Needs matplotlib."),
]
Thumbnails = Annotated[
    Path | None, typer.Option("--video", metavar="PATH", help="Its video, for thumbnails above the curves.")
]


def plot(
    sidecar: SidecarFile,
    output: Figure,
    video: Thumbnails = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Draws what the network saw in a video over time: probabilities, the explained class, where its evidence lies."""
    from live_cam.evaluation.timeline_plot import plot_timeline

    plot_timeline(sidecar, output, video, overwrite)
    if not quiet:
        print(output)
