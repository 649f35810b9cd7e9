"""Names for files that are made at the press of a key: told apart by the time, never one that is taken."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from pathlib import Path

from live_cam.sinks.partial import partial_path


def name_by_time(folder: Path, now: datetime, *suffixes: str) -> Path:
    """A path such as ``livecam-20260723-140509``, to which any of the suffixes may be added.

    Args:
        folder: Where.
        now: The time that it tells.
        suffixes: None of the names with these exists, nor its partial one.
    """
    stem = f"livecam-{now:%Y%m%d-%H%M%S}"
    for number in count(1):
        base = folder / (stem if number == 1 else f"{stem}-{number}")
        paths = [base.with_name(base.name + suffix) for suffix in suffixes]
        if not any(path.exists() or partial_path(path).exists() for path in paths):
            break
    return base
