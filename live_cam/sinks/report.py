"""Writes the report of a job, a benchmark or an evaluation as one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from live_cam.sinks.atomic_file import new_file


def write_report(path: str | Path, report: Mapping[str, Any], overwrite: bool = False) -> None:
    """Writes a report; numbers that are not finite become null, paths become text.

    Args:
        path: Any name. Call ``check_output`` before a long job, so that it does not end in an error here.
        report: Names and values that JSON can hold.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The file cannot be written; nothing is left behind.
    """
    text = json.dumps(_plain(report), ensure_ascii=False, allow_nan=False, indent=2)
    with new_file(Path(path), overwrite) as unfinished:
        # Names of files may be no UTF-8; JSON can hold them.
        unfinished.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _plain(value: Any) -> Any:
    """Returns the value with nothing in it that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
