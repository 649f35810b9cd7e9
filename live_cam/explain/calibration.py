"""The pictures that int8 is calibrated on, and those on which it is compared with float."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from live_cam.errors import SettingError, SourceError
from live_cam.sources import demo
from live_cam.sources.address import fingerprint
from live_cam.sources.image import read_image
from live_cam.sources.open import has_image_suffix

# More change neither the classes nor the maps, and each takes its time.
_MOST_PICTURES = 10


def calibration_digest(folder: str | Path | None) -> str:
    """Returns what stands for the calibration pictures in a cache key; their names do not count.

    Args:
        folder: A folder with images in it or in its sub-folders; None for the demo's photographs.

    Raises:
        SettingError: The folder does not exist, or has no images.
    """
    if folder is None:
        return "demo"
    digests = sorted(fingerprint(path) for path in _picture_paths(Path(folder)))
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def calibration_pictures(folder: str | Path | None) -> list[np.ndarray]:
    """Returns the calibration pictures, each (height, width, 3) uint8, BGR: at most ten, spread over the folder.

    Args:
        folder: See ``calibration_digest``.

    Raises:
        SettingError: The folder does not exist, or has no images; or the demo's photographs are not installed.
        SourceError: An image cannot be read.
    """
    if folder is not None:
        return [read_image(path) for path in _picture_paths(Path(folder))]
    try:
        return demo.photographs()
    except SourceError:
        raise SettingError(
            "int8 is calibrated on pictures: install the demo's photographs in the checkout, "
            'pip install ".[demo]", or give a folder of images as calibrate=DIR'
        ) from None


def with_crops(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the pictures and the middle of each, three quarters of its height and two thirds of its width."""
    return [part for picture in pictures for part in (picture, _middle(picture))]


def mirrored(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the pictures with left and right exchanged: others for a network, with the same objects."""
    return [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]


def _middle(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    top, left = height // 8, width // 6
    return np.ascontiguousarray(picture[top : height - top, left : width - left])


def _picture_paths(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if has_image_suffix(path) and not path.name.startswith("."))
    if not paths:
        raise SettingError(f"no images for the calibration of int8 in {folder}; give a folder with JPEG or PNG files")
    indices = np.linspace(0, len(paths) - 1, min(len(paths), _MOST_PICTURES)).round().astype(int)
    return [paths[index] for index in indices]
