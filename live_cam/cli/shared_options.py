"""The options that several commands share, and the settings that they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

from live_cam.cli.options import flag, option
from live_cam.gradmodel.cam_methods import CAM_METHODS, SCORE_CAM
from live_cam.settings import ExplainerSettings, FeedSettings, RenderSettings

_MODEL, _EXPLANATION, _LOOK = "Model", "Explanation", "Look"

# By field of ExplainerSettings, FeedSettings or RenderSettings, which has the default; in the order of --help.
SHARED_OPTIONS: dict[str, Any] = {
    "model": Annotated[
        str,
        option(
            _MODEL,
            metavar="NAME|PATH",
            help="A name (livecam models lists them), a .keras or .h5 file, a SavedModel folder, or a preset of "
            "KerasHub: hub:NAME, hub:./folder.",
        ),
    ],
    "weights": Annotated[
        str | None,
        option(_MODEL, metavar="PATH", help="A weights file for a model given by name. Default: its ImageNet weights."),
    ],
    "labels": Annotated[
        str | None,
        option(
            _MODEL,
            metavar="PATH",
            help="Class names: one per line, or JSON. Default: ImageNet's for models given by name, else class "
            "indices.",
        ),
    ],
    "preprocess": Annotated[
        str,
        option(_MODEL, metavar="NAME", help="Pixel normalization: auto, raw, unit, tf, torch, caffe or lite."),
    ],
    "output_name": Annotated[
        str | None,
        option(_MODEL, metavar="NAME", help="The output to explain, for models with several. Default: the only one."),
    ],
    "unsafe": Annotated[
        bool,
        flag(
            _MODEL,
            "--unsafe-model",
            help="Allow code in a model to run: Lambda layers, file ops of a SavedModel. Default: refused.",
        ),
    ],
    "custom_objects": Annotated[
        str | None,
        option(
            _MODEL,
            "--import",
            metavar="FILE.py",
            help="Run this Python file first: it defines the model's own layers and functions. Default: none.",
        ),
    ],
    "fit": Annotated[
        str,
        option(
            _MODEL,
            metavar="NAME",
            help="How the frame fits the network's square: stretch (whole frame), crop (its center) or pad (with "
            "borders).",
        ),
    ],
    "input_size": Annotated[
        int | None,
        option(_MODEL, metavar="N", help="Side of the square network input, in pixels. Default: the model's own."),
    ],
    "engine": Annotated[
        str,
        option(
            _MODEL,
            metavar="NAME",
            help="auto (LiteRT on a CPU if it can run the model, else TensorFlow), litert or tensorflow.",
        ),
    ],
    "threads": Annotated[int | None, option(_MODEL, metavar="N", min=1, help="LiteRT threads. Default: one per core.")],
    "precision": Annotated[
        str,
        option(
            _MODEL,
            metavar="NAME",
            help="float, or int8: up to twice as fast on CPUs with instructions for it, with nearly the same heatmaps. "
            "float is used if int8 disagrees or is slower.",
        ),
    ],
    "calibrate": Annotated[
        str | None,
        option(
            _MODEL,
            metavar="DIR",
            help="Calibrate int8 on the images in this folder; ten suffice. Default: the demo's photographs.",
        ),
    ],
    "target": Annotated[
        str | None, option(_EXPLANATION, metavar="NAME|INDEX", help="The class to explain. Default: the top class.")
    ],
    "contrast": Annotated[
        str | None,
        option(
            _EXPLANATION,
            metavar="NAME|INDEX|similar",
            help="Explain why the class and not this one: its score is subtracted. similar: the three most similar "
            "classes (Finer-CAM). Default: none.",
        ),
    ],
    "method": Annotated[
        str,
        option(
            _EXPLANATION,
            metavar="NAME",
            help=f"{', '.join(CAM_METHODS)} or {SCORE_CAM} (seconds per frame), in any spelling: GradCAM++.",
        ),
    ],
    "layer": Annotated[
        str | None,
        option(
            _EXPLANATION,
            metavar="NAME",
            help="The target layer; comma-separated layers are combined. Default: the last one with a map.",
        ),
    ],
    "score": Annotated[str, option(_EXPLANATION, metavar="NAME", help="What is differentiated: logit or probability.")],
    "top_maps": Annotated[
        int,
        option(
            _EXPLANATION,
            metavar="N",
            min=1,
            max=5,
            help="Explain N classes at once, each with a contour line in its own color.",
        ),
    ],
    "top_k": Annotated[
        int, option(_EXPLANATION, "--top-k", metavar="N", min=1, help="Number of predictions per frame.")
    ],
    "colormap": Annotated[str, option(_LOOK, metavar="NAME", help="inferno, magma, viridis, turbo, jet, ...")],
    "opacity": Annotated[float, option(_LOOK, metavar="0..1", help="Weight of the heatmap's colors.")],
    "blend": Annotated[str, option(_LOOK, metavar="NAME", help="heat (cold areas show the frame) or constant.")],
    "smooth_seconds": Annotated[
        float,
        option(
            _LOOK,
            "--smooth",
            metavar="SECONDS",
            min=0,
            help="Half-life of the heatmap smoothing. 0: none, and each frame is explained for its own top class.",
        ),
    ],
    "view": Annotated[
        str, option(_LOOK, metavar="NAME", help="overlay, split, grid (an image per class), heatmap or original.")
    ],
    "mirror": Annotated[bool, flag(_LOOK, "--mirror", help="Flip the picture left to right. Default: not flipped.")],
    "panel": Annotated[
        bool, flag(_LOOK, "--panel", help="Draw the three best classes with bars, like the window. Default: a caption.")
    ],
}
_DEFAULTS = {
    field.name: field.default for kind in (ExplainerSettings, FeedSettings, RenderSettings) for field in fields(kind)
}
# The parameters that options take the place of.
_SETTINGS = ("explainer", "feed")


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that puts options in the place of a command's parameters ``explainer`` and ``feed``.

    The command is called with the settings that the options make.

    Args:
        names: Keys of ``SHARED_OPTIONS``, in the order of the command's ``--help``.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters

        @functools.wraps(command)
        def command_with_options(**values: Any) -> None:
            settings = _settings_of({name: values.pop(name) for name in names if name in values})
            command(**values, **{name: settings[name] for name in _SETTINGS if name in own})

        parameters = [parameter for name, parameter in own.items() if name not in _SETTINGS]
        place = min(list(own).index(name) for name in _SETTINGS if name in own)
        parameters[place:place] = map(_parameter, names)
        # Typer reads the options from the signature.
        command_with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command_with_options

    return decorated


def _parameter(name: str) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=_DEFAULTS[name], annotation=SHARED_OPTIONS[name])


def _settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that are made of some of their fields, by the parameter that takes them."""

    def part(kind: type) -> dict[str, Any]:
        return {field.name: given[field.name] for field in fields(kind) if field.name in given}

    look = RenderSettings(**part(RenderSettings))
    return {
        "explainer": ExplainerSettings(**part(ExplainerSettings)),
        "feed": FeedSettings(**part(FeedSettings), render=look),
    }
