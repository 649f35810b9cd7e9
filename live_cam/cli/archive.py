"""``livecam archive``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import with_settings
from live_cam.errors import SettingError
from live_cam.settings import ArchiveSettings, ExplainerSettings, FeedSettings

if TYPE_CHECKING:
    from live_cam.archive.outcome import ArchiveOutcome

_ARCHIVE, _WORKERS = "Archive", "Workers"
_INTERRUPTED_CODE = 130
_MOST_LISTED = 20

Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO|FOLDER|GLOB|LIST.txt...",
        help="Videos, folders with everything below them, patterns, or text files with a video per line.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        metavar="INDEX/", help="The folder of the index; one that exists is completed.", rich_help_panel=_ARCHIVE
    ),
]
Maps = Annotated[
    bool, typer.Option("--maps", metavar="", help="Store all heatmaps. Default: not.", rich_help_panel=_ARCHIVE)
]
Annotate = Annotated[
    bool,
    typer.Option(
        "--annotate",
        metavar="",
        help="Make an annotated video of each video, too. Default: not.",
        rich_help_panel=_ARCHIVE,
    ),
]
Every = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.001,
        help="Explain one frame in this time. Default: all frames.",
        rich_help_panel=_ARCHIVE,
    ),
]
SegmentMinutes = Annotated[
    float,
    typer.Option(
        metavar="N",
        min=0.01,
        help="Length of the parts that are explained at the same time, and that a killed worker begins again.",
        rich_help_panel=_WORKERS,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Number of processes. Default: one per core.", rich_help_panel=_WORKERS),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Use a Ray cluster: its address, auto (the one of this machine) or local (a new one). The index and the "
        "videos must have the same paths on all its machines. Default: processes of this machine.",
        rich_help_panel=_WORKERS,
    ),
]
Retries = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Try a failed part N more times.", rich_help_panel=_WORKERS),
]


@with_settings(
    "model", "weights", "labels", "preprocess", "output_name", "unsafe", "custom_objects", "fit", "input_size",
    "engine", "precision", "calibrate", "target", "contrast", "method", "layer", "score",
)  # fmt: skip
def archive(
    *,
    videos: Videos,
    output: Output,
    maps: Maps = False,
    annotate: Annotate = False,
    every: Every = None,
    segment_minutes: SegmentMinutes = 5,
    workers: Workers = None,
    ray: Ray = None,
    retries: Retries = 2,
    explainer: ExplainerSettings,
    feed: FeedSettings,
    quiet: options.Quiet = False,
    json_progress: options.JsonProgress = False,
) -> None:
    """Explains many videos on all cores, or many machines, and makes an index of what the network saw where.

    The same command again continues an index. livecam search looks into it; pandas, polars and DuckDB read it, too.
    """
    try:
        from live_cam.archive.archive import run_archive
    except ImportError as error:
        raise SettingError(f'an archive needs the package {error.name}: pip install ".[archive]"') from None
    from live_cam.cli.console import Console
    from live_cam.cli.interrupts import Interrupts
    from live_cam.jobs.outcome import JobContext

    # Ray reads it when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = ArchiveSettings(
        videos=tuple(videos),
        output=output,
        explainer=explainer,
        target=feed.target,
        maps=maps,
        annotate=annotate,
        every_seconds=every,
        segment_minutes=segment_minutes,
        workers=workers,
        ray=ray,
        retries=retries,
    )
    interrupts = Interrupts(sys.stderr)
    interrupts.install()
    with Console(quiet, json_progress) as console:
        context = JobContext(console.line, console.line, stop=interrupts.stop)
        outcome = run_archive(settings, context, console.archive_progress)
        console.end_job()
    console.result(summary(outcome, output))
    if outcome.failures:
        for line in _failure_lines(outcome):
            console.error(line)
    if outcome.was_interrupted:
        raise typer.Exit(_INTERRUPTED_CODE)
    if outcome.failures:
        raise typer.Exit(1)


def summary(outcome: ArchiveOutcome, output: Path) -> str:
    """Returns a line about a finished run."""
    parts = [f"{outcome.done} video{'s' * (outcome.done != 1)} explained"]
    if outcome.skipped:
        parts.append(f"{outcome.skipped} done before")
    if outcome.failures:
        parts.append(f"{len(outcome.failures)} failed")
    speed = outcome.media_seconds / outcome.wall_seconds if outcome.wall_seconds else 0.0
    shown_speed = f", {speed:.1f} h of video per hour" if outcome.media_seconds else ""
    end = "; interrupted, the same command continues" if outcome.was_interrupted else ""
    return f"{output}: {', '.join(parts)}; {outcome.row_count} rows{shown_speed}{end}"


def _failure_lines(outcome: ArchiveOutcome) -> list[str]:
    lines = [f"  {line}" for line in outcome.failures[:_MOST_LISTED]]
    more = len(outcome.failures) - _MOST_LISTED
    return ["failed:", *lines, *([f"  ... and {more} more; videos.parquet has them all"] if more > 0 else [])]
