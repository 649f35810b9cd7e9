"""Writes an annotated image as a JPEG, PNG, WebP, BMP or TIFF file; also snapshots, which get a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from live_cam.errors import SinkError
from live_cam.frame import Result
from live_cam.sinks.atomic_file import AtomicFile, name_by_time

# By suffix, because OpenCV warns about a setting of another format.
_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}


class ImageSink(AtomicFile):
    """Writes one annotated image.

    Args:
        path: The final name; its suffix is one that OpenCV can write: .jpg, .png, .webp, .bmp, .tiff, ...
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The suffix is unknown or the file cannot be created; nothing is left behind.
    """

    needs_image = True

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        if not _is_image_name(Path(path)):
            raise SinkError(f"cannot write an image to {path}; its name must end in .jpg, .png, .webp, .bmp, .tiff")
        super().__init__(path, overwrite)

    def write(self, result: Result) -> None:
        """Encodes the annotated image and writes it under the partial name.

        Raises:
            SinkError: It is the second image, the format cannot hold it, or the disk is full.
        """
        if self.frame_count:
            raise SinkError(f"{self.path} holds a single image; for several, give a name that ends in .mp4")
        data = self._encoded(result.image)
        try:
            self.partial_path.write_bytes(data)
        except OSError as error:
            self.partial_path.unlink(missing_ok=True)
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from None
        self.frame_count = 1

    def _encoded(self, image: np.ndarray) -> bytes:
        suffix = self.path.suffix.lower()
        try:
            is_encoded, data = cv2.imencode(suffix, image, _QUALITY.get(suffix, []))
        except cv2.error:
            is_encoded = False
        if not is_encoded:
            height, width = image.shape[:2]
            raise SinkError(f"{suffix} cannot hold an image of {width}x{height}; try a name that ends in .png")
        return data.tobytes()

    def finish(self) -> None:
        """Renames the image to its final name; without an image there is no file.

        Raises:
            SinkError: That failed; the image stays under its partial name.
        """
        if self.frame_count:
            self._put_in_place()


def _is_image_name(path: Path) -> bool:
    return bool(path.suffix) and cv2.haveImageWriter(f"any{path.suffix.lower()}")


def write_snapshot(folder: Path, now: datetime, image: np.ndarray, facts: Mapping[str, Any]) -> Path:
    """Writes an image as PNG, and a JSON file of the same name.

    Args:
        folder: The folder of both files.
        now: The time in their name.
        image: (height, width, 3) uint8, BGR.
        facts: The content of the JSON file, after the image's name.

    Returns:
        The path of the image.

    Raises:
        SinkError: One of the files cannot be written.
    """
    base = name_by_time(folder, now, ".png", ".json")
    path = base.with_name(base.name + ".png")
    _, png = cv2.imencode(".png", image)
    text = json.dumps({"picture": path.name, **facts}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        # Mode "x" also refuses files that were created since the name was chosen.
        with (
            path.open("xb") as image_file,
            path.with_suffix(".json").open("x", encoding="utf-8", errors="backslashreplace") as json_file,
        ):
            image_file.write(png.tobytes())
            json_file.write(text)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from None
    return path
