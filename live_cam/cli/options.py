"""The options of ``livecam``, each with its help and its panel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from live_cam.cam import CAM_METHODS, SCORE_CAM
from live_cam.cli.times import seconds_of
from live_cam.sinks.codecs import CODECS, CONTAINERS, DEFAULT_QUALITY

_SOURCE, _MODEL, _EXPLANATION = "Source", "Model", "Explanation"
_PICTURE, _OUTPUT, _LIVE = "Picture", "Output", "Live"

Webcam: TypeAlias = Annotated[
    int | None, typer.Option("--webcam", metavar="N", help="A camera by its number, from 0.", rich_help_panel=_SOURCE)
]
Video: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--video",
        metavar="PATH|URL",
        help='A video file, an rtsp/http(s) URL, or several files as "clips/*.mp4" with a folder as --output.',
        rich_help_panel=_SOURCE,
    ),
]
Image: TypeAlias = Annotated[
    str | None, typer.Option("--image", metavar="PATH", help="A picture.", rich_help_panel=_SOURCE)
]
Demo: TypeAlias = Annotated[
    bool, typer.Option("--demo", help="Photographs in motion; needs no camera.", rich_help_panel=_SOURCE)
]
Start: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=seconds_of,
        help="Begin there in the video: seconds, or hh:mm:ss.fff.",
        rich_help_panel=_SOURCE,
    ),
]
End: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=seconds_of, help="End there, likewise.", rich_help_panel=_SOURCE),
]
CameraSize: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Ask the camera for this size, such as 1280x720.", rich_help_panel=_SOURCE),
]
CameraFps: TypeAlias = Annotated[
    float | None, typer.Option(metavar="N", help="Ask the camera for N frames a second.", rich_help_panel=_SOURCE)
]
MaxFrames: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="End after N frames.", rich_help_panel=_SOURCE)
]

Model: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH", help="A name (see: livecam models) or a .keras/.h5 file.", rich_help_panel=_MODEL
    ),
]
Weights: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PATH", help="Weights for a model given by name.", rich_help_panel=_MODEL)
]
Labels: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PATH", help="Class names: one a line, or JSON.", rich_help_panel=_MODEL)
]
Preprocess: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How the network wants its pixels: auto, raw, unit, tf, torch, caffe, lite.",
        rich_help_panel=_MODEL,
    ),
]
OutputName: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a model with several outputs, the one to explain.", rich_help_panel=_MODEL),
]
UnsafeModel: TypeAlias = Annotated[
    bool,
    typer.Option("--unsafe-model", help="Run the code that a model file's Lambda layers hold.", rich_help_panel=_MODEL),
]
Fit: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="stretch (the whole frame), crop (its middle) or pad (the whole frame with borders).",
        rich_help_panel=_MODEL,
    ),
]
InputSize: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Pixels a side the network sees.", rich_help_panel=_MODEL)
]
Engine: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="auto, litert or tensorflow.", rich_help_panel=_MODEL)
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="For LiteRT; one a core if not given.", rich_help_panel=_MODEL),
]

Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|INDEX", help="The class to explain; the top class if not given.", rich_help_panel=_EXPLANATION
    ),
]
Contrast: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME|INDEX", help="Explain why not this class.", rich_help_panel=_EXPLANATION),
]
Method: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME", help=f"{', '.join(CAM_METHODS)}; {SCORE_CAM} (seconds a frame).", rich_help_panel=_EXPLANATION
    ),
]
Layer: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The target layer, or several with commas; found if not given.",
        rich_help_panel=_EXPLANATION,
    ),
]
Score: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="logit or probability.", rich_help_panel=_EXPLANATION)
]
TopMaps: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, max=5, help="Explain N classes at once, one colour a class.", rich_help_panel=_EXPLANATION
    ),
]
TopK: TypeAlias = Annotated[
    int, typer.Option("--top-k", metavar="N", min=1, help="How many predictions.", rich_help_panel=_EXPLANATION)
]

Colormap: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="turbo, jet, inferno, viridis, ...", rich_help_panel=_PICTURE)
]
Opacity: TypeAlias = Annotated[
    float, typer.Option(metavar="0..1", help="Weight of the heatmap.", rich_help_panel=_PICTURE)
]
Blend: TypeAlias = Annotated[
    str,
    typer.Option(metavar="NAME", help="heat (cold areas show the raw frame) or constant.", rich_help_panel=_PICTURE),
]
Smooth: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Half-life of the heat and hold of the class; 0: each frame on its own.",
        rich_help_panel=_PICTURE,
    ),
]
View: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="overlay, split, heatmap or original.", rich_help_panel=_PICTURE)
]
Mirror: TypeAlias = Annotated[
    bool, typer.Option("--mirror", help="Turn the picture left to right.", rich_help_panel=_PICTURE)
]

Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help=f"The annotated video ({', '.join(CONTAINERS)}) or image.", rich_help_panel=_OUTPUT
    ),
]
Codec: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(CODECS)}; the file's usual one if not given.",
        rich_help_panel=_OUTPUT,
    ),
]
Quality: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="0..100",
        min=0,
        max=100,
        help=f"Of the video; {DEFAULT_QUALITY} if not given, 80 looks like the source.",
        rich_help_panel=_OUTPUT,
    ),
]
Audio: TypeAlias = Annotated[
    bool, typer.Option("--audio/--no-audio", help="Copy the video's sound or leave it out.", rich_help_panel=_OUTPUT)
]
Sidecar: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Predictions and heatmap figures, a line a frame; a table if it ends in .csv.",
        rich_help_panel=_OUTPUT,
    ),
]
Heatmaps: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="All maps, for numpy and for livecam render.", rich_help_panel=_OUTPUT),
]
Report: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="Counts and times of the run.", rich_help_panel=_OUTPUT)
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_OUTPUT)
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the video where a killed run stopped.", rich_help_panel=_OUTPUT),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_OUTPUT)]
JsonProgress: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json-progress", help="Progress on stdout for programs, a JSON object a line.", rich_help_panel=_OUTPUT
    ),
]

Show: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--show/--no-show",
        help="A window or none; by default for cameras and for files that nothing is made of.",
        rich_help_panel=_LIVE,
    ),
]
Loop: TypeAlias = Annotated[bool, typer.Option("--loop", help="Start a video again at its end.", rich_help_panel=_LIVE)]
RetryTimes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--retry",
        metavar="N|forever",
        help="Try a lost camera or stream N times in a row, also at the start; "
        "if not given, forever once it gave pictures.",
        rich_help_panel=_LIVE,
    ),
]
MaxCpu: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--max-cpu",
        metavar="PERCENT",
        min=1,
        max=100,
        help="Explain less often, to use at most this much of the whole machine.",
        rich_help_panel=_LIVE,
    ),
]
Fps: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fps",
        metavar="N",
        min=0.1,
        help="Explanations a second at most; the picture stays as smooth as the camera's.",
        rich_help_panel=_LIVE,
    ),
]
