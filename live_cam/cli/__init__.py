"""The command line: the only place that prints, reads the environment, silences native stderr, or exits."""

from __future__ import annotations

import gc
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from live_cam.cli import options
from live_cam.cli.archive import archive
from live_cam.cli.bench import bench
from live_cam.cli.doctor import doctor
from live_cam.cli.evaluate import evaluate
from live_cam.cli.inspect import inspect
from live_cam.cli.models import models
from live_cam.cli.plot import plot
from live_cam.cli.render import render
from live_cam.cli.search import search
from live_cam.cli.serve import serve
from live_cam.cli.shared_options import SHARED_OPTIONS, with_settings
from live_cam.cli.sources import NamedSources, named_sources
from live_cam.cli.stderr import missing_library_line, take_over_stderr
from live_cam.errors import LiveCamError, SettingError
from live_cam.settings import (
    CameraSettings,
    ExplainerSettings,
    FeedSettings,
    JobSettings,
    LimitSettings,
    OutputSettings,
    RetrySettings,
    SourceSettings,
)
from live_cam.sources.address import display_name
from live_cam.version import __version__

_EXAMPLES = """Shows, live, what an image classifier looks at.

\b
Examples:
  livecam 0                                  camera 0 in a window; press h for the keys
  livecam --demo                             no camera needed
  livecam clip.mp4 --output annotated.mp4
  livecam rtsp://camera/stream --model mobilenetv2
  livecam photo.jpg --output heat.jpg
  livecam photos/ --output heat/ --html report.html
  livecam inspect my.keras                   what livecam finds in a model
  livecam bench                              how fast this machine is

A SOURCE is a camera's index, a video, an image, a URL, a folder of images,
or several files of a kind. A file named like a command is ./bench.
The options --webcam, --video, --image and --demo name a source, too.
Switches are off unless their help says otherwise.
"""

app = typer.Typer(
    cls=options.Group,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = {
    command.__name__: command
    for command in (serve, archive, search, bench, evaluate, render, plot, models, inspect, doctor)
}
for command in _COMMANDS.values():
    app.command(cls=options.Command)(command)


def main() -> NoReturn:
    """Runs ``livecam`` and ``python -m live_cam``: errors become one line and an exit code."""
    # For a quicker start: numpy's BLAS would start a thread per core, all of which spin for a while, and Python would
    # look for garbage again and again while modules are loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(10_000)
    take_over_stderr()
    try:
        app(standalone_mode=True)
        _exit(0)
    except LiveCamError as error:
        _exit_with(f"livecam: {options.with_option_names(str(error))}")
    except ImportError as error:
        line = missing_library_line(error)
        if line is None:
            raise
        _exit_with(f"livecam: {line}")
    except KeyboardInterrupt:
        _exit(130)
    except SystemExit as error:
        _exit(error.code if isinstance(error.code, int) else int(error.code is not None))


def _exit_with(line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    _exit(1)


def _exit(code: int) -> NoReturn:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # as in "livecam models | head -1"; otherwise Python complains once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(thread.name.startswith("livecam-") for thread in threading.enumerate()):
        # A thread that hangs in a driver or a conversion would crash the interpreter on its way out.
        os._exit(code)
    raise SystemExit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"livecam {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=_EXAMPLES)
@with_settings(*SHARED_OPTIONS)
def run(
    context: typer.Context,
    *,
    webcam: options.Webcam = None,
    video: options.Video = None,
    image: options.Image = None,
    demo: options.Demo = False,
    start: options.Start = None,
    end: options.End = None,
    max_frames: options.MaxFrames = None,
    camera_size: options.CameraSize = None,
    camera_fps: options.CameraFps = None,
    explainer: ExplainerSettings,
    feed: FeedSettings,
    output: options.Output = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    audio: options.Audio = True,
    sidecar: options.Sidecar = None,
    heatmaps: options.Heatmaps = None,
    report: options.Report = None,
    html: options.Html = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json_progress: options.JsonProgress = False,
    show: options.Show = None,
    loop: options.Loop = False,
    retry: options.Retry = None,
    max_cpu: options.MaxCpu = None,
    fps: options.Fps = None,
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, metavar="", help="Print the version."
    ),
) -> None:
    """Runs the main command; its help is ``_EXAMPLES``."""
    if context.invoked_subcommand is not None:
        origins = (context.get_parameter_source(name) for name in context.params)
        if any(origin is not None and origin.name == "COMMANDLINE" for origin in origins):
            raise typer.BadParameter(f"give the options behind the command {context.invoked_subcommand}", ctx=context)
        return
    by_option = {"--webcam": webcam is not None, "--video": video is not None, "--image": image is not None}
    options_given = [option for option, is_given in {**by_option, "--demo": demo}.items() if is_given]
    if not options_given and not context.args:
        if len(sys.argv) > 1:
            raise typer.BadParameter("give a source: a camera's index, a file, a URL or --demo", ctx=context)
        print(context.get_help())
        return
    written = [path for path in map(options.path_of, (output, sidecar, heatmaps, report, html)) if path is not None]
    sources = _sources(context, options_given, webcam, video, image, written)
    first = sources.names[0] if sources else None
    kind = sources.kind if sources else None
    from live_cam.cli.console import Console
    from live_cam.cli.watch import watch

    settings = JobSettings(
        source=SourceSettings(
            webcam=int(first) if first is not None and kind == "webcam" else None,
            video=first if kind == "video" else None,
            image=first if kind == "images" else None,
            start_seconds=start,
            end_seconds=end,
            loop=loop,
            max_frames=max_frames,
            camera=CameraSettings.parse(camera_size, camera_fps),
            retry=RetrySettings.parse(retry),
        ),
        explainer=explainer,
        feed=replace(feed, limits=LimitSettings(max_cpu, fps)),
        output=OutputSettings(
            output=options.path_of(output),
            sidecar=options.path_of(sidecar),
            heatmaps=options.path_of(heatmaps),
            report=options.path_of(report),
            overwrite=overwrite,
            codec=codec,
            quality=quality,
            audio=audio,
            show=show,
            resume=resume,
            folders=options.folders_among(output, sidecar, heatmaps, report),
            html=options.path_of(html),
        ),
    )
    watch(settings, sources, Console(quiet, json_progress), os.environ)


def _sources(
    context: typer.Context,
    options_given: list[str],
    webcam: int | None,
    video: str | None,
    image: str | None,
    written: list[Path],
) -> NamedSources | None:
    """Returns the sources that are given as words or by an option; None for the demo."""
    words = context.args
    if len(options_given) > 1:
        raise typer.BadParameter(f"give only one of {' and '.join(options_given)}", ctx=context)
    if words and options_given:
        word = display_name(words[0])
        raise SettingError(f"the source is given twice, as {word} and by {options_given[0]}; give it once")
    if words:
        return named_sources(words, _COMMANDS, written)
    if webcam is not None:
        return NamedSources("webcam", (str(webcam),))
    if video is not None:
        return NamedSources("video", (video,))
    return None if image is None else NamedSources("images", (image,))
