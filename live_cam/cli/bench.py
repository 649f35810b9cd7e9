"""``livecam bench``."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import with_settings
from live_cam.settings import ExplainerSettings

if TYPE_CHECKING:
    from live_cam.bench import BenchResult

Video = Annotated[
    str | None,
    typer.Option(metavar="PATH|URL", rich_help_panel="Source", help="A video file, or an rtsp:// or http(s):// URL."),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Resize the frames. Default: the source's own size; 640x480 for the demo."),
]
Frames = Annotated[int, typer.Option(metavar="N", min=2, help="Number of frames that each figure is measured on.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")]


@with_settings(
    "model", "weights", "labels", "preprocess", "custom_objects", "engine", "threads", "precision", "calibrate",
    "method", "layer",
)  # fmt: skip
def bench(
    *,
    webcam: options.Webcam = None,
    video: Video = None,
    explainer: ExplainerSettings,
    size: Size = None,
    frames: Frames = 200,
    json: Json = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Measures the speed on this machine: the network, with the heatmap, of a file, and live. Default: on the demo."""
    from live_cam.bench import run_bench
    from live_cam.cli.console import Console
    from live_cam.settings import BenchSettings, SourceSettings
    from live_cam.sinks.atomic_file import check_output
    from live_cam.sinks.report import write_report

    if webcam is not None and video is not None:
        raise typer.BadParameter("give only one of --webcam and --video")
    size_wh = None if size is None else parsed_size(size)
    if json is not None:
        check_output(json, overwrite)
    settings = BenchSettings(SourceSettings(webcam=webcam, video=video), size_wh, frames, explainer)
    with Console(quiet) as console:
        result = run_bench(settings, console.line, console.step)
    print(table(result))
    if json is not None:
        write_report(json, result.report, overwrite)


def parsed_size(text: str) -> tuple[int, int]:
    """Returns width and height of a text such as "640x480".

    Raises:
        typer.BadParameter: The text is written differently.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; give it like 640x480", param_hint="--size")
    return int(match[1]), int(match[2])


def table(result: BenchResult) -> str:
    """Returns the figures as text: what was measured, the rows and what they mean, the stages, and the start."""
    report, end_to_end, live = result.report, result.report["end_to_end"], result.report["live"]
    is_live = live["camera_fps"] is None  # A camera was measured, no file.
    threads = "" if report["threads"] is None else f", {report['threads']} thread{'s' * (report['threads'] > 1)}"
    width, height = report["size_wh"]
    int8 = " int8" if report["precision"] == "int8" else ""
    memory = "" if report["peak_rss_mb"] is None else f", peak memory {report['peak_rss_mb']:.0f} MB"
    return "\n".join(
        [
            f"{report['model']} on {report['engine']}{int8}{threads}, {width}x{height}, {report['machine']['cpu']}, "
            f"{report['machine']['cores']} cores",
            f"{'':<20}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'fps':>8}{'CPU ms':>9}",
            _row("plain forward", report["forward_ms"], result.forward.fps, result.forward.cpu_ms),
            _row("forward + heatmap", report["explain_ms"], result.explain.fps, result.explain.cpu_ms),
            *([] if is_live else [_row("file", None, end_to_end["fps"], end_to_end["cpu_ms_per_frame"])]),
            _row("live", live["latency_ms"], live["fps"], live["cpu_ms_per_frame"]),
            "",
            *_meanings(result, is_live),
            *([f"int8: {result.int8}"] if result.int8 else []),
            f"stages of {'live' if is_live else 'the file'}, p50 ms: "
            + ", ".join(f"{name} {ms['p50']:.1f}" for name, ms in end_to_end["stage_ms"].items()),
            f"first frame after {report['first_frame_seconds']:.2f} s{memory}"
            + (", TensorFlow loaded" if report["tensorflow_imported"] else ""),
        ]
    )


def _meanings(result: BenchResult, is_live: bool) -> list[str]:
    """Returns a line for each row of the table."""
    ratios = result.explain.ratios_to(result.forward)
    pace = "the camera's own pace" if is_live else f"{result.report['live']['camera_fps']} frames per second"
    lines = [
        "plain forward: one call of the network alone",
        f"forward + heatmap: one call that also gives the heatmap; {statistics.median(ratios):.2f} times plain forward"
        f" ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)",
        "file: every frame is read, explained and drawn, several at once: fps is the throughput, not 1 / latency",
        f"live: frames come at {pace}, only the newest is explained; ms from capture to drawn image",
    ]
    return [line for line in lines if not (is_live and line.startswith("file"))]


def _row(title: str, times_ms: dict[str, float] | None, fps: float | None, cpu_ms: float) -> str:
    times = ["-"] * 3 if times_ms is None else [f"{times_ms[percentile]:.1f}" for percentile in ("p50", "p95", "p99")]
    cells = "".join(f"{time:>9}" for time in times)
    return f"{title:<20}{cells}{'-' if fps is None else format(fps, '.1f'):>8}{cpu_ms:>9.1f}"
