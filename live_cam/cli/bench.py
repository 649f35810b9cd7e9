"""``livecam bench``."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_cam.cli import options

if TYPE_CHECKING:
    from live_cam.bench import BenchResult

Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Size of the frames; the source's own if not given, of the demo 640x480."),
]
Frames = Annotated[int, typer.Option(metavar="N", min=2, help="How many frames each figure is taken from.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All figures as JSON.")]


def bench(
    webcam: options.Webcam = None,
    video: options.Video = None,
    model: options.Model = "efficientnet-lite0",
    weights: options.Weights = None,
    labels: options.Labels = None,
    preprocess: options.Preprocess = "auto",
    engine: options.Engine = "auto",
    threads: options.Threads = None,
    method: options.Method = "grad-cam",
    layer: options.Layer = None,
    size: Size = None,
    frames: Frames = 200,
    json: Json = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Measures this machine: the bare network, with the heatmap, and end to end; without a source on the demo."""
    from live_cam.bench import BenchSettings, run_bench
    from live_cam.cli.bar import StepBar
    from live_cam.sinks.partial import check_output
    from live_cam.sinks.report import write_report

    if webcam is not None and video is not None:
        raise typer.BadParameter("give only one of --webcam and --video")
    size_wh = None if size is None else parsed_size(size)
    if json is not None:
        check_output(json, overwrite)
    asked = {
        "model": model,
        "weights": weights,
        "labels": labels,
        "preprocess": preprocess,
        "engine": engine,
        "threads": threads,
        "method": method,
        "layer": layer,
    }
    settings = BenchSettings(webcam, video, size_wh, frames, asked)
    with StepBar(quiet) as bar:
        result = run_bench(settings, bar.line, bar.move)
    print(table(result))
    if json is not None:
        write_report(json, result.report, overwrite)


def parsed_size(text: str) -> tuple[int, int]:
    """Width and height from text like "640x480".

    Raises:
        typer.BadParameter: It is none.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; give it like 640x480", param_hint="--size")
    return int(match[1]), int(match[2])


def table(result: BenchResult) -> str:
    """The figures as a reader wants them: what was measured, three rows, the stages, and the start."""
    report, end_to_end = result.report, result.report["end_to_end"]
    threads = "" if report["threads"] is None else f", {report['threads']} thread{'s' * (report['threads'] > 1)}"
    width, height = report["size_wh"]
    ratios = result.explain.ratios_to(result.forward)
    memory = "" if report["peak_rss_mb"] is None else f", peak memory {report['peak_rss_mb']:.0f} MB"
    return "\n".join(
        [
            f"{report['model']} on {report['engine']}{threads}, {width}x{height}, {report['machine']['cpu']}",
            f"{'':<20}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'fps':>8}{'CPU ms':>9}",
            _row("plain forward", report["forward_ms"], result.forward.fps, result.forward.cpu_ms),
            _row("forward + heatmap", report["explain_ms"], result.explain.fps, result.explain.cpu_ms),
            _row("end to end (latency)", end_to_end["latency_ms"], end_to_end["fps"], end_to_end["cpu_ms_per_frame"]),
            f"one pass over plain forward: {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)",
            "stages, p50 ms: " + ", ".join(f"{name} {ms['p50']:.1f}" for name, ms in end_to_end["stage_ms"].items()),
            f"first frame after {report['first_frame_seconds']:.2f} s{memory}"
            + (", TensorFlow loaded" if report["tensorflow_imported"] else ""),
        ]
    )


def _row(name: str, times_ms: dict[str, float], fps: float | None, cpu_ms: float) -> str:
    cells = "".join(f"{times_ms[one]:>9.1f}" for one in ("p50", "p95", "p99"))
    return f"{name:<20}{cells}{'-' if fps is None else format(fps, '.1f'):>8}{cpu_ms:>9.1f}"
