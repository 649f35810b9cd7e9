"""The account of a whole run, or of a benchmark, as one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from live_cam.errors import SinkError
from live_cam.sinks.partial import check_output, partial_path, put_in_place


def write_report(path: str | Path, report: Mapping[str, Any], overwrite: bool = False) -> None:
    """Writes a report; numbers that are not finite become null, and paths text.

    Args:
        path: Any name. Call ``partial.check_output`` before the run, so that a long one does not end in an error here.
        report: Names to what JSON can hold.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: It cannot be written; nothing is left behind.
    """
    path = Path(path)
    check_output(path, overwrite)
    unfinished = partial_path(path)
    text = json.dumps(_plain(report), ensure_ascii=False, allow_nan=False, indent=2)
    try:
        unfinished.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise SinkError(f"cannot write {path}: {error.strerror}") from None
    put_in_place(unfinished, path, overwrite)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
