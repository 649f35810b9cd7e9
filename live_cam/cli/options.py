"""The command line's parser, and the options of sources, outputs and live views with their help and panels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from live_cam.settings import DEFAULT_QUALITY
from live_cam.sinks.video.codecs import CODECS, CONTAINERS

_SOURCE, _OUTPUT, _LIVE = "Source", "Output", "Live"
_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)")
_UNITS_SECONDS = {"s": 1, "m": 60, "h": 3600}

_FLAG_ARGUMENT = re.compile(r"\b([a-z_]+)=True\b")
# Not a part of a path.
_ARGUMENT = re.compile(r"(?<![\w./\\-])max_frames(?![\w./\\-])")
_FOLDER_ARGUMENT = re.compile(r"\bcalibrate=DIR\b")
# Flags whose option has another name than the argument.
_FLAGS = {"unsafe": "--unsafe-model"}


class Command(TyperCommand):
    """A command whose ``--help`` has no type."""

    def get_help_option(self, ctx: Any) -> Any:
        """Returns the option ``--help``."""
        return _without_type(super().get_help_option(ctx))


class Group(TyperGroup):
    """A group of commands whose ``--help`` has no type, and that takes sources instead of a command.

    If the first word that is no option is not the name of a command, all such words are sources. They may stand
    before, between and after the options; the callback finds them in ``context.args``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "subcommand_metavar": "[SOURCE]... | COMMAND [ARGS]..."})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Returns the words that are left for a command, or the sources."""
        words: list[str] = []
        options: list[str] = []
        left = list(args)
        while left:
            # The parser of a group stops at the first word.
            _, rest, _ = self.make_parser(ctx).parse_args(args=list(left))
            option_count = len(left) - len(rest)
            if rest and not words and rest[0] in self.commands:
                return super().parse_args(ctx, args)
            options += left[:option_count]
            # Behind "--", everything is a word.
            word_count = len(rest) if options[-1:] == ["--"] else 1
            words += rest[:word_count]
            left = rest[word_count:]
        super().parse_args(ctx, options)
        ctx.args = words
        return words

    def get_help_option(self, ctx: Any) -> Any:
        """Returns the option ``--help``."""
        return _without_type(super().get_help_option(ctx))


def _without_type(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option


def with_option_names(text: str) -> str:
    """Returns a message with options instead of Python arguments: "resume=True" becomes "--resume"."""
    text = _FOLDER_ARGUMENT.sub("--calibrate DIR", _ARGUMENT.sub("--max-frames", text))
    return _FLAG_ARGUMENT.sub(lambda match: _FLAGS.get(match[1], f"--{match[1].replace('_', '-')}"), text)


def seconds_of(text: str) -> float:
    """Returns the seconds of "90", "90.5", "1:30" or "0:01:30.500".

    Raises:
        typer.BadParameter: The text is no time.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60):
        raise typer.BadParameter(f"{text!r} is no time; give seconds (90.5) or hh:mm:ss.fff (0:01:30.500)")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + float(match[3])


def duration_of(text: str) -> float:
    """Returns the seconds of "90", "0.5s", "2m", "1h" or "1:30".

    Raises:
        typer.BadParameter: The text is no duration.
    """
    number, unit_seconds = text.strip(), 1
    if number[-1:] in _UNITS_SECONDS and ":" not in number:
        number, unit_seconds = number[:-1], _UNITS_SECONDS[number[-1]]
    try:
        return unit_seconds * seconds_of(number)
    except typer.BadParameter:
        raise typer.BadParameter(f"{text!r} is no duration; give seconds, 0.5s, 2m, 1h or 1:30") from None


def path_of(name: str | None) -> Path | None:
    """Returns the path of an output; None if none is given."""
    return None if name is None else Path(name)


def folders_among(*names: str | None) -> tuple[Path, ...]:
    """Returns the outputs that are folders by name: "results.2024/" ends in a slash, which a ``Path`` drops."""
    slashes = tuple(filter(None, (os.sep, os.altsep)))
    return tuple(Path(name) for name in names if name is not None and name.endswith(slashes))


def option(panel: str, *names: str, metavar: str, help: str, **settings: Any) -> Any:  # noqa: A002
    """Returns an option with a value, in a panel of ``--help``."""
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel, **settings)


def flag(panel: str, *names: str, help: str) -> Any:  # noqa: A002
    """Returns an option without a value, in a panel of ``--help``."""
    return typer.Option(*names, metavar="", help=help, rich_help_panel=panel)


Webcam: TypeAlias = Annotated[int | None, option(_SOURCE, metavar="N", help="A camera by its index, from 0.")]
Video: TypeAlias = Annotated[
    str | None,
    option(
        _SOURCE,
        metavar="PATH|URL",
        help='A video file, an rtsp:// or http(s):// URL, or several files: "clips/*.mp4" with a folder as --output.',
    ),
]
Image: TypeAlias = Annotated[str | None, option(_SOURCE, metavar="PATH", help="An image file.")]
Demo: TypeAlias = Annotated[bool, flag(_SOURCE, "--demo", help="Photographs in motion; needs no camera.")]
Start: TypeAlias = Annotated[
    float | None,
    option(
        _SOURCE,
        metavar="TIME",
        parser=seconds_of,
        help="Start the video at this time: seconds, or hh:mm:ss.fff. Default: its beginning.",
    ),
]
End: TypeAlias = Annotated[
    float | None,
    option(
        _SOURCE,
        metavar="TIME",
        parser=seconds_of,
        help="Stop at this time (same format as --start). Default: the end of the video.",
    ),
]
MaxFrames: TypeAlias = Annotated[
    int | None, option(_SOURCE, metavar="N", min=1, help="Stop after N frames. Default: no limit.")
]
CameraSize: TypeAlias = Annotated[
    str | None,
    option(_SOURCE, metavar="WxH", help="Ask the camera for this size, such as 1280x720. Default: the camera's own."),
]
CameraFps: TypeAlias = Annotated[
    float | None,
    option(_SOURCE, metavar="N", help="Ask the camera for N frames per second. Default: the camera's own."),
]


Output: TypeAlias = Annotated[
    str | None,
    option(
        _OUTPUT,
        metavar="FILE",
        help=f"The annotated video ({', '.join(CONTAINERS)}) or image, or a folder for several. Default: none.",
    ),
]
Codec: TypeAlias = Annotated[
    str | None,
    option(_OUTPUT, metavar="NAME", help=f"{', '.join(CODECS)}. Default: the usual one of the file format."),
]
Quality: TypeAlias = Annotated[
    int | None,
    option(
        _OUTPUT,
        metavar="0..100",
        min=0,
        max=100,
        help=f"Quality of the video; 80 looks like the source. Default: {DEFAULT_QUALITY}.",
    ),
]
Audio: TypeAlias = Annotated[
    bool, flag(_OUTPUT, "--audio/--no-audio", help="Copy the video's sound, or leave it out. Default: copied.")
]
Html: TypeAlias = Annotated[
    str | None,
    option(
        _OUTPUT,
        metavar="FILE.html",
        help="One page about all images: thumbnails, predictions, and accuracy where folders are named like classes. "
        "Default: none.",
    ),
]
Sidecar: TypeAlias = Annotated[
    str | None,
    option(
        _OUTPUT,
        metavar="FILE",
        help="Predictions and heatmap figures, one line per frame: JSON lines, or CSV for .csv. Default: none.",
    ),
]
Heatmaps: TypeAlias = Annotated[
    str | None,
    option(_OUTPUT, metavar="FILE.npz", help="All heatmaps, for numpy and for livecam render. Default: none."),
]
Report: TypeAlias = Annotated[
    str | None, option(_OUTPUT, metavar="FILE.json", help="Counts and timings of the job. Default: none.")
]
Overwrite: TypeAlias = Annotated[
    bool,
    flag(
        _OUTPUT,
        "--overwrite",
        help="Replace existing files, and start unfinished ones again. Default: an error.",
    ),
]
Resume: TypeAlias = Annotated[
    bool,
    flag(
        _OUTPUT,
        "--resume",
        help="Continue the files of a killed or interrupted job, or extend finished ones to a later --end or "
        "--max-frames. Default: unfinished files are an error; a batch always continues them.",
    ),
]
Quiet: TypeAlias = Annotated[bool, flag(_OUTPUT, "--quiet", "-q", help="Print errors only.")]
JsonProgress: TypeAlias = Annotated[
    bool, flag(_OUTPUT, "--json-progress", help="Progress on stdout for programs, one JSON object per line.")
]

Show: TypeAlias = Annotated[
    bool | None,
    flag(
        _LIVE,
        "--show/--no-show",
        help="Open a window or not. Default: a window for cameras and streams, and for files if nothing is written.",
    ),
]
Loop: TypeAlias = Annotated[
    bool, flag(_LIVE, "--loop", help="Start a video again at its end. Default: only the demo in a window.")
]
Retry: TypeAlias = Annotated[
    str | None,
    option(
        _LIVE,
        metavar="N|forever",
        help="Try a lost camera or stream N times in a row, also at the start. Default: forever once it gave frames.",
    ),
]
MaxCpu: TypeAlias = Annotated[
    float | None,
    option(
        _LIVE,
        metavar="PERCENT",
        min=1,
        max=100,
        help="Explain less often, to use at most this share of the machine's CPU time. Default: no limit.",
    ),
]
Fps: TypeAlias = Annotated[
    float | None,
    option(
        _LIVE,
        metavar="N",
        min=0.1,
        help="At most N explanations per second; the picture stays as smooth as the camera's. Default: no limit.",
    ),
]
