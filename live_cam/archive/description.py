"""What an index says about itself: its model and settings in ``index.json``, and its README."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from live_cam.archive.dataset import TOP_COUNT, Dataset, write_text
from live_cam.errors import SettingError
from live_cam.jobs.job_identity import change_since, picture_identity
from live_cam.settings import FeedSettings, JobSettings
from live_cam.version import __version__

if TYPE_CHECKING:
    from live_cam.archive.tasks import ModelFacts
    from live_cam.settings import ArchiveSettings


def archive_identity(settings: ArchiveSettings) -> dict[str, str]:
    """Returns everything that the rows depend on, by the names of the settings."""
    job = JobSettings(explainer=replace(settings.explainer, top_k=TOP_COUNT), feed=FeedSettings(target=settings.target))
    every_seconds = settings.every_seconds
    return {
        **picture_identity(job),
        "every": json.dumps(every_seconds and float(every_seconds)),
        "segment_minutes": json.dumps(float(settings.segment_minutes)),
        "maps": json.dumps(settings.maps),
    }


def check_same_settings(dataset: Dataset, identity: Mapping[str, str]) -> None:
    """Checks that an index that exists was made with the same settings: rows of one index can be compared.

    Raises:
        SettingError: It was not.
    """
    if not dataset.info.exists() or dataset.is_empty:
        return
    change = change_since(dataset.read_info().get("settings", {}), identity)
    if change is not None:
        raise SettingError(
            f"{dataset.folder} was made with other settings: {change}; give these again, or another folder"
        )


def check_same_precision(dataset: Dataset, facts: ModelFacts) -> None:
    """Checks that an index that exists has the precision that is possible here.

    Raises:
        SettingError: It has not.
    """
    made = facts.precision if dataset.is_empty else dataset.read_info().get("precision", "float")
    if made != facts.precision:
        reason = facts.precision_reason or "it was not possible then"
        raise SettingError(
            f"{dataset.folder} was made with precision {made}, and would get {facts.precision} now: "
            f"{reason}; give another folder"
        )


def write_description(
    dataset: Dataset, settings: ArchiveSettings, identity: Mapping[str, str], facts: ModelFacts
) -> None:
    """Writes ``index.json`` and the README.

    Raises:
        SinkError: The disk is full.
    """
    names = ("model", "method", "layer", "engine", "precision", "score", "labels")
    about = {name: getattr(facts, name) for name in names}
    dataset.write_info(
        {
            "livecam": __version__,
            **about,
            "every_seconds": settings.every_seconds,
            "segment_minutes": settings.segment_minutes,
            "settings": dict(identity),
        }
    )
    write_text(dataset.readme, _readme(facts, settings.maps))


def _readme(facts: ModelFacts, has_maps: bool) -> str:
    """Returns the README of an index."""
    text = resources.files("live_cam.archive").joinpath("index_readme.md").read_text(encoding="utf-8")
    if not has_maps:
        text = re.sub(r"\n`maps/.*?\n\n", "\n", text, flags=re.DOTALL)
    words = {"version": __version__, "model": facts.model, "method": facts.method, "layer": facts.layer}
    for name, word in {**words, "score": facts.score}.items():
        text = text.replace(f"{{{{{name}}}}}", word)
    return text
