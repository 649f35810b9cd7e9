"""Reads image files and other images as viewers show them: upright, 8 bits, transparent parts on white."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.sources.protocol import Source

if TYPE_CHECKING:
    import PIL.Image

# Cameras and microscopes store 10 or 12 bits in 16; an image that stays in that range is taken for one of these.
_MAXIMA_OF_DEPTHS = (1023, 4095, 65535)
# A 16-bit image that never exceeds this is black, not 8 bits deep.
_BLACK_MAXIMUM = 255
_WHITE = 255
_EXIF = cv2.IMAGE_METADATA_EXIF
# Exif 2.32, tag 0x0112: 1 is upright; for the others, rotate first, then mirror from left to right.
_ORIENTATION_TAG = 0x0112
_EXIF_ENTRY_BYTES = 12
_ROTATIONS = {
    3: cv2.ROTATE_180,
    4: cv2.ROTATE_180,
    5: cv2.ROTATE_90_CLOCKWISE,
    6: cv2.ROTATE_90_CLOCKWISE,
    7: cv2.ROTATE_90_COUNTERCLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORED = (2, 4, 5, 7)
# ITU-T T.81, table B.1: start of frame, without the markers for tables that lie among them.
_JPEG_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXPECTED_IMAGE = "expected a BGR image of shape (height, width, 3), uint8"


class ImageSource(Source):
    """An image file: one frame at time 0.

    Args:
        path: The file.

    Raises:
        SourceError: There is no such file, or it is no image or too large.
    """

    frame_count_estimate = 1
    is_still = True

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        image = read_image(Path(path))
        self.size_wh = (image.shape[1], image.shape[0])
        self._frame: Frame | None = Frame(image, 0, 0.0)

    def read(self) -> Frame | None:
        """Returns the image the first time, then None."""
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        """Drops the image."""
        self._frame = None


def read_image(path: Path) -> np.ndarray:
    """Reads an image as (height, width, 3) uint8, BGR, upright, on white where it is transparent.

    Raises:
        SourceError: There is no such file, or it is no image or too large.
    """
    return decode_image(_read_bytes(path), str(path))


def decode_image(data: bytes | np.ndarray, name: str) -> np.ndarray:
    """Decodes the content of an image file; see ``read_image``.

    Args:
        data: The bytes; an array of uint8 is not copied.
        name: What the image is called in errors.

    Raises:
        SourceError: It is no image, or too large.
    """
    try:
        data = np.frombuffer(data, np.uint8)
        pixels, kinds, blocks = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        # OpenCV raises only because of the size: more than 2^30 pixels, or 2^20 on a side.
        raise SourceError(f"{name} is too large an image; make it smaller first") from None
    if pixels is None:
        raise SourceError(f"{name} is not an image that OpenCV can read, or it is damaged")
    # With IMREAD_UNCHANGED, which keeps the alpha channel, OpenCV does not apply the orientation.
    exif = next((block.tobytes() for kind, block in zip(kinds, blocks, strict=True) if kind == _EXIF), b"")
    return _upright(_on_white(to_eight_bits(pixels)), exif_orientation(exif))


def header_size_wh(data: bytes) -> tuple[int, int] | None:
    """Returns width and height that the header of a JPEG or PNG file names; None if it is neither.

    For limits: nothing is decoded, so an image that would fill the memory costs nothing.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        position = 2 if data.startswith(b"\xff\xd8") else len(data)
        while position < len(data):
            marker = data[position + 1]
            if data[position] != 0xFF:
                return None
            if marker in _JPEG_FRAME_MARKERS:
                height, width = struct.unpack_from(">HH", data, position + 5)
                return width, height
            if marker == 0xFF:  # padding
                position += 1
            elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without content
                position += 2
            elif marker < 0xC0 or marker in (0xD8, 0xD9):  # no marker of a header; decoders go on behind it
                return None
            else:
                position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    except (struct.error, IndexError):  # cut short
        pass
    return None


def is_image_content(path: Path) -> bool:
    """Returns whether a file begins like an image that OpenCV reads; of a GIF, which may be a video, False."""
    try:
        with path.open("rb") as file:
            is_gif = file.read(3) == b"GIF"
        return not is_gif and cv2.haveImageReader(str(path))
    except (OSError, cv2.error):
        return False


def as_bgr_image(image: Any) -> np.ndarray:
    """Returns an image that a caller gave as an array, a path or a PIL image.

    Args:
        image: (height, width, 3) uint8, BGR, in any memory layout; or the path of an image file; or a PIL image, which
            is turned upright and blended with white where it is transparent, as files are.

    Returns:
        (height, width, 3) uint8, BGR, C-contiguous; the array itself if it already is.

    Raises:
        SettingError: It is something else, or an array of another shape or type.
        SourceError: The file or the PIL image cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image))
    # It can only be a PIL image if PIL is loaded. While another thread imports it, the module has no class yet.
    pil_image = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if pil_image is not None and isinstance(image, pil_image):
        return _from_pil(image)
    if not isinstance(image, np.ndarray):
        raise SettingError(f"{_EXPECTED_IMAGE}, got {_kind(image)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise SettingError(f"{_EXPECTED_IMAGE}, got {image.shape}, {image.dtype}{_advice(image)}")
    return np.ascontiguousarray(image)


def _kind(value: Any) -> str:
    return "None, as cv2.imread returns for a file that it cannot read" if value is None else type(value).__name__


def _advice(image: np.ndarray) -> str:
    """Returns how the array could be converted, for the end of an error message."""
    if image.size == 0:
        return ": it is empty"
    if image.ndim == 4:
        return ": give the images of a batch one by one"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return ": convert gray images with cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    if image.ndim == 3 and image.shape[2] == 4:
        return ": remove the alpha channel with cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
        return ": move the channels to the end with image.transpose(1, 2, 0)"
    return ": scale the values to 0..255 and convert them with astype(np.uint8)" if image.dtype != np.uint8 else ""


def _from_pil(image: PIL.Image.Image) -> np.ndarray:
    if 0 in image.size:
        raise SettingError(f"{_EXPECTED_IMAGE}, got a PIL image of {image.width}x{image.height} pixels")
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            return _upright(_on_white(to_eight_bits(np.asarray(image))), orientation)
        is_transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        rgb = np.asarray(image.convert("RGBA" if is_transparent else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # a closed, damaged or unsupported file
        raise SourceError(f"cannot read the PIL image: {error}") from error
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGBA2BGRA if is_transparent else cv2.COLOR_RGB2BGR)
    return np.ascontiguousarray(_upright(_on_white(bgr), orientation))


def _read_bytes(path: Path) -> np.ndarray:
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a directory, not an image; give the path of a file")
        if path.exists() and not path.is_file():
            raise SourceError(f"{path} is a device or a pipe, not an image")
        # Not cv2.imread: on Windows it opens no name outside the system's code page.
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise SourceError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}") from None
    if data.size == 0:
        raise SourceError(f"{path} is empty: 0 bytes")
    return data


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scales pixels of any type to 0..255 and rounds.

    uint16 is divided by 257, so that 65535 becomes 255; 10 and 12 bits in 16 likewise by their own maximum. Floats and
    signed integers have a full scale of 1, 255, 65535 or their maximum, whichever is the first that they do not exceed.
    Negative and non-finite values become 0.

    Args:
        pixels: Any shape; any integer or float type.

    Returns:
        The same shape, uint8.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        full_scale = _full_scale_of(int(pixels.max()))
    else:
        pixels = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        maximum = float(pixels.max())
        full_scale = next((scale for scale in (1.0, 255.0, 65535.0) if maximum <= scale), maximum)
    return np.clip(np.rint(pixels * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)


def _full_scale_of(maximum: int) -> float:
    if maximum <= _BLACK_MAXIMUM:
        return _MAXIMA_OF_DEPTHS[-1]
    return next(full_scale for full_scale in _MAXIMA_OF_DEPTHS if maximum <= full_scale)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Converts gray, gray and alpha, BGR, or BGR and alpha, to BGR.

    Transparent parts become white, because cut-out images are made for pages, and most viewers show them so.
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


def exif_orientation(exif: bytes) -> int:
    """Returns the orientation, 1 to 8, in a block of Exif data; 1, upright, if there is none or it is invalid."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for position in range(directory + 2, directory + 2 + count * _EXIF_ENTRY_BYTES, _EXIF_ENTRY_BYTES):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, position)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # cut short
        return 1
    return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _ROTATIONS:
        pixels = cv2.rotate(pixels, _ROTATIONS[orientation])
    return cv2.flip(pixels, 1) if orientation in _MIRRORED else pixels
