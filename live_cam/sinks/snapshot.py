"""One picture of the run, with what was known about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from live_cam.errors import SinkError
from live_cam.sinks.names import name_by_time


def write_snapshot(folder: Path, now: datetime, image: np.ndarray, facts: Mapping[str, Any]) -> Path:
    """Writes a picture and a JSON file of the same name.

    Args:
        folder: Where.
        now: For the name.
        image: (height, width, 3) uint8, BGR.
        facts: What the JSON file says.

    Returns:
        The picture's path.

    Raises:
        SinkError: One of them cannot be written.
    """
    base = name_by_time(folder, now, ".png", ".json")
    path = base.with_name(base.name + ".png")
    _, png = cv2.imencode(".png", image)
    text = json.dumps({"picture": path.name, **facts}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        # "x": also what was made since the name was looked for is not written over.
        with path.open("xb") as picture, path.with_suffix(".json").open("x", encoding="utf-8") as words:
            picture.write(png.tobytes())
            words.write(text)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from None
    return path
