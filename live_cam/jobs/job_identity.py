"""Describes the settings that a job's output depends on, so that a later run can compare them with its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.explain.builder import method_named
from live_cam.explain.calibration import calibration_digest
from live_cam.models.reference import folder_of, resolve_settings
from live_cam.sources.address import fingerprint
from live_cam.version import __version__

if TYPE_CHECKING:
    from live_cam.settings import ExplainerSettings, JobSettings

# Where a job ends may change: a later end continues it.
END_NAMES = ("end", "max_frames")


def picture_identity(settings: JobSettings) -> dict[str, str]:
    """Returns everything that makes a difference to the annotated picture of an image, by the names of the settings."""
    explainer = {field.name: getattr(settings.explainer, field.name) for field in fields(settings.explainer)}
    values = {
        "target": settings.feed.target,
        **{name: value for name, value in explainer.items() if name != "threads"},
        "model": _model(settings.explainer),
        "method": method_named(settings.explainer.method),
        "calibrate": _calibration(settings.explainer),
        **asdict(settings.feed.render),
    }
    return {name: _text(value) for name, value in values.items()}


def job_identity(settings: JobSettings) -> dict[str, str]:
    """Returns everything that makes a difference to what a job writes, by the names of the settings."""
    source, output = settings.source, settings.output
    values: dict[str, Any] = {
        "start": source.start_seconds,
        "end": source.end_seconds,
        "max_frames": source.max_frames,
        "smooth": settings.feed.smooth_seconds,
        "codec": output.codec,
        "quality": output.quality,
        "audio": output.audio,
    }
    identity = {**picture_identity(settings), **{name: _text(value) for name, value in values.items()}}
    # Not as texts: a file of that name may exist in the current folder.
    for name, path in (("sidecar", output.sidecar), ("heatmaps", output.heatmaps)):
        identity[name] = "null" if path is None else path.name
    # Another version's encoder might not continue the same stream.
    return {**identity, "video": _text(source.video), "version": f"livecam {__version__}, PyAV {version('av')}"}


def _text(value: Any) -> str:
    """Returns a value as text; a file is represented by the digest of its content, not by its name."""
    if isinstance(value, str | Path):
        try:
            path = Path(value)
            return f"the file {fingerprint(path)[:12]}" if path.is_file() else str(value)
        except (OSError, ValueError):
            return str(value)
    # The text of a function has its address, which another process does not repeat.
    return json.dumps(value, default=lambda item: getattr(item, "__qualname__", str(item)))


def _model(explainer: ExplainerSettings) -> Any:
    """Returns the model as it is given; of a folder, a digest of what is in it."""
    if folder_of(explainer.model) is None:
        return explainer.model
    identity = json.dumps(resolve_settings(explainer).identity, sort_keys=True)
    return f"the folder {hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _calibration(explainer: ExplainerSettings) -> str | None:
    """Returns the digest of the calibration pictures, wherever they are; None for the default ones, or none at all."""
    if explainer.precision == "float" or explainer.calibrate is None:
        return None
    return calibration_digest(explainer.calibrate)[:12]


def change_since(before: Mapping[str, str], identity: Mapping[str, str]) -> str | None:
    """Returns the first setting that differs, such as "quality was 80 and is 30 now"; None if none does."""
    return next(changes_since(before, identity), None)


def changes_since(before: Mapping[str, str], identity: Mapping[str, str]) -> Iterator[str]:
    """Yields each setting that differs, except where the job ends."""
    for name in sorted((before.keys() | identity.keys()) - set(END_NAMES)):
        was, now = before.get(name, "null"), identity.get(name, "null")
        if was != now and name == "video":
            yield f"{name} is another file now"
        elif was != now:
            yield f"{name} was {was} and is {now} now".replace(" null", " not given")
