"""``livecam inspect``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import with_settings
from live_cam.settings import ExplainerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from live_cam.explain.explainer import ModelExplainer

_ON_CPU = "LiteRT, on the CPU"
_SHOWN_LABELS = 5

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A name (livecam models lists them) or a model file.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]


@with_settings(
    "weights", "labels", "preprocess", "output_name", "unsafe", "custom_objects", "input_size", "engine", "precision",
    "calibrate", "layer",
)  # fmt: skip
def inspect(
    *,
    model: Model,
    explainer: ExplainerSettings,
    as_json: Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Shows what livecam finds in a model, and so how it would explain it. Converts the model if it is new."""
    from live_cam.cli.console import Console
    from live_cam.explain.load import build_explainer

    settings = replace(explainer, model=model)
    # The warning is among the facts.
    built = build_explainer(settings, on_build=Console(quiet).line, on_warning=lambda line: None)
    facts = found(built, settings)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else table(facts))


def found(explainer: ModelExplainer, settings: ExplainerSettings) -> dict[str, Any]:
    """Returns what was found in a model, as plain values.

    Args:
        explainer: The model, loaded.
        settings: What it was loaded with.
    """
    from live_cam.predictions import class_count_of
    from live_cam.preprocess import PREPROCESSINGS

    info = explainer.info
    normalization = PREPROCESSINGS.get(info.preprocessing)
    is_color = info.channel_count == 3
    count = class_count_of(info.head, info.output_count)
    return {
        "model": explainer.model_name,
        "format": info.format,
        "input": {
            "size_wh": list(info.input_size_wh),
            "channels": info.channel_count,
            "color_order": normalization.color_order if is_color and normalization else "rgb" if is_color else "gray",
        },
        "preprocessing": {"name": info.preprocessing, "reason": info.preprocessing_reason},
        "output": {
            "name": info.output_name,
            "head": info.head,
            "count": count,
            "all": {name: list(shape) for name, shape in info.output_shapes.items()},
        },
        "layer": info.layer,
        "layer_choices": list(info.layer_choices),
        "engine": {"name": explainer.engine_name, "reason": info.engine_reason},
        "precision": {"name": info.precision, "int8": info.int8_summary or None},
        "labels": {"source": _source_of(explainer.labels[:count], settings), "names": list(explainer.labels[:count])},
        "warning": info.warning or None,
    }


def _source_of(names: Sequence[str], settings: ExplainerSettings) -> str:
    from live_cam.models.labels import imagenet_labels

    if settings.labels is not None:
        return str(settings.labels)
    if tuple(names) == imagenet_labels():
        return "ImageNet"
    return "none" if all(name == str(index) for index, name in enumerate(names)) else "the model"


def table(facts: dict[str, Any]) -> str:
    """Returns a line for each fact."""
    from live_cam.models.network import shape_text

    output, labels, size = facts["output"], facts["labels"], facts["input"]["size_wh"]
    color = facts["input"]["color_order"]
    others = [name for name in facts["layer_choices"] if name not in facts["layer"].split(",")]
    other_outputs = [f"{name} ({shape_text(shape)})" for name, shape in output["all"].items() if name != output["name"]]
    rows = [
        ("format", facts["format"]),
        ("input", f"{size[0]}x{size[1]} pixels, {color if color == 'gray' else color.upper()}"),
        ("preprocessing", _with_reason(facts["preprocessing"]["name"], facts["preprocessing"]["reason"])),
        ("output", _described_output(output)),
        ("other outputs", ", ".join(other_outputs)),
        ("target layer", facts["layer"]),
        ("other layers", ", ".join(others)),
        ("engine", _ON_CPU if facts["engine"]["reason"] == "CPU" else "TensorFlow: " + facts["engine"]["reason"]),
        ("int8", facts["precision"]["int8"]),
        ("labels", _described_labels(labels["names"], labels["source"])),
        ("warning", facts["warning"]),
    ]
    lines = [f"{title:<15}{text}" for title, text in rows if text]
    return "\n".join([facts["model"], *lines])


def _with_reason(name: str, reason: str) -> str:
    return f"{name}: {reason}" if reason else name


def _described_output(output: dict[str, Any]) -> str:
    count = output["count"]
    described = {
        "softmax": f"softmax, {count} classes",
        "sigmoid": f"sigmoid, {count} independent classes",
        "binary": "one sigmoid, the probability of the second of 2 classes",
        "logits": f"logits of {count} classes",
        "regression": "1 number" if count == 1 else f"{count} numbers",
    }[output["head"]]
    # Some have a number instead of a name.
    return described if output["name"].isdecimal() else f"{output['name']}: {described}"


def _described_labels(names: Sequence[str], source: str) -> str:
    if source == "none":
        return f"none given, so 0 to {len(names) - 1}" if len(names) > 1 else "none given, so 0"
    shown = ", ".join(names[:_SHOWN_LABELS])
    return f"{source}: {shown}{', ...' if len(names) > _SHOWN_LABELS else ''}"
