"""The orientation a camera notes in a picture (Exif 2.32, tag 0x0112), read and applied."""

from __future__ import annotations

import struct

import cv2
import numpy as np

_ORIENTATION_TAG = 0x0112
_ENTRY_BYTES = 12
# Where the noted first row and column lie, undone: turn first, then mirror from left to right.
_TURNS = {3: cv2.ROTATE_180, 4: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_TURNS |= {5: cv2.ROTATE_90_CLOCKWISE, 7: cv2.ROTATE_90_COUNTERCLOCKWISE}
_MIRRORED = (2, 4, 5, 7)


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in a block of Exif data; 1, upright, where there is none or it makes no sense."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for position in range(directory + 2, directory + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, position)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # cut short
        return 1
    return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors (height, width, ...) pixels as the orientation asks for."""
    if orientation in _TURNS:
        pixels = cv2.rotate(pixels, _TURNS[orientation])
    return cv2.flip(pixels, 1) if orientation in _MIRRORED else pixels
