"""The command line: the only place that prints, reads the environment, or exits."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

import typer

from live_cam import __version__
from live_cam.cli import options
from live_cam.cli.bench import bench
from live_cam.cli.evaluate import evaluate
from live_cam.cli.plot import plot
from live_cam.cli.render import render
from live_cam.cli.stderr import missing_library_line, own_stderr
from live_cam.errors import LiveCamError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Entry point of ``livecam`` and ``python -m live_cam``: runs, and turns errors into one line and an exit code."""
    stderr = own_stderr()
    try:
        app(standalone_mode=True)
        _exit(0)
    except LiveCamError as error:
        print(f"livecam: {error}", file=stderr, flush=True)
        _exit(1)
    except ImportError as error:
        line = missing_library_line(error)
        if line is None:
            raise
        print(f"livecam: {line}", file=stderr, flush=True)
        _exit(1)
    except KeyboardInterrupt:
        _exit(130)
    except SystemExit as error:
        _exit(error.code if isinstance(error.code, int) else int(error.code is not None))


def _exit(code: int) -> NoReturn:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # as in "livecam models | head -1"; else Python complains of it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(thread.name.startswith("livecam-") for thread in threading.enumerate()):
        # A thread that hangs in a driver or a conversion would crash the interpreter on its way out.
        os._exit(code)
    raise SystemExit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"livecam {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def watch(
    context: typer.Context,
    webcam: options.Webcam = None,
    video: options.Video = None,
    image: options.Image = None,
    demo: options.Demo = False,
    start: options.Start = None,
    end: options.End = None,
    max_frames: options.MaxFrames = None,
    camera_size: options.CameraSize = None,
    camera_fps: options.CameraFps = None,
    model: options.Model = "efficientnet-lite0",
    weights: options.Weights = None,
    labels: options.Labels = None,
    preprocess: options.Preprocess = "auto",
    output_name: options.OutputName = None,
    unsafe_model: options.UnsafeModel = False,
    fit: options.Fit = "stretch",
    input_size: options.InputSize = None,
    engine: options.Engine = "auto",
    threads: options.Threads = None,
    target: options.Target = None,
    contrast: options.Contrast = None,
    method: options.Method = "grad-cam",
    layer: options.Layer = None,
    score: options.Score = "logit",
    top_maps: options.TopMaps = 1,
    top_k: options.TopK = 3,
    colormap: options.Colormap = "turbo",
    opacity: options.Opacity = 0.6,
    blend: options.Blend = "heat",
    smooth: options.Smooth = 0.15,
    view: options.View = "overlay",
    mirror: options.Mirror = False,
    output: options.Output = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    audio: options.Audio = True,
    sidecar: options.Sidecar = None,
    heatmaps: options.Heatmaps = None,
    report: options.Report = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json_progress: options.JsonProgress = False,
    show: options.Show = None,
    loop: options.Loop = False,
    retry: options.RetryTimes = None,
    max_cpu: options.MaxCpu = None,
    fps: options.Fps = None,
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """Shows, live, what an image classifier looks at.

    Give one source: --webcam, --video, --image or --demo.
    """
    if context.invoked_subcommand is not None:
        return
    given = [webcam is not None, video is not None, image is not None, demo]
    if not any(given):
        if len(sys.argv) > 1:
            raise typer.BadParameter("give one of --webcam, --video, --image and --demo", ctx=context)
        print(context.get_help())
        return
    if sum(given) > 1:
        raise typer.BadParameter("give only one of --webcam, --video, --image and --demo", ctx=context)
    from live_cam.cli.watching import watch_batch, watch_source
    from live_cam.render.views import RenderSettings
    from live_cam.run.batch import is_batch
    from live_cam.run.session import Limits, OutputSettings, SessionSettings, SourceSettings

    settings = SessionSettings(
        source=SourceSettings(webcam, video, image, start, end, loop, max_frames, camera_size, camera_fps, retry),
        explainer={
            "model": model,
            "weights": weights,
            "labels": labels,
            "preprocess": preprocess,
            "output_name": output_name,
            "unsafe": unsafe_model,
            "fit": fit,
            "input_size": input_size,
            "layer": layer,
            "method": method,
            "score": score,
            "top_maps": top_maps,
            "contrast": contrast,
            "engine": engine,
            "threads": threads,
            "top_k": top_k,
        },
        target=target,
        render=RenderSettings(colormap, opacity, blend, view, mirror),
        output=OutputSettings(output, sidecar, heatmaps, report, overwrite, codec, quality, audio, show, resume),
        smooth_seconds=smooth,
        limits=Limits(max_cpu, fps),
        environment=os.environ,
    )
    watching = watch_batch if is_batch(settings.source, settings.output) else watch_source
    watching(settings, quiet, json_progress)


app.command()(bench)
app.command()(evaluate)
app.command()(render)
app.command()(plot)


@app.command()
def models(
    clear_cache: bool = typer.Option(False, "--clear-cache", help="Delete the converted models of earlier runs."),
) -> None:
    """Lists the models known by name."""
    from live_cam.cli.models import clear, list_models

    clear() if clear_cache else list_models()


@app.command()
def doctor() -> None:
    """Checks what livecam needs on this machine, with a hint for each failure."""
    from live_cam.cli.doctor import print_diagnosis

    if not print_diagnosis():
        raise typer.Exit(1)
