"""One picture of any format OpenCV reads, as viewers show it: upright, 8 bits, on white where it is transparent."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.native_output import silenced_native_stderr
from live_cam.sources.orientation import exif_orientation, upright
from live_cam.sources.quiet import quiet_opencv

# Cameras and microscopes store 10 or 12 bits in 16; what never leaves that range is taken to be such a picture.
_MAXIMA_OF_DEPTHS = (1023, 4095, 65535)
# A 16-bit picture that never exceeds this is black, not 8 bits deep.
_BLACK_MAXIMUM = 255
_WHITE = 255
_EXIF = cv2.IMAGE_METADATA_EXIF


class ImageSource(ClosedByWith):
    """A picture file: one frame at time 0.

    Args:
        path: The file.

    Raises:
        SourceError: It is not there, no picture, or too large.
    """

    rate: Fraction | None = None
    frame_count_estimate: int | None = 1
    duration_seconds: float | None = None
    is_live = False
    is_still = True

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        image = read_picture(Path(path))
        self.size_wh = (image.shape[1], image.shape[0])
        self._frame: Frame | None = Frame(image, 0, 0.0)

    def read(self) -> Frame | None:
        """The picture the first time, then None."""
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        """Forgets the picture."""
        self._frame = None


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture as (height, width, 3) uint8, BGR, upright, on white where it is transparent.

    Raises:
        SourceError: It is not there, no picture, or too large.
    """
    data = _read_bytes(path)
    try:
        # libpng and libjpeg write straight to the file descriptor.
        with quiet_opencv(), silenced_native_stderr():
            pixels, kinds, blocks = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        # What OpenCV raises here is about the size: more than 2^30 pixels, or 2^20 on a side.
        raise SourceError(f"{path} is too large a picture; make it smaller first") from None
    if pixels is None:
        raise SourceError(f"{path} is not a picture that OpenCV can read, or it is damaged")
    # Asked for the alpha channel, OpenCV leaves the turning to us.
    exif = next((block.tobytes() for kind, block in zip(kinds, blocks, strict=True) if kind == _EXIF), b"")
    return upright(_on_white(to_eight_bits(pixels)), exif_orientation(exif))


def _read_bytes(path: Path) -> np.ndarray:
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a directory, not a picture; give the path of one file")
        if path.exists() and not path.is_file():
            raise SourceError(f"{path} is a device or a pipe, not a picture")
        # Not cv2.imread: on Windows it takes no name outside the system's code page.
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise SourceError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}") from None
    if data.size == 0:
        raise SourceError(f"{path} is empty: 0 bytes")
    return data


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scales any kind of pixel to 0..255 and rounds.

    16 bits are divided by 257, so that 65535 becomes 255; 10 and 12 bits in 16 likewise by their own maximum.
    Fractions count from 0 to 1; floats and signed numbers that go further are scaled by the next of 255, 65535 and
    their maximum. Negative values and NaN become 0.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        full_scale = _full_scale_of(int(pixels.max()))
    else:
        pixels = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        maximum = float(pixels.max())
        full_scale = next((one for one in (1.0, 255.0, 65535.0) if maximum <= one), maximum)
    return np.clip(np.rint(pixels * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)


def _full_scale_of(maximum: int) -> float:
    if maximum <= _BLACK_MAXIMUM:
        return _MAXIMA_OF_DEPTHS[-1]
    return next(one for one in _MAXIMA_OF_DEPTHS if maximum <= one)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Grey, grey and alpha, BGR or BGR and alpha, to BGR.

    White, because cut-out pictures are made to lie on a page, and that is how most viewers show them.
    """
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 2:
        pixels = cv2.merge([pixels[..., 0], pixels[..., 0], pixels[..., 0], pixels[..., 1]])
    if pixels.shape[2] == 3:
        return pixels
    opacity = pixels[..., 3:].astype(np.float32) / 255
    blended = pixels[..., :3] * opacity + _WHITE * (1 - opacity)
    return np.rint(blended).astype(np.uint8)
